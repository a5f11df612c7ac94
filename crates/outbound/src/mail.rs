//! E-mail through an SMTP server.
//!
//! The server's URL is a bot's or an operator's; only the latter may lead to an address that isn't public.
//! Connections are made as for requests: one answer of the resolver, checked, then used. A password is sent
//! over TLS only, unless the URL says otherwise.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use lettre::{
    Message,
    message::{Mailboxes, SinglePart},
};
use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::{Client, Error};

/// How long sending may take in all.
const LONGEST: Duration = Duration::from_secs(60);
/// Bytes in a line of the server's.
const LONGEST_LINE: u64 = 4 * 1024;
/// Lines in an answer of the server's.
const MOST_LINES: usize = 100;

/// Why an e-mail wasn't sent. Messages have no credentials in them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// The URL of the server.
    #[error("the SMTP server is given as smtp://[user:password@]host[:port] or smtps://…")]
    Url,
    /// An address of the e-mail.
    #[error("{0:?} is no e-mail address")]
    Address(String),
    /// The e-mail can't be written.
    #[error("the e-mail can't be written: {0}")]
    Message(String),
    /// The server can't be reached.
    #[error("the SMTP server can't be reached: {0}")]
    Connect(#[from] Error),
    /// The connection broke.
    #[error("the connection to the SMTP server broke: {0}")]
    Broken(#[from] std::io::Error),
    /// TLS is asked for and can't be had.
    #[error("the SMTP server offers no TLS, and a password isn't sent without; ?ignoreTLS=true allows it")]
    NoTls,
    /// The server knows no way to log in that is known here.
    #[error("the SMTP server takes passwords neither by PLAIN nor by LOGIN")]
    NoLogin,
    /// The server refused.
    #[error("the SMTP server refused {0}: {1}")]
    Refused(&'static str, String),
    /// It took too long.
    #[error("the SMTP server took longer than {} s", LONGEST.as_secs())]
    Timeout,
}

/// An e-mail in plain text. Addresses may have names (`Ada <ada@example.org>`); lists of them are separated
/// by commas.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'m> {
    /// One address.
    pub from: &'m str,
    /// Addresses; at least one in all three lists.
    pub to: &'m str,
    /// Addresses, or nothing.
    pub cc: &'m str,
    /// Addresses that nobody sees, or nothing.
    pub bcc: &'m str,
    /// One line.
    pub subject: &'m str,
    /// The text.
    pub text: &'m str,
}

/// An SMTP server: `smtp://` or `smtps://`, with `?secure=true`, `?requireTLS=true` or `?ignoreTLS=true`.
#[derive(Clone)]
pub struct MailServer {
    host: String,
    port: u16,
    login: Option<(String, String)>,
    tls: Tls,
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    AtOnce,
    Required,
    IfOffered,
    Never,
}

impl std::fmt::Debug for MailServer {
    /// Without user and password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailServer").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl MailServer {
    /// Reads its URL. The port is 465 for TLS at once, else 587.
    ///
    /// # Errors
    /// [`MailError::Url`].
    pub fn parse(url: &str) -> Result<MailServer, MailError> {
        let url = Url::parse(url).map_err(|_| MailError::Url)?;
        let says = |name: &str| url.query_pairs().any(|(key, value)| key == name && value == "true");
        let tls = match url.scheme() {
            "smtps" => Tls::AtOnce,
            "smtp" if says("secure") => Tls::AtOnce,
            "smtp" if says("requireTLS") => Tls::Required,
            "smtp" if says("ignoreTLS") => Tls::Never,
            "smtp" => Tls::IfOffered,
            _ => return Err(MailError::Url),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(MailError::Url)?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = (!url.username().is_empty())
            .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
        Ok(MailServer {
            host: host.trim_matches(['[', ']']).to_ascii_lowercase(),
            port: url.port().unwrap_or(if tls == Tls::AtOnce { 465 } else { 587 }),
            login,
            tls,
        })
    }
}

impl Client {
    /// Sends an e-mail. `anywhere`: whether the server may be at an address that isn't public and isn't on
    /// the list, because the operator named it.
    ///
    /// # Errors
    /// If it wasn't taken for all of its addresses.
    pub async fn mail(&self, server: &MailServer, anywhere: bool, mail: Mail<'_>) -> Result<(), MailError> {
        let message = write(mail)?;
        let open = anywhere.then(|| self.way.anywhere());
        let way = open.as_ref().unwrap_or(&self.way);
        let sending = async {
            let stream = way.reach(&server.host, server.port).await?;
            match server.tls {
                Tls::AtOnce => {
                    deliver(Session::greeted(self.encrypt(server, stream).await?).await?, server, &message).await
                }
                _ => self.deliver_from_plain(stream, server, &message).await,
            }
        };
        tokio::time::timeout(LONGEST, sending).await.map_err(|_| MailError::Timeout)?
    }

    async fn deliver_from_plain(
        &self,
        stream: tokio::net::TcpStream,
        server: &MailServer,
        message: &Message,
    ) -> Result<(), MailError> {
        let mut session = Session::greeted(stream).await?;
        if server.tls == Tls::Never || !session.offers("STARTTLS") {
            let clear = server.tls == Tls::Never || server.tls == Tls::IfOffered && server.login.is_none();
            return if clear { deliver(session, server, message).await } else { Err(MailError::NoTls) };
        }
        session.command("STARTTLS", "STARTTLS", 2).await?;
        // What was said before TLS doesn't count: a session of its own.
        let mut session = Session::new(self.encrypt(server, session.stream.into_inner()).await?);
        session.hello().await?;
        deliver(session, server, message).await
    }

    async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        server: &MailServer,
        stream: S,
    ) -> Result<tokio_rustls::client::TlsStream<S>, MailError> {
        let name = ServerName::try_from(server.host.clone()).map_err(|_| MailError::Url)?;
        Ok(TlsConnector::from(self.tls.clone()).connect(name, stream).await?)
    }
}

fn write(mail: Mail<'_>) -> Result<Message, MailError> {
    let subject: Vec<&str> = mail.subject.split_whitespace().collect();
    let from = mail.from.trim().parse().map_err(|_| MailError::Address(mail.from.to_owned()))?;
    let mut message = Message::builder().from(from).subject(subject.join(" "));
    for to in addresses(mail.to)? {
        message = message.to(to);
    }
    for cc in addresses(mail.cc)? {
        message = message.cc(cc);
    }
    for bcc in addresses(mail.bcc)? {
        message = message.bcc(bcc);
    }
    let text = SinglePart::plain(mail.text.to_owned());
    message.singlepart(text).map_err(|error| MailError::Message(error.to_string()))
}

fn addresses(list: &str) -> Result<Mailboxes, MailError> {
    let written = list.trim().trim_end_matches(',');
    if written.is_empty() {
        Ok(Mailboxes::new())
    } else {
        written.parse().map_err(|_| MailError::Address(list.to_owned()))
    }
}

/// Logs in and hands the message over.
async fn deliver<S>(mut session: Session<S>, server: &MailServer, message: &Message) -> Result<(), MailError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some((user, password)) = &server.login {
        session.log_in(user, password).await?;
    }
    let envelope = message.envelope();
    // Addresses were checked when they were read; a null sender has none.
    let sender = envelope.from().map(ToString::to_string).unwrap_or_default();
    session.command("the sender", &format!("MAIL FROM:<{sender}>"), 2).await?;
    for recipient in envelope.to() {
        session.command("a recipient", &format!("RCPT TO:<{recipient}>"), 2).await?;
    }
    session.command("the message", "DATA", 3).await?;
    session.write(&stuffed(&message.formatted())).await?;
    session.answer("the message", 2).await?;
    // It is delivered, whatever the server says to the goodbye.
    let _ = session.write(b"QUIT\r\n").await;
    Ok(())
}

