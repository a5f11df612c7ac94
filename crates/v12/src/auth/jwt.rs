//! JSON Web Tokens: signing with HS256, verifying with shared secrets and public keys.
//!
//! What fails, fails with the words that clients of the original know. The order of the checks is
//! part of that: form, signature, time, audience, issuer.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use sha2::{Sha256, Sha384, Sha512};

use crate::json::{Json, Object};

/// Why a token isn't accepted; displayed as the original's library words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// No token at all.
    #[error("jwt must be provided")]
    Missing,
    /// Not three parts.
    #[error("jwt malformed")]
    Malformed,
    /// Three parts that don't hold what they should.
    #[error("invalid token")]
    Invalid,
    /// The third part is empty.
    #[error("jwt signature is required")]
    Unsigned,
    /// Signed in a way that isn't accepted, or that the key can't verify.
    #[error("invalid algorithm")]
    Algorithm,
    /// There is no key to verify with.
    #[error("secret or public key must be provided")]
    NoKey,
    /// The signature doesn't fit.
    #[error("invalid signature")]
    Signature,
    /// `nbf` lies in the future.
    #[error("jwt not active")]
    NotActive,
    /// `exp` has come.
    #[error("jwt expired")]
    Expired,
    /// `nbf` or `exp` isn't a number.
    #[error("invalid {0} value")]
    NoNumber(&'static str),
    /// None of the accepted audiences.
    #[error("jwt audience invalid. expected: {0}")]
    Audience(String),
    /// None of the accepted issuers.
    #[error("jwt issuer invalid. expected: {0}")]
    Issuer(String),
    /// The key set can't be had, or lacks the key.
    #[error("{0}")]
    KeySet(String),
}

/// What a token has to fulfil.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Accepted algorithms by name: HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512,
    /// ES256, ES384, EdDSA. Unknown names accept nothing.
    pub algorithms: Vec<String>,
    /// Accepted audiences; empty for any.
    pub audience: Vec<String>,
    /// Accepted issuers; empty for any.
    pub issuer: Vec<String>,
}

/// What verifies a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A shared secret, for HS*.
    Secret(Vec<u8>),
    /// PKCS #1, for RS* and PS*.
    Rsa(Vec<u8>),
    /// Modulus and exponent, for RS* and PS*.
    RsaComponents(Vec<u8>, Vec<u8>),
    /// An uncompressed point of P-256 or P-384, for ES*; or 32 bytes of Ed25519.
    Point(Vec<u8>),
}

impl Key {
    /// Reads a configured key: PEM of a public key or certificate, or else a shared secret. PEM
    /// never verifies HS*: whoever knows a public key could sign with it.
    ///
    /// # Errors
    /// [`JwtError::NoKey`] if it is empty or PEM that can't be read.
    pub fn new(text: &str) -> Result<Key, JwtError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(JwtError::NoKey);
        }
        match text.strip_prefix("-----BEGIN ") {
            Some(pem) => pem_key(pem).ok_or(JwtError::NoKey),
            None => Ok(Key::Secret(text.as_bytes().to_vec())),
        }
    }

    /// Reads a key of a key set (JWK); `None` if it isn't for signatures or of an unknown kind.
    pub fn from_jwk(jwk: &Json) -> Option<Key> {
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?.trim_end_matches('=')).ok();
        match jwk.get("kty")?.as_str()? {
            "RSA" => Some(Key::RsaComponents(bytes("n")?, bytes("e")?)),
            "EC" => Some(Key::Point([vec![4], bytes("x")?, bytes("y")?].concat())),
            "OKP" => Some(Key::Point(bytes("x")?)),
            _ => None,
        }
    }

    /// Whether this key verifies tokens of an algorithm, and if so whether the signature fits.
    fn verify(&self, algorithm: &str, signed: &[u8], signature: &[u8]) -> Result<(), JwtError> {
        let fits = match (self, algorithm) {
            (Key::Secret(secret), "HS256") => hmac::<Hmac<Sha256>>(secret, signed, signature),
            (Key::Secret(secret), "HS384") => hmac::<Hmac<Sha384>>(secret, signed, signature),
            (Key::Secret(secret), "HS512") => hmac::<Hmac<Sha512>>(secret, signed, signature),
            (Key::Rsa(key), _) => {
                let parameters = rsa(algorithm).ok_or(JwtError::Algorithm)?;
                UnparsedPublicKey::new(parameters, key).verify(signed, signature).is_ok()
            }
            (Key::RsaComponents(n, e), _) => {
                let parameters = rsa(algorithm).ok_or(JwtError::Algorithm)?;
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }
            (Key::Point(point), _) => {
                let parameters: &dyn signature::VerificationAlgorithm = match (algorithm, point.len()) {
                    ("ES256", 65) => &signature::ECDSA_P256_SHA256_FIXED,
                    ("ES384", 97) => &signature::ECDSA_P384_SHA384_FIXED,
                    ("EdDSA", 32) => &signature::ED25519,
                    _ => return Err(JwtError::Algorithm),
                };
                UnparsedPublicKey::new(parameters, point).verify(signed, signature).is_ok()
            }
            _ => return Err(JwtError::Algorithm),
        };
        if fits { Ok(()) } else { Err(JwtError::Signature) }
    }
}

