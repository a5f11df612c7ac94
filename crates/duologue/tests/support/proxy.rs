//! Something between client and server that misbehaves on demand.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::Server;

/// Something between client and server.
#[derive(Clone, Default)]
pub struct Proxy {
    /// Every so many requests, answers 429 instead.
    pub refuse_every: usize,
    /// Lets lists have their own order.
    pub unsorted: bool,
    /// Breaks every second long transcript off after so many bytes.
    pub cut: usize,
    /// Before each request.
    pub delay: Duration,
}

/// A proxy at work, until the test ends.
pub struct Running {
    address: String,
    plain: String,
    refused: Arc<AtomicUsize>,
}

impl Running {
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Here it hides what only a Duologue has.
    pub fn plain(&self) -> String {
        self.plain.clone()
    }

    /// How many requests were refused or broken off.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Proxy {
    pub fn start(self, server: &Server) -> Running {
        let refused = Arc::new(AtomicUsize::new(0));
        let listen = |plain: bool| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            let (proxy, upstream) = (self.clone(), server.url.trim_start_matches("http://").to_owned());
            let (refused, count) = (refused.clone(), Arc::new(AtomicUsize::new(0)));
            std::thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let (proxy, upstream, refused, count) =
                        (proxy.clone(), upstream.clone(), refused.clone(), count.clone());
                    std::thread::spawn(move || proxy.serve(client, &upstream, plain, &count, &refused));
                }
            });
            address
        };
        Running { address: listen(false), plain: listen(true), refused }
    }

    /// One request a connection.
    fn serve(
        &self,
        client: TcpStream,
        upstream: &str,
        plain: bool,
        count: &AtomicUsize,
        refused: &AtomicUsize,
    ) -> Option<()> {
        let mut lines = BufReader::new(client.try_clone().ok()?);
        let mut request = String::new();
        lines.read_line(&mut request).ok()?;
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? <= 2 {
                break;
            }
            if !line.to_ascii_lowercase().starts_with("connection:") {
                head.push_str(&line);
            }
        }
        std::thread::sleep(self.delay);
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut client = client;
        if plain && (request.starts_with("GET /health") || request.contains("/transcript")) {
            return answer(&mut client, "404 Not Found", "", "<html>what?</html>");
        }
        if self.refuse_every > 0 && number.is_multiple_of(self.refuse_every) {
            refused.fetch_add(1, Ordering::Relaxed);
            let body = r#"{"id":"err_1","code":429,"type":"RateLimited","message":"slow down"}"#;
            return answer(
                &mut client,
                "429 Too Many Requests",
                "ratelimit-remaining: 0\r\nratelimit-reset: 0.05\r\n",
                body,
            );
        }
        if self.unsorted {
            request = request.replace("sortField=createdAt", "a=b").replace("sortDirection=asc", "c=d");
        }
        let mut server = TcpStream::connect(upstream).ok()?;
        server.write_all(format!("{request}{head}connection: close\r\n\r\n").as_bytes()).ok()?;
        if self.cut > 0 && request.contains("/transcript") && number.is_multiple_of(2) {
            let mut begin = vec![0; self.cut];
            let mut length = 0;
            while length < begin.len() {
                match server.read(&mut begin[length..]).ok()? {
                    0 => break,
                    n => length += n,
                }
            }
            client.write_all(&begin[..length]).ok()?;
            if length == begin.len() {
                refused.fetch_add(1, Ordering::Relaxed);
                let _ = client.shutdown(Shutdown::Both);
            }
            return Some(());
        }
        std::io::copy(&mut server, &mut client).ok()?;
        client.shutdown(Shutdown::Write).ok()
    }
}

fn answer(client: &mut TcpStream, status: &str, headers: &str, body: &str) -> Option<()> {
    let text =
        format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    client.write_all(text.as_bytes()).ok()
}
