//! The service that the recorded bots' Call API flows call. It lives as long as the test's process.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

/// Listens on a port of its own, which is returned.
pub fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Answers one request after the other until the client goes away.
fn serve(stream: TcpStream) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let request = read(&mut reader)?;
        writer.write_all(answer(&request).as_bytes()).ok()?;
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = || {
        let mut line = String::new();
        (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn answer(request: &Request) -> String {
    let json = |status, body: &str| response(status, "application/json", "", body);
    match request.path.split('?').next().unwrap_or_default() {
        "/ok" => json(200, r#"{"hello": "world", "n": 42, "list": [{"a": 1}, {"a": 2}]}"#),
        "/created" => json(201, r#"{"id": 7}"#),
        "/text" => response(200, "text/plain", "", "plain text body"),
        "/empty" => response(204, "text/plain", "", ""),
        "/echo" => json(200, &echo(request)),
        "/fail" => json(500, r#"{"error": "boom"}"#),
        "/notfound" => json(404, r#"{"error": "nope"}"#),
        "/redirect" => response(302, "text/plain", "location: /ok\r\n", ""),
        "/slow" => {
            std::thread::sleep(Duration::from_secs(6));
            json(200, r#"{"slow": true}"#)
        }
        "/badjson" => json(200, "{not json"),
        _ => json(404, r#"{"error": "unknown path"}"#),
    }
}

/// What was sent, in the order in which it came.
fn echo(request: &Request) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let headers: Vec<String> = request
        .headers
        .iter()
        .filter(|(name, _)| name != "host" && name != "connection")
        .map(|(name, value)| format!("{}: {}", quoted(name), quoted(value)))
        .collect();
    format!(
        "{{\"method\": {}, \"path\": {}, \"headers\": {{{}}}, \"body\": {}}}",
        quoted(&request.method),
        quoted(&request.path),
        headers.join(", "),
        quoted(&request.body)
    )
}

fn response(status: u16, media_type: &str, extra: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} Stub\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n{extra}\r\n{body}")
}
