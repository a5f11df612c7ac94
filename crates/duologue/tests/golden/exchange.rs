//! One HTTP request over a connection of its own, byte for byte as it is written: a client library would
//! tidy up paths and headers that the recordings are about.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_called(name).next()
    }

    /// All headers of this name.
    pub fn headers_called(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request to `address` (host and port) and waits for its answer, at most half a minute.
pub fn exchange(address: &str, method: &str, path: &str, headers: &[(String, String)], body: Option<&[u8]>) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    if let Some(body) = body {
        // A server that refuses a body may answer before it has all of it.
        let _ = stream.write_all(body);
    }
    read(stream, method == "HEAD").unwrap_or_else(|failed| panic!("{method} {path}: {failed}"))
}

fn read(mut stream: TcpStream, without_body: bool) -> Result<Answer, String> {
    let mut bytes = Vec::new();
    // A connection that is reset after the answer was sent doesn't matter: its length is checked below.
    let ended = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").ok_or_else(|| format!("no answer: {ended:?}"))?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or("no status")?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: bytes.split_off(end + 4) };
    if without_body {
        return Ok(answer);
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunk(&answer.body).ok_or("a chunk is cut off")?;
    } else if let Some(length) = answer.header("content-length") {
        let length: usize = length.parse().map_err(|_| "no length")?;
        if answer.body.len() != length {
            return Err(format!("{} bytes of {length}", answer.body.len()));
        }
    }
    Ok(answer)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|part| part == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
