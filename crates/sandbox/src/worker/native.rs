//! The functions that scripts get from Rust: hashes, random bytes, text encodings. Bytes travel as
//! texts whose characters are the bytes ("binary" texts), because they need no unsafe view of a
//! script's memory.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use rquickjs::{Ctx, Exception, Function, Object, Result};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// Random bytes at most in one call.
const MOST_RANDOM: usize = 1 << 20;

/// Puts the functions into `native`.
pub fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    native.set("hash", Function::new(ctx.clone(), hash)?)?;
    native.set("hmac", Function::new(ctx.clone(), hmac)?)?;
    native.set("random", Function::new(ctx.clone(), random)?)?;
    native.set("utf8", Function::new(ctx.clone(), |text: String| binary(text.as_bytes()))?)?;
    native
        .set("text", Function::new(ctx.clone(), |data: String| String::from_utf8_lossy(&bytes(&data)).into_owned())?)?;
    native.set("base64", Function::new(ctx.clone(), |data: String| STANDARD.encode(bytes(&data)))?)?;
    native.set("unbase64", Function::new(ctx.clone(), unbase64)?)
}

fn bytes(binary: &str) -> Vec<u8> {
    binary.chars().map(|c| c as u32 as u8).collect()
}

fn binary(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn hash(ctx: Ctx<'_>, algorithm: String, data: String) -> Result<String> {
    let data = bytes(&data);
    Ok(binary(&match plain(&algorithm).as_str() {
        "md5" => Md5::digest(&data).to_vec(),
        "sha1" => Sha1::digest(&data).to_vec(),
        "sha224" => Sha224::digest(&data).to_vec(),
        "sha256" => Sha256::digest(&data).to_vec(),
        "sha384" => Sha384::digest(&data).to_vec(),
        "sha512" => Sha512::digest(&data).to_vec(),
        _ => return Err(unknown(&ctx, &algorithm)),
    }))
}

fn hmac(ctx: Ctx<'_>, algorithm: String, key: String, data: String) -> Result<String> {
    let (key, data) = (bytes(&key), bytes(&data));
    Ok(binary(&match plain(&algorithm).as_str() {
        "md5" => code::<Hmac<Md5>>(&key, &data),
        "sha1" => code::<Hmac<Sha1>>(&key, &data),
        "sha224" => code::<Hmac<Sha224>>(&key, &data),
        "sha256" => code::<Hmac<Sha256>>(&key, &data),
        "sha384" => code::<Hmac<Sha384>>(&key, &data),
        "sha512" => code::<Hmac<Sha512>>(&key, &data),
        _ => return Err(unknown(&ctx, &algorithm)),
    }))
}

/// An HMAC takes a key of any length, so there is always one.
fn code<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    M::new_from_slice(key).map_or_else(|_| Vec::new(), |mac| mac.chain_update(data).finalize().into_bytes().to_vec())
}

fn plain(algorithm: &str) -> String {
    algorithm.to_ascii_lowercase().replace('-', "")
}

fn unknown(ctx: &Ctx<'_>, algorithm: &str) -> rquickjs::Error {
    let message =
        format!("the hash \"{algorithm}\" is not available; there are md5, sha1, sha224, sha256, sha384 and sha512");
    Exception::throw_message(ctx, &message)
}

fn random(ctx: Ctx<'_>, count: usize) -> Result<String> {
    if count > MOST_RANDOM {
        return Err(Exception::throw_range(&ctx, "too many random bytes"));
    }
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).map_err(|_| Exception::throw_message(&ctx, "no random bytes"))?;
    Ok(binary(&bytes))
}

/// Decodes as Node does: both alphabets, what isn't of them skipped, padding optional.
fn unbase64(text: String) -> String {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let mut clean: String = text
        .chars()
        .take_while(|c| *c != '=')
        .filter_map(|c| match c {
            '-' => Some('+'),
            '_' => Some('/'),
            c if c.is_ascii_alphanumeric() || c == '+' || c == '/' => Some(c),
            _ => None,
        })
        .collect();
    if clean.len() % 4 == 1 {
        clean.pop();
    }
    binary(&LENIENT.decode(clean).unwrap_or_default())
}
