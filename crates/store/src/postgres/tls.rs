//! Where a PostgreSQL URL leads to, and whether the connection is encrypted: `sslmode` and `sslrootcert` as libpq
//! has them.

use std::{net::IpAddr, path::Path, str::FromStr, sync::Arc};

use percent_encoding::percent_decode_str;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{Error, Result};

/// Where to connect, and how connections are encrypted if they are.
#[derive(Clone)]
pub(super) struct Target {
    pub config: Config,
    pub tls: MakeRustlsConnect,
}

/// The value of `sslrootcert` for the authorities that this machine trusts.
const SYSTEM: &str = "system";

/// What is asked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Nothing: the connection is encrypted, but who is at its other end isn't checked.
    Anybody,
    /// It is signed by somebody who is trusted.
    Signed,
    /// And it is for the host of the URL.
    Named,
}

fn unusable(why: impl std::fmt::Display) -> Error {
    Error::Setup(format!("the database URL is not usable: {why}"))
}

impl Target {
    /// What a URL says. Without `sslmode`, a server on this machine is talked to in the clear, and elsewhere TLS
    /// is used if the server has it.
    pub(super) fn of(url: &str) -> Result<Target> {
        let (rest, mode, roots) = split(url);
        let mut config = Config::from_str(&rest).map_err(unusable)?;
        config.application_name("duologue");
        let named = roots.as_deref().is_some_and(|roots| roots != SYSTEM);
        let (ssl, trust) = match mode.as_deref() {
            None if is_local(&config) => (SslMode::Disable, Trust::Anybody),
            None | Some("prefer" | "allow") => (SslMode::Prefer, Trust::Anybody),
            Some("disable") => (SslMode::Disable, Trust::Anybody),
            Some("require") if roots.is_none() => (SslMode::Require, Trust::Anybody),
            // As libpq has it: who names authorities wants them to count.
            Some("require" | "verify-ca") if named => (SslMode::Require, Trust::Signed),
            // Those that the machine trusts sign for everybody, so only a name tells who it is.
            Some("require" | "verify-ca" | "verify-full") => (SslMode::Require, Trust::Named),
            Some(other) => {
                return Err(unusable(format!(
                    "sslmode={other} is none of disable, allow, prefer, require, verify-ca, verify-full"
                )));
            }
        };
        config.ssl_mode(ssl);
        Ok(Target { config, tls: MakeRustlsConnect::new(client_config(trust, roots.as_deref())?) })
    }
}

/// Takes what the driver doesn't know out of a URL: the URL without it, `sslmode` and `sslrootcert`.
fn split(url: &str) -> (String, Option<String>, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None, None) };
    let (mut mode, mut roots, mut others) = (None, None, Vec::new());
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = || Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
        match name {
            "sslmode" => mode = value(),
            "sslrootcert" => roots = value(),
            _ => others.push(parameter),
        }
    }
    match others.is_empty() {
        true => (base.to_owned(), mode, roots),
        false => (format!("{base}?{}", others.join("&")), mode, roots),
    }
}

fn is_local(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    })
}

fn client_config(trust: Trust, roots: Option<&str>) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier::new(trust, roots, &provider)?);
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Who is trusted: the certificates in a PEM file, or those that this machine trusts.
fn trusted(roots: Option<&str>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match roots.filter(|roots| *roots != SYSTEM) {
        Some(file) => {
            let file = Path::new(file);
            let failed = |why: &dyn std::fmt::Display| {
                Error::Setup(format!("sslrootcert {} is not usable: {why}", file.display()))
            };
            for certificate in CertificateDer::pem_file_iter(file).map_err(|e| failed(&e))? {
                store.add(certificate.map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
            }
            if store.is_empty() {
                return Err(failed(&"there is no certificate in it"));
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                return Err(Error::Setup(
                    "this machine trusts no certificates that could verify the database's; name some with sslrootcert=FILE".into(),
                ));
            }
        }
    }
    Ok(store)
}

#[derive(Debug)]
struct Verifier {
    /// Checks the chain; `None` if anybody is trusted.
    chain: Option<Arc<WebPkiServerVerifier>>,
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(trust: Trust, roots: Option<&str>, provider: &Arc<CryptoProvider>) -> Result<Verifier> {
        let chain = match trust {
            Trust::Anybody => None,
            Trust::Signed | Trust::Named => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(trusted(roots)?), provider.clone())
                    .build()
                    .map_err(|error| Error::Setup(error.to_string()))?,
            ),
        };
        Ok(Verifier { chain, trust, algorithms: provider.signature_verification_algorithms })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(certificate, between, name, ocsp, now) {
            // The name is what is looked at last.
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
                if self.trust == Trust::Signed =>
            {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_decides() {
        let mode = |url: &str| Target::of(url).map(|target| target.config.get_ssl_mode());
        for (url, expected) in [
            ("postgres://u@localhost/d", SslMode::Disable),
            ("postgres://u@[::1]/d", SslMode::Disable),
            ("postgres://u@db.example/d", SslMode::Prefer),
            ("postgres://u@localhost,db.example/d?connect_timeout=3", SslMode::Prefer),
            ("postgres://u@db.example/d?sslmode=disable", SslMode::Disable),
            ("postgres://u@127.0.0.1/d?connect_timeout=3&sslmode=require", SslMode::Require),
        ] {
            assert_eq!(mode(url).unwrap(), expected, "{url}");
        }
        assert!(mode("postgres://u@h/d?sslmode=yes").unwrap_err().to_string().contains("verify-full"));
        let missing = mode("postgres://u@h/d?sslmode=require&sslrootcert=%2Fno%2Fsuch.pem").unwrap_err().to_string();
        assert!(missing.contains("/no/such.pem"), "{missing}");
    }

    #[test]
    fn the_driver_gets_what_it_knows() {
        let (url, mode, roots) = split("postgres://u@h/d?sslmode=verify-full&connect_timeout=3&sslrootcert=a%20b.pem");
        assert_eq!(url, "postgres://u@h/d?connect_timeout=3");
        assert_eq!((mode.as_deref(), roots.as_deref()), (Some("verify-full"), Some("a b.pem")));
        assert_eq!(split("postgres://h/d?sslmode=disable").0, "postgres://h/d");
    }
}
