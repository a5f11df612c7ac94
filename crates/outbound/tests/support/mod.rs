#![allow(clippy::unwrap_used, dead_code)] // each test file uses a part of it

//! A server that answers what it is told, and a resolver that says what it is told.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use duologue_outbound::{Client, Limits, Resolve, Resolving, Settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Listens on a port of its own and keeps what it was sent.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers every request with what `answer` makes of its text (head and body), then closes.
    pub async fn new(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, log.clone(), answer.clone()));
            }
        });
        Server { address, seen }
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(
    mut stream: TcpStream,
    log: Arc<Mutex<Vec<String>>>,
    answer: Arc<impl Fn(&str) -> Vec<u8> + Send + Sync + 'static>,
) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            log.lock().unwrap().push(text.clone());
            let _ = stream.write_all(&answer(&text)).await;
            let _ = stream.shutdown().await;
            return;
        }
    }
}

pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

pub fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into()
}

/// Answers in turn, the last one for ever, whatever the name; keeps the names.
#[derive(Debug)]
pub struct Script {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    pub asked: Mutex<Vec<String>>,
}

impl Script {
    pub fn new(answers: &[&[&str]]) -> Arc<Script> {
        let answers = answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        Arc::new(Script { answers: Mutex::new(answers), asked: Mutex::default() })
    }
}

impl Resolve for Script {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(host.to_owned());
            let mut answers = self.answers.lock().unwrap();
            let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
            answer.filter(|answer| !answer.is_empty()).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }
}

pub fn client(allow: &str, resolver: Arc<dyn Resolve>) -> Client {
    client_with(allow, resolver, Limits::default())
}

pub fn client_with(allow: &str, resolver: Arc<dyn Resolve>, limits: Limits) -> Client {
    Client::new(Settings { allow: allow.parse().unwrap(), resolver, limits, ..Settings::default() }).unwrap()
}