fn rsa(algorithm: &str) -> Option<&'static signature::RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn hmac<M: Mac + KeyInit>(secret: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    // HMAC takes keys of any length.
    <M as KeyInit>::new_from_slice(secret).is_ok_and(|mac| mac.chain_update(signed).verify_slice(signature).is_ok())
}

/// A token with these claims (JSON text), signed HS256.
pub fn sign(claims: &str, secret: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\",\"typ\":\"JWT\"}");
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    // HMAC takes keys of any length.
    let signature = Hmac::<Sha256>::new_from_slice(secret)
        .map(|mac| URL_SAFE_NO_PAD.encode(mac.chain_update(signed.as_bytes()).finalize().into_bytes()))
        .unwrap_or_default();
    format!("{signed}.{signature}")
}

/// The `kid` of a token's header, not verified.
pub fn key_id(token: &str) -> Option<String> {
    let header = decode(token.split('.').next()?)?;
    Some(header.get("kid")?.as_str()?.to_owned())
}

/// The claims of a token that fulfils the demands. `now` is in seconds since 1970.
///
/// # Errors
/// The first check that fails.
pub fn verify(token: &str, key: &Key, demands: &Demands, now: i64) -> Result<Object, JwtError> {
    if token.is_empty() {
        return Err(JwtError::Missing);
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { return Err(JwtError::Malformed) };
    let header = decode(header).ok_or(JwtError::Invalid)?;
    let Some(Json::Object(claims)) = decode(claims).filter(|_| is_base64url(claims)) else {
        return Err(JwtError::Invalid);
    };
    if signature.is_empty() {
        return Err(JwtError::Unsigned);
    }
    let algorithm = header.get("alg").and_then(Json::as_str).unwrap_or_default();
    if !demands.algorithms.iter().any(|accepted| accepted == algorithm) {
        return Err(JwtError::Algorithm);
    }
    let signed = &token[..token.len() - signature.len() - 1];
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwtError::Signature)?;
    key.verify(algorithm, signed.as_bytes(), &signature)?;
    check_time(&claims, now)?;
    check_audience(&claims, &demands.audience)?;
    check_issuer(&claims, &demands.issuer)?;
    Ok(claims)
}

fn decode(part: &str) -> Option<Json> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    Json::parse(&String::from_utf8_lossy(&bytes)).ok().filter(|json| json.as_object().is_some())
}

fn is_base64url(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn check_time(claims: &Object, now: i64) -> Result<(), JwtError> {
    let seconds = |name: &'static str| match claims.get(name) {
        None => Ok(None),
        Some(Json::Number(seconds)) => Ok(Some(*seconds)),
        Some(_) => Err(JwtError::NoNumber(name)),
    };
    let now = now as f64;
    if seconds("nbf")?.is_some_and(|from| from > now) {
        return Err(JwtError::NotActive);
    }
    if seconds("exp")?.is_some_and(|until| now >= until) {
        return Err(JwtError::Expired);
    }
    Ok(())
}