/// The text of DATA: a dot at a line's beginning is doubled, and a dot of its own ends it.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// A talk with a server.
struct Session<S> {
    stream: BufReader<S>,
    /// What it offers, a line each, in capitals.
    offered: Vec<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(stream: S) -> Self {
        Session { stream: BufReader::new(stream), offered: Vec::new() }
    }

    /// With a server that speaks first.
    async fn greeted(stream: S) -> Result<Self, MailError> {
        let mut session = Session::new(stream);
        session.answer("the connection", 2).await?;
        session.hello().await?;
        Ok(session)
    }

    async fn hello(&mut self) -> Result<(), MailError> {
        // A name of our own would say where this server runs.
        let offered = self.command("EHLO", "EHLO [127.0.0.1]", 2).await?;
        self.offered = offered.into_iter().map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    fn offers(&self, what: &str) -> bool {
        self.offered.iter().any(|line| line.split([' ', '=']).next() == Some(what))
    }

    async fn log_in(&mut self, user: &str, password: &str) -> Result<(), MailError> {
        let ways: Vec<&str> = self
            .offered
            .iter()
            .filter(|line| line.starts_with("AUTH"))
            .flat_map(|line| line.split([' ', '=']))
            .collect();
        let (plain, login) = (ways.contains(&"PLAIN"), ways.contains(&"LOGIN"));
        if plain {
            let both = STANDARD.encode(format!("\0{user}\0{password}"));
            self.command("the login", &format!("AUTH PLAIN {both}"), 2).await?;
        } else if login {
            self.command("the login", "AUTH LOGIN", 3).await?;
            self.command("the login", &STANDARD.encode(user), 3).await?;
            self.command("the login", &STANDARD.encode(password), 2).await?;
        } else {
            return Err(MailError::NoLogin);
        }
        Ok(())
    }

    /// Says a line and reads the answer, which must be of this class: 2 is done, 3 is go on.
    async fn command(&mut self, what: &'static str, line: &str, class: u8) -> Result<Vec<String>, MailError> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.answer(what, class).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), MailError> {
        self.stream.get_mut().write_all(bytes).await?;
        Ok(self.stream.get_mut().flush().await?)
    }

    /// The lines of an answer, without their code.
    async fn answer(&mut self, what: &'static str, class: u8) -> Result<Vec<String>, MailError> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            (&mut self.stream).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let is_code = text.len() >= 3 && text.as_bytes()[..3].iter().all(u8::is_ascii_digit);
            if !line.ends_with(b"\n") || !is_code || lines.len() == MOST_LINES {
                return Err(MailError::Broken(std::io::ErrorKind::InvalidData.into()));
            }
            let is_last = text.as_bytes().get(3) != Some(&b'-');
            lines.push(text.get(4..).unwrap_or_default().to_owned());
            if is_last {
                let right = text.as_bytes()[0] == b'0' + class;
                return if right { Ok(lines) } else { Err(MailError::Refused(what, text)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let server = MailServer::parse("smtp://ada%40example.org:p%3Aw@Mail.Example:2525").unwrap();
        assert_eq!((server.host.as_str(), server.port, server.tls), ("mail.example", 2525, Tls::IfOffered));
        assert_eq!(server.login, Some(("ada@example.org".to_owned(), "p:w".to_owned())));
        assert!(!format!("{server:?}").contains("p:w"));
        let ports = ["smtps://h", "smtp://h", "smtp://h?secure=true", "smtp://h:25?ignoreTLS=true"];
        let ports = ports.map(|url| MailServer::parse(url).map(|server| (server.port, server.tls)).unwrap());
        assert_eq!(ports, [(465, Tls::AtOnce), (587, Tls::IfOffered), (465, Tls::AtOnce), (25, Tls::Never)]);
        for url in ["http://h", "smtp://", "h:25", ""] {
            assert!(MailServer::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_a_mail_says_stays_in_its_place() {
        let mail = Mail {
            from: "Shop <shop@example.org>",
            to: "ada@example.org, Bob <bob@example.org>",
            cc: "",
            bcc: "eve@example.org",
            subject: "Hi\r\nBcc: all@example.org",
            text: ".\r\nBye",
        };
        let message = write(mail).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(text.contains("\r\nSubject: Hi Bcc: all@example.org\r\n"), "{text}");
        assert!(!text.contains("eve@example.org"), "nobody sees whom else it went to: {text}");
        assert_eq!(message.envelope().to().len(), 3);
        assert_eq!(stuffed(b"a\r\n.\r\n..b\r\n"), b"a\r\n..\r\n...b\r\n.\r\n");
        assert_eq!(stuffed(b"a"), b"a\r\n.\r\n");
        for to in ["", "nobody", "a@b\r\nRCPT TO:<c@d>", "a@b>"] {
            assert!(write(Mail { to, bcc: "", ..mail }).is_err(), "{to}");
        }
    }
}
