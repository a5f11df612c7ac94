//! Requests and answers as Call API and scripts need them: bodies, redirects, limits, codes, TLS,
//! proxies.

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use duologue_outbound::{Client, Error, Limits, Proxy, Request, Settings};
use http::Method;
use support::{Script, Server, client, client_with, ok, redirect};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

fn limits(timeout_ms: u64, redirects: u32, body: usize) -> Limits {
    Limits { timeout: Duration::from_millis(timeout_ms), redirects, body }
}

#[tokio::test]
async fn sends_and_receives() {
    let server = Server::new(|_| b"HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 4\r\n\r\nnone".to_vec()).await;
    let mut request = Request::new(Method::PUT, server.url("/p?q=1#fragment"));
    request.headers.insert("content-type", "text/plain".parse().unwrap());
    request.headers.insert("transfer-encoding", "chunked".parse().unwrap());
    request.headers.insert("content-length", "999".parse().unwrap());
    request.body = Bytes::from_static(b"hello");
    let response = client("127.0.0.1", Script::new(&[])).send(request).await.unwrap();
    assert_eq!((response.status.as_u16(), &response.body[..], response.redirects), (404, &b"none"[..], 0));
    assert_eq!(response.headers["x-a"], "b");
    assert_eq!(response.url, server.url("/p?q=1"));
    let seen = &server.seen()[0];
    assert!(seen.starts_with("PUT /p?q=1 HTTP/1.1\r\n") && seen.ends_with("\r\n\r\nhello"), "{seen}");
    assert!(seen.contains("content-length: 5\r\n") && !seen.contains("chunked"), "{seen}");
}

#[tokio::test]
async fn methods_survive_redirects_as_browsers_have_it() {
    for (status, method, becomes) in [
        (301, Method::POST, "GET"),
        (302, Method::POST, "GET"),
        (303, Method::POST, "GET"),
        (302, Method::PUT, "PUT"),
        (303, Method::PUT, "GET"),
        (303, Method::HEAD, "HEAD"),
        (307, Method::POST, "POST"),
        (308, Method::DELETE, "DELETE"),
    ] {
        let server = Server::new(move |request| match request.contains(" /start ") {
            true => redirect(status, "end?x=1"),
            false => ok(""),
        })
        .await;
        let mut request = Request::new(method.clone(), server.url("/start"));
        request.headers.insert("content-type", "application/json".parse().unwrap());
        request.body = Bytes::from_static(b"{}");
        let response = client("127.0.0.1", Script::new(&[])).send(request).await.unwrap();
        assert_eq!(response.redirects, 1);
        let last = server.seen().pop().unwrap();
        assert!(last.starts_with(&format!("{becomes} /end?x=1 ")), "{status} {method}: {last}");
        let body_kept = becomes == method.as_str();
        assert_eq!(last.contains("content-type"), body_kept, "{status} {method}");
        assert_eq!(last.ends_with("{}"), body_kept, "{status} {method}");
    }
}

#[tokio::test]
async fn redirects_are_counted() {
    let server = Server::new(|_| redirect(302, "/again")).await;
    let five = client("127.0.0.1", Script::new(&[]));
    let error = five.send(Request::new(Method::GET, server.url("/"))).await.unwrap_err();
    assert_eq!(error.code(), "ERR_FR_TOO_MANY_REDIRECTS");
    assert_eq!(server.seen().len(), 6);

    let mut request = Request::new(Method::GET, server.url("/"));
    request.limits = Some(limits(5000, 0, 100));
    assert_eq!(five.send(request).await.unwrap().status, 302);

    let nowhere = Server::new(|_| b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    assert_eq!(five.send(Request::new(Method::GET, nowhere.url("/"))).await.unwrap().status, 302);
}

#[tokio::test]
async fn sizes_are_bounded() {
    let announced = Server::new(|_| ok(&"x".repeat(1001))).await;
    let streamed = Server::new(|_| format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1001)).into_bytes()).await;
    let endless = Server::new(|_| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).into_bytes()).await;
    let client = client_with("127.0.0.1", Script::new(&[]), limits(5000, 5, 1000));
    for server in [announced, streamed] {
        let error = client.send(Request::new(Method::GET, server.url("/"))).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge(1000)), "{error:?}");
    }
    let error = client.send(Request::new(Method::GET, endless.url("/"))).await.unwrap_err();
    assert!(matches!(error, Error::NotHttp(_)), "{error:?}");
}

