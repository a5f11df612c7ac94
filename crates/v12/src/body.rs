//! Request bodies: encodings, JSON, forms (`converse-api.md` § 3.1).

use std::io::Read;

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::{
    answer::ApiError,
    form,
    json::{Json, Object, unexpected_token},
};

/// The parsed body of a request.
///
/// JSON must be an object or an array. A form becomes an object. No body, or one of another type,
/// is an empty object. `limit` is in bytes, decoded.
///
/// # Errors
/// 400 `entity.parse.failed`, 413 `entity.too.large`, 415 `charset.unsupported` and
/// `encoding.unsupported`; of charsets UTF-8 is supported.
pub fn parse(
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    body: &Bytes,
    limit: usize,
) -> Result<Json, ApiError> {
    let content_type = content_type.unwrap_or_default();
    let (media, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let is_form = match media.trim().to_ascii_lowercase().as_str() {
        "application/json" => false,
        "application/x-www-form-urlencoded" => true,
        _ => return Ok(Json::Object(Object::new())),
    };
    check_charset(parameters)?;
    let body = inflate(content_encoding, body, limit)?;
    let text = String::from_utf8_lossy(&body);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.is_empty() {
        return Ok(Json::Object(Object::new()));
    }
    if is_form { form::parse(text) } else { json(text) }
}

fn check_charset(parameters: &str) -> Result<(), ApiError> {
    let charset = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    match charset {
        Some(charset) if !charset.eq_ignore_ascii_case("utf-8") => {
            let message = format!("unsupported charset \"{}\"", charset.to_uppercase());
            Err(ApiError::plain(415, "charset.unsupported", message))
        }
        _ => Ok(()),
    }
}

/// The body without its content encoding.
fn inflate(encoding: Option<&str>, body: &Bytes, limit: usize) -> Result<Bytes, ApiError> {
    let encoding = encoding.unwrap_or("identity").trim().to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" if body.len() > limit => Err(too_large()),
        "" | "identity" => Ok(body.clone()),
        "gzip" => bounded(MultiGzDecoder::new(&body[..]), limit),
        // With a zlib header, as it should be, or without.
        "deflate" if body.first().is_some_and(|first| first & 0x0f == 8) => bounded(ZlibDecoder::new(&body[..]), limit),
        "deflate" => bounded(DeflateDecoder::new(&body[..]), limit),
        other => Err(ApiError::plain(415, "encoding.unsupported", format!("unsupported content encoding \"{other}\""))),
    }
}

fn bounded(decoder: impl Read, limit: usize) -> Result<Bytes, ApiError> {
    let mut out = Vec::new();
    match decoder.take(limit as u64 + 1).read_to_end(&mut out) {
        Ok(_) if out.len() > limit => Err(too_large()),
        Ok(_) => Ok(out.into()),
        Err(_) => Err(ApiError::plain(400, "Error", "incorrect header check")),
    }
}

fn too_large() -> ApiError {
    ApiError::plain(413, "entity.too.large", "request entity too large")
}

/// An object or an array; of anything else the first character is unexpected.
fn json(text: &str) -> Result<Json, ApiError> {
    let failed = |message: String| ApiError::plain(400, "entity.parse.failed", message);
    let start = text.trim_start_matches([' ', '\t', '\n', '\r']);
    match start.chars().next() {
        Some('{' | '[') | None => Json::parse(text).map_err(|error| failed(error.0)),
        Some(other) => {
            let position = text[..text.len() - start.len()].encode_utf16().count();
            Err(failed(unexpected_token(other, position)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn message(encoding: Option<&str>, body: &[u8]) -> String {
        parse(Some("application/json"), encoding, &Bytes::copy_from_slice(body), 100).unwrap_err().message
    }

    #[test]
    fn only_objects_and_arrays_are_bodies() {
        assert_eq!(message(None, b"\"str\""), "Unexpected token \" in JSON at position 0");
        assert_eq!(message(None, b" \n null"), "Unexpected token n in JSON at position 3");
        assert_eq!(message(None, b"12"), "Unexpected token 1 in JSON at position 0");
        assert_eq!(message(None, b"  "), "Unexpected end of JSON input");
        let with_mark = Bytes::from("\u{feff}[1]");
        assert_eq!(parse(Some("Application/JSON; x=y"), None, &with_mark, 9).unwrap().to_string(), "[1]");
    }

    #[test]
    fn compressed_bodies_are_bounded_too() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&[b' '; 101]).unwrap();
        let bomb = gzip.finish().unwrap();
        assert!(bomb.len() < 100);
        assert_eq!(message(Some("gzip"), &bomb), "request entity too large");
        assert_eq!(message(Some("gzip"), b"{}"), "incorrect header check");
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(b"{\"a\":1}").unwrap();
        let body = Bytes::from(zlib.finish().unwrap());
        assert_eq!(parse(Some("application/json"), Some("deflate"), &body, 9).unwrap().to_string(), "{\"a\":1}");
    }
}
