//! A load: connections that send the next request when the last one is answered.
//!
//! Requests are written by hand and answers are read only as far as needed, so that the load costs
//! little of the machine it shares with the server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::Error;

/// What a run has shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// What each connection sends in turn.
pub(crate) type Requests = Vec<Vec<Vec<u8>>>;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Result<Client, Error> {
        let stream = TcpStream::connect(address).await.map_err(|e| Error::Io("connect", e))?;
        stream.set_nodelay(true).map_err(|e| Error::Io("connect", e))?;
        Ok(Client { stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Sends and reads the whole answer; the body is what is returned. Refuses other statuses than
    /// successes.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Result<&[u8], Error> {
        self.stream.write_all(request).await.map_err(|e| Error::Io("send", e))?;
        self.buffer.clear();
        let (head, length) = loop {
            self.fill().await?;
            if let Some(head) = find(&self.buffer, b"\r\n\r\n") {
                break (head + 4, content_length(&self.buffer[..head]));
            }
        };
        while self.buffer.len() < head + length {
            self.fill().await?;
        }
        if !self.buffer.starts_with(b"HTTP/1.1 2") {
            return Err(Error::Unexpected(String::from_utf8_lossy(&self.buffer).into_owned()));
        }
        Ok(&self.buffer[head..head + length])
    }

    async fn fill(&mut self) -> Result<(), Error> {
        let count = self.stream.read_buf(&mut self.buffer).await.map_err(|e| Error::Io("receive", e))?;
        if count == 0 { Err(Error::Unexpected("the server closed the connection".into())) } else { Ok(()) }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn content_length(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0)
}

/// Loads a server: each of `connections` sends its own requests in turn, for `seconds` after a
/// second of warming up.
pub(crate) async fn run(
    address: &str,
    connections: usize,
    seconds: u64,
    requests: Vec<Vec<Vec<u8>>>,
) -> Result<Figures, Error> {
    let requests = Arc::new(requests);
    let start = Instant::now() + Duration::from_secs(1);
    let end = start + Duration::from_secs(seconds);
    let mut running = tokio::task::JoinSet::new();
    for number in 0..connections {
        let (address, requests) = (address.to_owned(), requests.clone());
        running.spawn(async move {
            let mut client = Client::connect(&address).await?;
            let own = &requests[number % requests.len()];
            let mut took = Vec::with_capacity(100_000);
            let mut turn = 0usize;
            loop {
                let began = Instant::now();
                client.call(&own[turn % own.len()]).await?;
                let now = Instant::now();
                if now >= end {
                    return Ok::<_, Error>(took);
                }
                if began >= start {
                    took.push((now - began).as_micros() as u32);
                }
                turn += 1;
            }
        });
    }
    let mut all: Vec<u32> = Vec::new();
    while let Some(done) = running.join_next().await {
        all.extend(done.map_err(|e| Error::Unexpected(e.to_string()))??);
    }
    Ok(figures(all, seconds))
}

/// The figures of a run of so many seconds, out of the microseconds that each request took.
pub(crate) fn figures(mut all: Vec<u32>, seconds: u64) -> Figures {
    all.sort_unstable();
    let at = |share: f64| {
        Duration::from_micros(u64::from(all.get((all.len() as f64 * share) as usize).copied().unwrap_or(0)))
    };
    Figures { per_second: all.len() as f64 / seconds as f64, p50: at(0.50), p99: at(0.99) }
}

/// The run whose rate is in the middle.
pub(crate) fn median(mut runs: Vec<Figures>) -> Figures {
    runs.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let middle = runs.len() / 2;
    runs.into_iter().nth(middle).unwrap_or_default()
}