fn check_audience(claims: &Object, accepted: &[String]) -> Result<(), JwtError> {
    let fits = |audience: &Json| accepted.iter().any(|accepted| audience.as_str() == Some(accepted));
    let found = match claims.get("aud") {
        Some(Json::Array(audiences)) => audiences.iter().any(fits),
        Some(audience) => fits(audience),
        None => false,
    };
    if accepted.is_empty() || found { Ok(()) } else { Err(JwtError::Audience(accepted.join(" or "))) }
}

fn check_issuer(claims: &Object, accepted: &[String]) -> Result<(), JwtError> {
    let issuer = claims.get("iss").and_then(Json::as_str);
    if accepted.is_empty() || accepted.iter().any(|accepted| issuer == Some(accepted)) {
        return Ok(());
    }
    Err(JwtError::Issuer(accepted.join(",")))
}

/// The key in PEM whose `-----BEGIN ` is taken away.
fn pem_key(pem: &str) -> Option<Key> {
    let (label, rest) = pem.split_once("-----")?;
    let body: String = rest.split("-----").next()?.chars().filter(|c| !c.is_whitespace()).collect();
    let der = STANDARD.decode(body).ok()?;
    match label {
        "RSA PUBLIC KEY" => Some(Key::Rsa(der)),
        "PUBLIC KEY" => subject_key(&der),
        "CERTIFICATE" => {
            let certificate = Der(&der).next(0x30)?;
            let mut fields = Der(Der(certificate).next(0x30)?);
            if fields.0.first() == Some(&0xa0) {
                fields.next(0xa0)?;
            }
            // Serial number, algorithm, issuer, validity, subject.
            for tag in [0x02, 0x30, 0x30, 0x30, 0x30] {
                fields.next(tag)?;
            }
            subject_key(fields.0)
        }
        _ => None,
    }
}

/// The key in a SubjectPublicKeyInfo.
fn subject_key(der: &[u8]) -> Option<Key> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let mut info = Der(Der(der).next(0x30)?);
    let algorithm = Der(info.next(0x30)?).next(0x06)?;
    let key = info.next(0x03)?.strip_prefix(&[0])?.to_vec();
    Some(if algorithm == RSA { Key::Rsa(key) } else { Key::Point(key) })
}

