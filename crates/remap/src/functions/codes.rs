//! Encodings and digests.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};

use super::{Function, Run, VALUE, bytes, text, wrong};
use crate::{Error, special::of_bytes};

pub(super) const ALL: &[Function] = &[
    function!("hmac", &["value", "key", "algorithm"], 2, |a| {
        let (value, key) = (bytes("hmac", &a[0])?, bytes("hmac", &a[1])?);
        let algorithm = a[2].as_str().unwrap_or("SHA-256");
        let mac =
            match algorithm {
                "SHA1" => {
                    Hmac::<Sha1>::new_from_slice(&key).map(|m| m.chain_update(&value).finalize().into_bytes().to_vec())
                }
                "SHA-224" => Hmac::<Sha224>::new_from_slice(&key)
                    .map(|m| m.chain_update(&value).finalize().into_bytes().to_vec()),
                "SHA-256" => Hmac::<Sha256>::new_from_slice(&key)
                    .map(|m| m.chain_update(&value).finalize().into_bytes().to_vec()),
                "SHA-384" => Hmac::<Sha384>::new_from_slice(&key)
                    .map(|m| m.chain_update(&value).finalize().into_bytes().to_vec()),
                "SHA-512" => Hmac::<Sha512>::new_from_slice(&key)
                    .map(|m| m.chain_update(&value).finalize().into_bytes().to_vec()),
                other => return Err(Error::failed(format!("hmac: there is no algorithm {other} here"))),
            };
        mac.map(|mac| of_bytes(&mac)).map_err(|_| wrong("hmac", "a key"))
    }),
    function!("sha2", &["value", "variant"], 1, |a| {
        let value = bytes("sha2", &a[0])?;
        let digest = match a[1].as_str().unwrap_or("SHA-512/256") {
            "SHA-224" => Sha224::digest(&value).to_vec(),
            "SHA-256" => Sha256::digest(&value).to_vec(),
            "SHA-384" => Sha384::digest(&value).to_vec(),
            "SHA-512/224" => Sha512_224::digest(&value).to_vec(),
            "SHA-512/256" => Sha512_256::digest(&value).to_vec(),
            "SHA-512" => Sha512::digest(&value).to_vec(),
            other => return Err(Error::failed(format!("sha2: there is no variant {other} here"))),
        };
        Ok(hex(&digest).into())
    }),
    function!("encode_base16", VALUE, 1, |a| Ok(hex(&bytes("encode_base16", &a[0])?).into())),
    function!("decode_base16", VALUE, 1, |a| {
        let digits = text("decode_base16", &a[0])?;
        let wrong = || wrong("decode_base16", "hexadecimal digits");
        if digits.len() % 2 != 0 || !digits.is_ascii() {
            return Err(wrong());
        }
        let pairs = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16));
        Ok(of_bytes(&pairs.collect::<Result<Vec<u8>, _>>().map_err(|_| wrong())?))
    }),
    function!("encode_base64", &["value", "padding", "charset"], 1, |a| {
        let value = bytes("encode_base64", &a[0])?;
        let engine = match (a[2].as_str(), &a[1]) {
            (Some("url_safe"), Value::Bool(false)) => &URL_SAFE_NO_PAD,
            (Some("url_safe"), _) => &URL_SAFE,
            (_, Value::Bool(false)) => &STANDARD_NO_PAD,
            _ => &STANDARD,
        };
        Ok(engine.encode(value).into())
    }),
    function!("decode_base64", &["value", "charset"], 1, |a| {
        let value = text("decode_base64", &a[0])?.trim_end_matches('=');
        let engine = if a[1] == "url_safe" { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
        engine.decode(value).map(|bytes| of_bytes(&bytes)).map_err(|_| wrong("decode_base64", "base64"))
    }),
    function!("encode_percent", &["value", "ascii_set"], 1, |a| {
        // What may stand in a query or a path as it is.
        const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
        let value = text("encode_percent", &a[0])?;
        let set = if a[1] == "NON_ALPHANUMERIC" || a[1].is_null() { NON_ALPHANUMERIC } else { KEPT };
        Ok(utf8_percent_encode(value, set).to_string().into())
    }),
    function!("decode_percent", VALUE, 1, |a| {
        Ok(percent_decode_str(text("decode_percent", &a[0])?).decode_utf8_lossy().into_owned().into())
    }),
    function!("sha1", VALUE, 1, |a| Ok(hex(&Sha1::digest(bytes("sha1", &a[0])?)).into())),
    function!("md5", VALUE, 1, |a| Ok(hex(&md5::Md5::digest(bytes("md5", &a[0])?)).into())),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
