//! Stored passwords (`auth-config.md` § 4).
//!
//! Accounts brought from v12 have an HMAC-SHA512; it is accepted, and replaced at the first login.
//! Every new password is hashed with Argon2id. Hashing takes tens of milliseconds and 19 MiB: call
//! from a thread that may block.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;

/// A password as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredPassword {
    /// Lower-case hex of HMAC-SHA512, or a string that begins with `$argon2id$`.
    pub hash: String,
    /// The key of the HMAC, as text; empty for Argon2id, which has its own within.
    pub salt: String,
}

impl std::fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredPassword(…)")
    }
}

impl StoredPassword {
    /// Hashes a new password.
    ///
    /// # Errors
    /// Only if the operating system has no randomness or no memory.
    pub fn new(password: &str) -> Result<Self, crate::Error> {
        let hash = Argon2::default().hash_password(password.as_bytes());
        let hash = hash.map_err(|failed| crate::Error::Hash(failed.to_string()))?;
        Ok(StoredPassword { hash: hash.to_string(), salt: String::new() })
    }

    /// Whether this is the password. Takes as long when it isn't.
    pub fn is(&self, password: &str) -> bool {
        if self.is_from_v12() {
            // HMAC takes keys of any length.
            let Ok(mut mac) = Hmac::<Sha512>::new_from_slice(self.salt.as_bytes()) else { return false };
            mac.update(password.as_bytes());
            return unhex(&self.hash).is_some_and(|expected| mac.verify_slice(&expected).is_ok());
        }
        PasswordHash::new(&self.hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }

    /// Whether the hash is of the original's form and should be replaced.
    pub fn is_from_v12(&self) -> bool {
        !self.hash.starts_with('$')
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Demands on new passwords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The shortest, in characters; 0 for no demand.
    pub min_length: usize,
    /// At least one lower-case and one upper-case letter, a digit and a special character, and
    /// hard to guess.
    pub complex: bool,
}

impl Policy {
    /// Whether a new password meets the demands.
    pub fn accepts(&self, password: &str) -> bool {
        password.chars().count() >= self.min_length && (!self.complex || is_complex(password))
    }
}

fn is_complex(password: &str) -> bool {
    let has = |kind: fn(char) -> bool| password.chars().any(kind);
    has(char::is_lowercase)
        && has(char::is_uppercase)
        && has(|c| c.is_ascii_digit())
        && has(|c| !c.is_alphanumeric())
        && zxcvbn::zxcvbn(password, &[]).score() >= zxcvbn::Score::Two
        && !has_dominant_word(password)
}

/// Whether one common word makes up more than half of it.
fn has_dominant_word(password: &str) -> bool {
    let letters = password.to_lowercase();
    let words = letters.split(|c: char| !c.is_alphabetic());
    let half = password.chars().count() / 2;
    words
        .filter(|word| word.chars().count() > half)
        .any(|word| zxcvbn::zxcvbn(word, &[]).score() == zxcvbn::Score::Zero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_s_hashes_are_accepted() {
        let stored = StoredPassword {
            hash: "c2415da0cd2767ca3e5f29b64f24548b846a87c0d7dcc62cf0e2bf15915978ee7dd3bda5d69c1482556fd5b7aa656325\
                   ad5c0b88c329d805cae5c989d8c534d1"
                .to_owned(),
            salt: "0123456789abcdef".to_owned(),
        };
        assert!(stored.is("secret-pass") && stored.is_from_v12());
        assert!(!stored.is("secret-pasS") && !stored.is(""));
        assert!(!StoredPassword { hash: String::new(), salt: String::new() }.is(""));
        assert!(!StoredPassword { hash: "zz".to_owned(), ..stored }.is("secret-pass"));
    }

    #[test]
    fn new_hashes_are_argon2id() {
        let stored = StoredPassword::new("correct horse").unwrap();
        assert!(stored.hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.hash);
        assert!(stored.is("correct horse") && !stored.is("correct") && !stored.is_from_v12());
        assert!(!format!("{stored:?}").contains("argon"));
    }

    #[test]
    fn policies() {
        assert!(Policy::default().accepts(""));
        let policy = Policy { min_length: 8, complex: true };
        assert!(policy.accepts("gR4y-heron~3"));
        for weak in ["gR4y-h~", "gr4y-heron~3", "GR4Y-HERON~3", "gRay-heron~x", "gR4yheron33", "Password1!"] {
            assert!(!policy.accepts(weak), "{weak}");
        }
    }
}