/// Reads elements of DER one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, if it has this tag.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[found, length], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81 => (usize::from(*rest.first()?), &rest[1..]),
            0x82 => {
                let (bytes, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*bytes)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (found == tag).then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData, SigningKey};

    use super::*;

    fn demands(algorithm: &str) -> Demands {
        Demands { algorithms: vec![algorithm.to_owned()], ..Demands::default() }
    }

    fn secret() -> Key {
        Key::new("s").unwrap()
    }

    fn error(claims: &str, demands: &Demands) -> String {
        verify(&sign(claims, b"s"), &secret(), demands, 1000).unwrap_err().to_string()
    }

    /// A token signed with a key of any kind.
    fn signed(algorithm: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let header = URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"{algorithm}\",\"kid\":\"k1\"}}"));
        let text = format!("{header}.{}", URL_SAFE_NO_PAD.encode("{\"sub\":\"u\"}"));
        let signature = sign(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn a_token_round_trips_in_order() {
        let claims = verify(&sign("{\"b\":1,\"a\":2,\"exp\":1001}", b"s"), &secret(), &demands("HS256"), 1000).unwrap();
        assert_eq!(Json::Object(claims).to_string(), "{\"b\":1,\"a\":2,\"exp\":1001}");
    }

    #[test]
    fn forms_that_are_no_tokens() {
        let check = |token: &str| verify(token, &secret(), &demands("HS256"), 0).unwrap_err().to_string();
        assert_eq!(check(""), "jwt must be provided");
        assert_eq!(check("garbage"), "jwt malformed");
        assert_eq!(check("a.b.c.d"), "jwt malformed");
        assert_eq!(check("a.b.c"), "invalid token");
        let token = sign("{}", b"s");
        let unsigned = &token[..=token.rfind('.').unwrap()];
        assert_eq!(check(unsigned), "jwt signature is required");
        assert_eq!(check(&format!("{token}x")), "invalid signature");
        assert_eq!(check(&sign("{}", b"other")), "invalid signature");
        assert_eq!(check(&sign("[]", b"s")), "invalid token");
        let none = format!("{}.e30.x", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"));
        assert_eq!(check(&none), "invalid algorithm");
    }

    #[test]
    fn claims_are_checked() {
        let hs = demands("HS256");
        assert_eq!(error("{\"exp\":1000}", &hs), "jwt expired");
        assert_eq!(error("{\"exp\":\"x\"}", &hs), "invalid exp value");
        assert_eq!(error("{\"nbf\":1001,\"exp\":1}", &hs), "jwt not active");
        assert_eq!(error("{}", &demands("HS512")), "invalid algorithm");
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let strict = Demands { audience: list(&["a", "b"]), issuer: list(&["i", "j"]), ..hs };
        assert_eq!(error("{\"aud\":\"c\"}", &strict), "jwt audience invalid. expected: a or b");
        assert_eq!(error("{}", &strict), "jwt audience invalid. expected: a or b");
        assert_eq!(error("{\"aud\":[\"c\",\"b\"]}", &strict), "jwt issuer invalid. expected: i,j");
        let good = sign("{\"aud\":[\"c\",\"b\"],\"iss\":\"j\"}", b"s");
        assert!(verify(&good, &secret(), &strict, 0).is_ok());
    }

    #[test]
    fn public_keys_verify() {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let rng = ring::rand::SystemRandom::new();
        let ring_pair = signature::EcdsaKeyPair::from_pkcs8(
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            &pair.serialize_der(),
            &rng,
        )
        .unwrap();
        let token = signed("ES256", |text| ring_pair.sign(&rng, text).unwrap().as_ref().to_vec());
        let pem = Key::new(&pair.public_key_pem()).unwrap();
        assert!(verify(&token, &pem, &demands("ES256"), 0).is_ok());
        assert_eq!(key_id(&token).as_deref(), Some("k1"));
        let certificate =
            rcgen::CertificateParams::new(vec!["x.example".to_owned()]).unwrap().self_signed(&pair).unwrap();
        assert_eq!(Key::new(&certificate.pem()).unwrap(), pem);
        // In one line, as configuration files have it.
        assert_eq!(Key::new(&pair.public_key_pem().replace('\n', "")).unwrap(), pem);
        let point = pair.der_bytes();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = format!("{{\"kty\":\"EC\",\"x\":\"{}\",\"y\":\"{}\"}}", part(&point[1..33]), part(&point[33..]));
        assert_eq!(Key::from_jwk(&Json::parse(&jwk).unwrap()).unwrap(), pem);

        let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let other = Key::new(&other.public_key_pem()).unwrap();
        assert_eq!(verify(&token, &other, &demands("ES256"), 0), Err(JwtError::Signature));

        let ed = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let token = signed("EdDSA", |text| ed.sign(text).unwrap());
        assert!(verify(&token, &Key::new(&ed.public_key_pem()).unwrap(), &demands("EdDSA"), 0).is_ok());
    }

    /// A key made for this test alone, and what its other half, thrown away since, signed.
    #[test]
    fn rsa_verifies() {
        let pem = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAy6+VLyhUU3fZR7oD2wkTq0eLTJ+Bqk/inj4jme31ljHO3u2MLaOp9ITm\
             0DZm05qVqn61kyseGlB38zIfCe63CqFTlFAvEOBbtK9Yp+B7lkSeEXJAesvnODJWEaCHDmsMyXfxyJrodBbyYPiQAF0KUrTGXGjV\
             4QtSlpbSr34Pfo5rF0Q9FKGLZdELj0ryQk9xoXX5SKXY3lzMSlLAwQfJFJJvlP7ujrjfcMYLD3XKG40fQYwZwC7eM3lOYEWRqbkK\
             VMp7sl4wYo8lJZsOEQ23mNHiw+7tXVWFCDTZMrkJdL8zJzrojpajRpvOekCk0+cgqo1KJETkKzZScZ93R0i00wIDAQAB";
        let n = "y6-VLyhUU3fZR7oD2wkTq0eLTJ-Bqk_inj4jme31ljHO3u2MLaOp9ITm0DZm05qVqn61kyseGlB38zIfCe63CqFTlFAvEOBbtK9Y\
             p-B7lkSeEXJAesvnODJWEaCHDmsMyXfxyJrodBbyYPiQAF0KUrTGXGjV4QtSlpbSr34Pfo5rF0Q9FKGLZdELj0ryQk9xoXX5SKXY\
             3lzMSlLAwQfJFJJvlP7ujrjfcMYLD3XKG40fQYwZwC7eM3lOYEWRqbkKVMp7sl4wYo8lJZsOEQ23mNHiw-7tXVWFCDTZMrkJdL8z\
             JzrojpajRpvOekCk0-cgqo1KJETkKzZScZ93R0i00w";
        let rs = "nx1bQd57bxAxpNxCp9GGsXkL86hRGFfIjAY-zbXEA-oYHrqXYlU3JQzazMr-KjwuSfCO7qSklf06zHnr7GU4jGK2in7BPQYoEnHR\
             b7rlO2U65FDeO6gYIB2vB-ogGqi0_FvyU1K21AY5m_UM1TOWoGO2BqF69nof4a6RCsyCKYdBzPNf0fvQEo7M71xIZKzyp0DsIKww\
             ymvOow1z_OCik3KANUgLgvqo5UpjM3_IWsqEJycWGOFru83cvFVN8hwcUd0e8D5O2SN21Cwwym6VrnPTpH33e6Nw6JghhI2WXthN\
             JSwqtipHC17o0HAVqq22vZ2RpmwdqyPptZNdLkXEYg";
        let ps = "CS-WxO8gvrxRzUJ91ystr6CoQGysSs2EW3El_Ib7V7SxNpuIKM5uQDlj6gQmBHygHulD0SXfTENt4AuK8Bl1Ru7OBCUz-d0HpTNM\
             oxKklIu4wVnzkh-yYwWepGaA5SBUiiboYd1IWUI350rBOLikTp0EOKaILJfJTUQgmCYz1B87YhJVXYBK5nI9LJ36yE-cSwyed8HC\
             nEM4voQPgU9QGIjh-VHyGEIAHMsucukQ_BcWy5jXu_QvT_Ier_U6LCv_j-ebdLxhyPXnAzPzhmB_EZOoXRv8CHMvKqCcDF68qmq2\
             m-hidoAbOroxFyfiEFmP2nQbs4D8JgKL1ZE3opYRfw";
        let pem = Key::new(&format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n")).unwrap();
        let jwk = Json::parse(&format!("{{\"kty\":\"RSA\",\"n\":\"{n}\",\"e\":\"AQAB\"}}")).unwrap();
        for key in [pem, Key::from_jwk(&jwk).unwrap()] {
            for (algorithm, signature) in [("RS256", rs), ("PS256", ps)] {
                let token = |subject: &str| {
                    let header = URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"{algorithm}\"}}"));
                    let claims = URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"{subject}\"}}"));
                    format!("{header}.{claims}.{signature}")
                };
                assert!(verify(&token("u"), &key, &demands(algorithm), 0).is_ok(), "{algorithm}");
                assert_eq!(verify(&token("v"), &key, &demands(algorithm), 0), Err(JwtError::Signature));
                assert_eq!(verify(&token("u"), &key, &demands("RS512"), 0), Err(JwtError::Algorithm));
            }
        }
    }

    #[test]
    fn a_public_key_is_no_secret() {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let pem = pair.public_key_pem();
        let forged = sign("{}", pem.trim().as_bytes());
        let both = Demands { algorithms: vec!["HS256".to_owned(), "ES256".to_owned()], ..Demands::default() };
        assert_eq!(verify(&forged, &Key::new(&pem).unwrap(), &both, 0), Err(JwtError::Algorithm));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(token in "[A-Za-z0-9_.=-]{0,60}", der: Vec<u8>) {
            let _ = verify(&token, &secret(), &demands("HS256"), 0);
            let _ = key_id(&token);
            let pem = STANDARD.encode(der);
            for label in ["PUBLIC KEY", "CERTIFICATE"] {
                let _ = Key::new(&format!("-----BEGIN {label}-----{pem}-----END {label}-----"));
            }
        }
    }

    #[test]
    fn keys_that_are_none() {
        assert_eq!(Key::new(" "), Err(JwtError::NoKey));
        assert_eq!(Key::new("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"), Err(JwtError::NoKey));
        assert_eq!(Key::new("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----"), Err(JwtError::NoKey));
    }
}
