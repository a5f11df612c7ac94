//! Bounds on a request's line and headers, answered in the dialect's envelope. Below them is the
//! binary's own wall, at which a connection is broken off.

use duologue_model::Error as Refusal;
use http::{HeaderMap, Uri};

/// Most bytes in the path and query of a request.
pub(crate) const URI_BYTES: usize = 16 * 1024;
/// Most bytes in the names and values of its headers.
pub(crate) const HEADER_BYTES: usize = 32 * 1024;

/// Refuses what is longer than the bounds.
pub(crate) fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let length = uri.path_and_query().map_or(0, |text| text.as_str().len());
    if length > URI_BYTES {
        let text = format!("the path and query have {length} bytes, at most {URI_BYTES} are allowed");
        return Err(Refusal::invalid_payload(text));
    }
    let length: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if length > HEADER_BYTES {
        let text = format!("the headers have {length} bytes, at most {HEADER_BYTES} are allowed");
        return Err(Refusal::invalid_payload(text));
    }
    Ok(())
}
