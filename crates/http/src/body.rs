//! Bodies of requests: their size, their time, their depth, their shape.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use duologue_model::{Error as Refusal, ErrorKind, json};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Deserializer};

/// Most bytes that are taken from a client only so that it gets to read why they are refused.
const REFUSED_BYTES: usize = 64 * 1024 * 1024;
/// How long that may take.
const REFUSED_TIME: Duration = Duration::from_secs(5);

/// Reads a body of at most `limit` bytes within `time`.
pub(crate) async fn read(mut body: Body, limit: usize, time: Duration) -> Result<Bytes, Refusal> {
    let collected = tokio::time::timeout(time, Limited::new(&mut body, limit).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(refuse(body, limit).await),
        Ok(Err(_)) => Err(Refusal::invalid_payload("the body of the request ended before it was complete")),
        Err(_) => Err(Refusal::invalid_payload(format!(
            "the body of the request took longer than {} seconds",
            time.as_secs()
        ))),
    }
}

/// The refusal of a body that is too large. Takes what the client still sends: most clients send all
/// before they read, and see only a broken connection if nobody takes it.
pub(crate) async fn refuse(mut body: Body, limit: usize) -> Refusal {
    let rest = async {
        let mut taken = 0;
        while let Some(Ok(frame)) = body.frame().await {
            taken += frame.data_ref().map_or(0, Bytes::len);
            if taken > REFUSED_BYTES {
                break;
            }
        }
    };
    // Whoever is slower than that isn't waited for.
    let _ = tokio::time::timeout(REFUSED_TIME, rest).await;
    Refusal::new(ErrorKind::PayloadTooLarge, format!("the body of the request is larger than {limit} bytes"))
}

/// Parses a body. An empty one is `{}`.
pub(crate) fn parse<'b, T: Deserialize<'b>>(body: &'b [u8], depth: usize) -> Result<T, Refusal> {
    let text: &[u8] = if body.is_empty() { b"{}" } else { body };
    if json::depth(text) > depth {
        return Err(Refusal::invalid_payload(format!("the body nests deeper than {depth} levels")));
    }
    serde_json::from_slice(text).map_err(|error| explain::<T>(text, &error))
}

/// Says which field is wrong: the slower parser that knows is asked only then.
fn explain<'b, T: Deserialize<'b>>(text: &'b [u8], plain: &serde_json::Error) -> Refusal {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) if error.path().iter().next().is_some() => {
            let path = error.path().to_string();
            let reason = error.into_inner().to_string();
            Refusal::invalid_payload(format!("the body is invalid at {path}: {reason}"))
                .with_metadata(serde_json::json!({ "path": path }))
        }
        _ => Refusal::invalid_payload(format!("the body is invalid: {plain}")),
    }
}

/// For fields where `null` means something else than absence: `Some(None)` is `null`.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// A body without any field of interest.
#[derive(Debug, Deserialize)]
pub(crate) struct Nothing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Thing {
        name: String,
        #[serde(default, deserialize_with = "nullable")]
        note: Option<Option<String>>,
    }

    #[test]
    fn refusals_name_the_field() {
        let refusal = parse::<Vec<Thing>>(br#"[{"name":"a"},{"name":5}]"#, 9).unwrap_err();
        assert!(refusal.message.contains("[1].name"), "{}", refusal.message);
        assert!(parse::<Thing>(b"", 9).unwrap_err().message.contains("missing field `name`"));
        assert!(parse::<Thing>(b"{\"name\"", 9).is_err());
    }

    #[test]
    fn null_differs_from_absent() {
        assert_eq!(parse::<Thing>(br#"{"name":"a","note":null}"#, 9).unwrap().note, Some(None));
        assert_eq!(parse::<Thing>(br#"{"name":"a"}"#, 9).unwrap().note, None);
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
        assert!(parse::<serde_json::Value>(deep.as_bytes(), 64).unwrap_err().message.contains("64 levels"));
    }
}
