//! The one HTTP client for every URL that a user or a bot supplies: Call API, `axios` in scripts,
//! webhooks, key sets of external authentication; and the way in which e-mails leave ([`Client::mail`]).
//!
//! Such a URL is hostile until proven otherwise, so:
//!
//! * only `http` and `https`, parsed by the WHATWG rules (`0x7f.1`, `2130706433`, `①②⑦.0.0.1` and
//!   `127.0.0.1.` are all the same address);
//! * a name is resolved once, for the connection itself; each resolved address is checked, and the
//!   connection goes to a checked address, so an answer that changes later changes nothing;
//! * private, loopback, link-local, metadata and other addresses that aren't the public Internet's
//!   are refused (see [`is_public`]) unless the operator's [`AllowList`] names them;
//! * every redirect is a new request with the same checks; what authenticates is not carried to
//!   another origin;
//! * time, redirects and the (decoded) size of the answer are bounded.
//!
//! Called by everything that fetches for a bot. It never reads proxies from the environment, never
//! logs, keeps no cookies, and never puts credentials into an error or into [`Response::url`].

mod address;
mod allow;
mod body;
mod client;
mod connect;
mod error;
mod mail;
mod resolve;

pub use address::is_public;
pub use allow::AllowList;
pub use client::{Client, Limits, Proxy, Request, Response, Settings};
pub use error::{Denial, Error};
pub use mail::{Mail, MailError, MailServer};
pub use resolve::{Resolve, Resolving, SystemResolver};

// Only a version requirement: which tables the URL parser's IDNA uses.
use idna_adapter as _;