#[tokio::test]
async fn compressed_answers_are_decoded() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"{\"a\":1}").unwrap();
    let packed = gzip.finish().unwrap();
    let server = Server::new(move |_| {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", packed.len())
                .into_bytes();
        answer.extend(&packed);
        answer
    })
    .await;
    let response =
        client("127.0.0.1", Script::new(&[])).send(Request::new(Method::GET, server.url("/"))).await.unwrap();
    assert_eq!(response.body, "{\"a\":1}");
    assert!(!response.headers.contains_key("content-encoding") && !response.headers.contains_key("content-length"));
}

#[tokio::test]
async fn time_is_bounded() {
    // Never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_with("127.0.0.1", Script::new(&[]), limits(150, 5, 1000));
    let error = client.send(Request::new(Method::GET, format!("http://{}/", silent.local_addr().unwrap()))).await;
    assert_eq!(error.unwrap_err().code(), "ECONNABORTED");

    // Answers for ever.
    let drip = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", drip.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = drip.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let error = client.send(Request::new(Method::GET, url)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    assert_eq!(error.to_string(), "timeout of 150ms exceeded");
}

#[tokio::test]
async fn failures_have_the_codes_that_scripts_know() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = Server::new(|_| Vec::new()).await;
    let garbage = Server::new(|_| b"SSH-2.0-OpenSSH_9.0\r\n\r\n".to_vec()).await;
    let talkative = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let talks_first = talkative.local_addr().unwrap();
    tokio::spawn(async move { talkative.accept().await.unwrap().0.write_all(b"SSH-2.0-OpenSSH_9.0\r\n").await });
    let cut = Server::new(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec()).await;
    let client = client("127.0.0.1", Script::new(&[&[]]));
    for (url, code) in [
        (format!("http://{free}/"), "ECONNREFUSED"),
        ("http://nowhere.example/".to_owned(), "ENOTFOUND"),
        (silent.url("/"), "ECONNRESET"),
        (garbage.url("/"), "HPE_INVALID_CONSTANT"),
        (cut.url("/"), "ECONNRESET"),
        (format!("https://{talks_first}/"), "EPROTO"),
    ] {
        let error = client.send(Request::new(Method::GET, &url)).await.unwrap_err();
        assert_eq!(error.code(), code, "{url}: {error:?}");
    }
}

#[tokio::test]
async fn certificates_must_prove_the_name() {
    let signed = rcgen::generate_simple_self_signed(["good.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(&ok("over TLS")).await;
            let _ = stream.shutdown().await;
        }
    });
    let trusting = Client::new(Settings {
        allow: "127.0.0.1".parse().unwrap(),
        resolver: Script::new(&[&["127.0.0.1"]]),
        certificates: vec![signed.cert.pem().into_bytes()],
        ..Settings::default()
    })
    .unwrap();
    let good = trusting.send(Request::new(Method::GET, format!("https://good.example:{port}/"))).await.unwrap();
    assert_eq!(good.body, "over TLS");
    let other = trusting.send(Request::new(Method::GET, format!("https://other.example:{port}/"))).await.unwrap_err();
    assert_eq!(other.code(), "ERR_TLS_CERT_ALTNAME_INVALID");
    let stranger = client("127.0.0.1", Script::new(&[&["127.0.0.1"]]));
    let unknown = stranger.send(Request::new(Method::GET, format!("https://good.example:{port}/"))).await.unwrap_err();
    assert_eq!(unknown.code(), "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
}

#[tokio::test]
async fn a_proxy_is_told_the_checked_address() {
    let server = Server::new(|_| ok("behind")).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy_port = proxy.local_addr().unwrap().port();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = proxy.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        let target = request.split(' ').nth(1).unwrap().to_owned();
        sender.send(request).unwrap();
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        let mut onward = tokio::net::TcpStream::connect(target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
    });
    let port = server.address.port();
    let client = Client::new(Settings {
        allow: "crm.internal".parse().unwrap(),
        resolver: Script::new(&[&["127.0.0.1"]]),
        proxy: Some(Proxy::new(&format!("http://u:p@localhost:{proxy_port}")).unwrap()),
        ..Settings::default()
    })
    .unwrap();
    let url = format!("http://crm.internal:{port}/x");
    assert_eq!(client.send(Request::new(Method::GET, url)).await.unwrap().body, "behind");
    let connect = receiver.await.unwrap();
    assert!(connect.starts_with(&format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n")), "{connect}");
    assert!(connect.contains("Proxy-Authorization: Basic dTpw\r\n"), "{connect}");
    assert!(server.seen()[0].contains("host: crm.internal:"), "{:?}", server.seen());
    // A proxy doesn't open what is closed.
    let denied = client.send(Request::new(Method::GET, "http://10.0.0.1/")).await.unwrap_err();
    assert_eq!(denied.code(), "EACCES");
}
