//! Signatures of calls (§ 9).

use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderValue;
use sha2::Sha256;

/// The signing secret, and the one before it while it is still valid.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    current: String,
    previous: Option<(String, SystemTime)>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// `previous`: the secret before the last rotation, and until when it is good.
    pub fn new(current: String, previous: Option<(String, SystemTime)>) -> Self {
        Secrets { current, previous }
    }

    /// `t=<unix seconds>,v1=<hex>[,v1=<hex>]`, each an HMAC-SHA-256 over `t`, a dot and the body.
    pub(crate) fn sign(&self, at: SystemTime, body: &[u8]) -> HeaderValue {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut text = format!("t={seconds}");
        let previous = self.previous.iter().filter(|(_, until)| at < *until).map(|(secret, _)| secret);
        for secret in std::iter::once(&self.current).chain(previous) {
            text.push_str(",v1=");
            text.push_str(&mac(secret, seconds, body));
        }
        // Digits, letters and punctuation of ASCII only.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

fn mac(secret: &str, seconds: u64, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_signature_is_the_hmac_of_instant_and_body() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1700000000);
        let secrets = |until| Secrets::new("key".to_owned(), Some(("old".to_owned(), until)));
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        assert_eq!(secrets(at + Duration::from_secs(1)).sign(at, b"{}").to_str().unwrap(), EXPECTED);
        let (current, _) = EXPECTED.rsplit_once(',').unwrap();
        assert_eq!(secrets(at).sign(at, b"{}").to_str().unwrap(), current, "the old one is good no more");
    }

    const EXPECTED: &str = concat!(
        "t=1700000000",
        ",v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae",
        ",v1=2b5e6fc3cac3432cb8a3476c75510114966afb97256d20b9198872431b7ceca6"
    );
}
