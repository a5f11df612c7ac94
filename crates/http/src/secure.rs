//! Headers that every answer carries: it is private, it is what it says it is, and it tells other
//! sites nothing about the address it came from.

use http::{HeaderMap, HeaderValue, header};

/// Adds them. An answer that says itself how long it may be kept is left to say so.
pub(crate) fn harden(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
