//! Who may do what: passwords, tokens of collaborators, external tokens of end users
//! (`auth-config.md`).
//!
//! Pure logic: callers bring the time, the accounts and, for key sets, a way to fetch them.

pub mod external;
pub mod jwt;
pub mod login;
pub mod password;
pub mod token;
