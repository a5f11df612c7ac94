//! Whether a request was signed by whoever knows the bot's signing secret
//! (`spec/cloud/bridge-protocol.md` § 9).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How far the clocks of the platform and the bot may be apart. What was signed longer ago is taken for
/// a replay.
const TOLERANCE: Duration = Duration::from_secs(300);

/// Checks `t=<unix seconds>,v1=<hex>[,v1=<hex>]` over `t`, a dot and the body, in constant time.
pub(crate) fn verify(secrets: &[String], header: &str, body: &[u8], now: SystemTime) -> Result<(), &'static str> {
    let mut at = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", seconds)) => at = seconds.parse::<u64>().ok(),
            Some(("v1", hex)) => signatures.extend(decode(hex)),
            // Later versions of the scheme.
            _ => {}
        }
    }
    let at = at.ok_or("the signature has no time")?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if now.abs_diff(at) > TOLERANCE.as_secs() {
        return Err("the signature is too old, or the clocks differ");
    }
    let known = secrets.iter().any(|secret| signatures.iter().any(|signature| is_by(secret, at, body, signature)));
    if known { Ok(()) } else { Err("the signature is not by the bot's signing secret") }
}

fn is_by(secret: &str, at: u64, body: &[u8], signature: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(format!("{at}.").as_bytes());
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

fn decode(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
    const BY_KEY: &str = "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";

    fn check(secret: &str, header: &str, body: &[u8], later: u64) -> Result<(), &'static str> {
        verify(&[secret.to_owned()], header, body, UNIX_EPOCH + Duration::from_secs(1_700_000_000 + later))
    }

    #[test]
    fn signatures_count_for_their_secret_body_and_time() {
        let header = format!("t=1700000000,v1={BY_KEY}");
        assert_eq!(check("key", &header, b"{}", 299), Ok(()));
        assert_eq!(check("key", &format!("t=1700000000,v1=00ff,v1={BY_KEY},v2=x"), b"{}", 0), Ok(()));
        assert!(check("other", &header, b"{}", 0).is_err());
        assert!(check("key", &header, b"{ }", 0).is_err());
        assert!(check("key", &header, b"{}", 301).unwrap_err().contains("too old"));
        for rubbish in ["", "t=1700000000", "v1=00", "t=x,v1=00", "t=1700000000,v1=zz", "t=1700000000,v1=é"] {
            assert!(check("key", rubbish, b"{}", 0).is_err(), "{rubbish}");
        }
    }
}
