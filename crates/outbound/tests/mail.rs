//! E-mails, handed to a server that speaks SMTP as servers do: greeting, capabilities, TLS, login.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use duologue_outbound::{Client, Mail, MailError, MailServer, Settings};
use support::Script;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, rustls};

/// What a server does.
#[derive(Clone, Default)]
struct Ways {
    starttls: bool,
    at_once: bool,
    auth: &'static str,
    refuses: &'static str,
}

/// An SMTP server on a port of its own, its certificate for `mail.example`, and what it was told.
struct Smtp {
    port: u16,
    certificate: Vec<u8>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Smtp {
    async fn new(ways: Ways) -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let signed = rcgen::generate_simple_self_signed(["mail.example".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = told.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (ways, tls, log) = (ways.clone(), tls.clone(), log.clone());
                tokio::spawn(async move {
                    if ways.at_once {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        talk(BufReader::new(stream), &ways, &log, true, true).await;
                    } else if let Some(stream) = talk(BufReader::new(stream), &ways, &log, true, false).await {
                        let Ok(stream) = tls.accept(stream.into_inner()).await else { return };
                        talk(BufReader::new(stream), &ways, &log, false, true).await;
                    }
                });
            }
        });
        Smtp { port, certificate: signed.cert.pem().into_bytes(), told }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Sends to it, as `mail.example` or by its address.
    async fn send(&self, url: &str, anywhere: bool) -> Result<(), MailError> {
        let settings = Settings {
            certificates: vec![self.certificate.clone()],
            resolver: Script::new(&[&["127.0.0.1"]]),
            ..Settings::default()
        };
        let server = MailServer::parse(&url.replace("PORT", &self.port.to_string())).unwrap();
        let mail = Mail {
            from: "Shop <shop@example.org>",
            to: "ada@example.org, bob@example.org",
            cc: "",
            bcc: "eve@example.org",
            subject: "Größe",
            text: "Hello\n.\nBye",
        };
        Client::new(settings).unwrap().mail(&server, anywhere, mail).await
    }
}

/// Talks until the other side leaves or wants TLS; then gives the stream back.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: BufReader<S>,
    ways: &Ways,
    log: &Mutex<Vec<String>>,
    greets: bool,
    is_secret: bool,
) -> Option<BufReader<S>> {
    if greets {
        stream.write_all(b"220-mail.example\r\n220 ready\r\n").await.ok()?;
    }
    let mut in_data = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        log.lock().unwrap().push(format!("{}{line}", if is_secret { "tls " } else { "" }));
        let starttls = if ways.starttls && !is_secret { "250-STARTTLS\r\n" } else { "" };
        let answer = match line.as_str() {
            "." if in_data => {
                in_data = false;
                "250 taken\r\n".to_owned()
            }
            _ if in_data => continue,
            _ if !ways.refuses.is_empty() && line.starts_with(ways.refuses) => "550 not here\r\n".to_owned(),
            _ if line.starts_with("EHLO") => {
                format!("250-mail.example\r\n{starttls}250-AUTH {}\r\n250 8BITMIME\r\n", ways.auth)
            }
            "STARTTLS" => {
                stream.write_all(b"220 go\r\n").await.ok()?;
                return Some(stream);
            }
            "DATA" => {
                in_data = true;
                "354 go on\r\n".to_owned()
            }
            "AUTH LOGIN" | "YWRh" => "334 VXNlcm5hbWU6\r\n".to_owned(),
            "QUIT" => return None,
            _ => "235 fine\r\n".replace("235", if line.starts_with("AUTH") { "235" } else { "250" }),
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
}

#[tokio::test]
async fn a_mail_goes_to_all_its_addresses() {
    let server = Smtp::new(Ways::default()).await;
    server.send("smtp://127.0.0.1:PORT", true).await.unwrap();
    let told = server.told();
    let has = |line: &str| told.iter().any(|said| said == line);
    assert!(has("MAIL FROM:<shop@example.org>"), "{told:#?}");
    for to in ["ada", "bob", "eve"] {
        assert!(has(&format!("RCPT TO:<{to}@example.org>")), "{told:#?}");
    }
    assert!(has("From: Shop <shop@example.org>") && has("To: ada@example.org, bob@example.org"), "{told:#?}");
    assert!(told.iter().any(|line| line.starts_with("Subject: =?utf-8?")), "{told:#?}");
    assert!(has("Hello") && has("..") && has("Bye") && has("."), "{told:#?}");
    assert!(!told.iter().any(|line| line.starts_with("AUTH")));
}

#[tokio::test]
async fn passwords_go_over_tls() {
    let server = Smtp::new(Ways { starttls: true, auth: "PLAIN LOGIN", ..Ways::default() }).await;
    server.send("smtp://ada:secret@mail.example:PORT", true).await.unwrap();
    let told = server.told();
    assert!(told.contains(&"tls AUTH PLAIN AGFkYQBzZWNyZXQ=".to_owned()), "{told:#?}");
    assert!(
        told.iter().all(|line| line.starts_with("tls ") || line.starts_with("EHLO") || line == "STARTTLS"),
        "{told:#?}"
    );

    let server = Smtp::new(Ways { at_once: true, auth: "LOGIN", ..Ways::default() }).await;
    server.send("smtps://ada:secret@mail.example:PORT", true).await.unwrap();
    let told = server.told();
    let login = ["tls AUTH LOGIN", "tls YWRh", "tls c2VjcmV0"];
    assert!(told.windows(3).any(|lines| lines == login), "{told:#?}");

    // Nobody listens in between.
    let server = Smtp::new(Ways { auth: "PLAIN", ..Ways::default() }).await;
    let refused = server.send("smtp://ada:secret@mail.example:PORT", true).await;
    assert!(matches!(refused, Err(MailError::NoTls)), "{refused:?}");
    assert!(matches!(server.send("smtp://mail.example:PORT?requireTLS=true", true).await, Err(MailError::NoTls)));
    assert!(!server.told().iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")));
    server.send("smtp://ada:secret@mail.example:PORT?ignoreTLS=true", true).await.unwrap();
    assert!(server.told().contains(&"AUTH PLAIN AGFkYQBzZWNyZXQ=".to_owned()));
    // The certificate is for another name.
    let server = Smtp::new(Ways { starttls: true, ..Ways::default() }).await;
    assert!(matches!(server.send("smtp://other.example:PORT", true).await, Err(MailError::Broken(_))));
}

#[tokio::test]
async fn what_is_refused_is_said() {
    for (refuses, what) in [("MAIL", "the sender"), ("RCPT TO:<bob", "a recipient"), ("DATA", "the message")] {
        let server = Smtp::new(Ways { refuses, ..Ways::default() }).await;
        let error = server.send("smtp://127.0.0.1:PORT", true).await.unwrap_err().to_string();
        assert_eq!(error, format!("the SMTP server refused {what}: 550 not here"));
    }
    let server = Smtp::new(Ways { starttls: true, auth: "CRAM-MD5", ..Ways::default() }).await;
    assert!(matches!(server.send("smtp://ada:secret@mail.example:PORT", true).await, Err(MailError::NoLogin)));
}

#[tokio::test]
async fn a_server_that_a_bot_names_is_checked() {
    let server = Smtp::new(Ways::default()).await;
    for url in ["smtp://127.0.0.1:PORT", "smtp://mail.example:PORT", "smtp://2130706433:PORT"] {
        let refused = server.send(url, false).await.unwrap_err().to_string();
        assert!(refused.contains("EACCES"), "{url}: {refused}");
    }
    assert!(server.told().is_empty());
}
