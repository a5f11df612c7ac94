//! URLs that try to reach what they must not.

mod support;

use duologue_outbound::{Client, Error, Request};
use http::Method;
use support::{Script, Server, client, ok, redirect};

async fn get(client: &Client, url: &str) -> Result<String, Error> {
    let response = client.send(Request::new(Method::GET, url)).await?;
    Ok(String::from_utf8_lossy(&response.body).into_owned())
}

#[tokio::test]
async fn every_spelling_of_a_private_address_is_refused() {
    let server = Server::new(|_| ok("secret")).await;
    let port = server.address.port();
    let client = client("", Script::new(&[&["127.0.0.1"]]));
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0177.0x0.0.01",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "127%2e0%2e0%2e1",
        "①②⑦.⓪.⓪.①",
        "１２７.０.０.１",
        "127。0。0。1",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::ffff:a9fe:a9fe]",
        "100.100.100.200",
        "192.168.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "168.63.129.16",
        // Names; the resolver says 127.0.0.1.
        "localhost",
        "LOCALHOST",
        "localhost.",
        "ｌｏｃａｌｈｏｓｔ",
        "127.0.0.1.nip.example",
        "metadata.google.internal",
        // The host is what follows the last @.
        "good.example@127.0.0.1",
        "good.example:80@127.0.0.1",
        "good.example%2f@127.0.0.1",
        "a:b@[::1]",
    ] {
        let url = format!("http://{host}:{port}/");
        match get(&client, &url).await {
            Err(error @ Error::Denied(_)) => assert_eq!(error.code(), "EACCES"),
            other => panic!("{url}: {other:?}"),
        }
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn what_is_no_web_url_is_refused() {
    let client = client("*", Script::new(&[&["127.0.0.1"]]));
    for url in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1:70/_x",
        "data:,x",
        "javascript:1",
        "unix:/run/x.sock",
        "ws://127.0.0.1/",
    ] {
        assert!(matches!(get(&client, url).await, Err(Error::Protocol(_))), "{url}");
    }
    for url in [
        "",
        "/relative",
        "//host/x",
        "http://",
        "http://[::1",
        "http://256.1.1.1/",
        "http://a b/",
        "http://127.0.0.1:99999/",
        "http://exa\u{0}mple/",
        "http://1.2.3.4.5/",
        "http://0x100000000/",
    ] {
        let error = get(&client, url).await.unwrap_err();
        assert!(matches!(error, Error::InvalidUrl(_)), "{url}: {error:?}");
    }
    let long = format!("http://x.example/{}", "a".repeat(20_000));
    assert!(matches!(get(&client, &long).await, Err(Error::InvalidUrl(_))));
}

#[tokio::test]
async fn control_characters_never_reach_the_wire() {
    let server = Server::new(|_| ok("")).await;
    let client = client("127.0.0.1", Script::new(&[]));
    // The URL parser drops line breaks and encodes the rest.
    get(&client, &server.url("/a\r\nX-Smuggled: 1\r\n\r\nGET /b")).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with("GET /aX-Smuggled:%201GET%20/b HTTP/1.1\r\n"), "{}", seen[0]);
}

#[tokio::test]
async fn redirects_are_checked_anew() {
    let inner = Server::new(|_| ok("secret")).await;
    for location in [
        inner.url("/"),
        format!("//127.0.0.1:{}/", inner.address.port()),
        format!("http://2130706433:{}/", inner.address.port()),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::ffff:127.0.0.1]/".to_owned(),
    ] {
        let target = location.clone();
        let outer = Server::new(move |_| redirect(302, &target)).await;
        let client = client(&outer.address.to_string(), Script::new(&[]));
        let error = get(&client, &outer.url("/")).await.unwrap_err();
        assert!(matches!(error, Error::Denied(_)), "{location}: {error:?}");
    }
    assert!(inner.seen().is_empty());

    let outer = Server::new(|_| redirect(302, "file:///etc/passwd")).await;
    let client = client("127.0.0.1", Script::new(&[]));
    assert!(matches!(get(&client, &outer.url("/")).await, Err(Error::Protocol(_))));
}

#[tokio::test]
async fn an_answer_of_the_resolver_is_used_once() {
    // The first answer is checked and used; what later answers say doesn't matter.
    let server = Server::new(|_| ok("mine")).await;
    let port = server.address.port();
    let resolver = Script::new(&[&["10.0.0.1", "127.0.0.1"], &["10.0.0.1"]]);
    let reached = client("127.0.0.1", resolver.clone());
    // The answer mixes a private address in: only the allowed one is connected to.
    assert_eq!(get(&reached, &format!("http://rebind.example:{port}/")).await.unwrap(), "mine");
    assert_eq!(resolver.asked.lock().unwrap().len(), 1);
    // Asked anew for a new connection, it is checked anew.
    assert!(matches!(get(&reached, &format!("http://rebind.example:{port}/")).await, Err(Error::Denied(_))));

    // Public when a check would have looked, private afterwards: there is only one look.
    let resolver = Script::new(&[&["127.0.0.1"], &["93.184.216.34"]]);
    let refused = client("", resolver.clone());
    assert!(matches!(get(&refused, &format!("http://rebind.example:{port}/")).await, Err(Error::Denied(_))));
    assert_eq!(resolver.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_name_is_opened_only_where_it_is_said() {
    let server = Server::new(|_| ok("crm")).await;
    let port = server.address.port();
    let client = client(&format!("crm.internal:{port}"), Script::new(&[&["127.0.0.1"]]));
    assert_eq!(get(&client, &format!("http://crm.internal:{port}/")).await.unwrap(), "crm");
    assert_eq!(get(&client, &format!("http://CRM.internal.:{port}/")).await.unwrap(), "crm");
    for host in ["127.0.0.1", "other.internal", "crm.internal.evil.example"] {
        assert!(matches!(get(&client, &format!("http://{host}:{port}/")).await, Err(Error::Denied(_))), "{host}");
    }
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let other = Server::new(|_| ok("there")).await;
    let target = other.url("/landed");
    let origin = Server::new(move |request| match request.starts_with("GET /same ") {
        true => redirect(307, "/next"),
        false if request.starts_with("GET /next ") => ok("here"),
        false => redirect(302, &target),
    })
    .await;
    let client = client("127.0.0.1", Script::new(&[]));
    let port = origin.address.port();

    // Credentials in the URL become basic authentication, and are kept on the same origin.
    let url = format!("http://us%65r:p%40ss@127.0.0.1:{port}/same");
    let response = client.send(Request::new(Method::GET, &url)).await.unwrap();
    assert_eq!(response.url, format!("http://127.0.0.1:{port}/next"));
    for request in origin.seen() {
        assert!(request.contains("authorization: Basic dXNlcjpwQHNz\r\n"), "{request}");
        assert!(!request.contains('@'), "{request}");
    }

    // Another port is another origin.
    let mut request = Request::new(Method::GET, origin.url("/away"));
    for (name, value) in [("authorization", "Bearer s3cret"), ("cookie", "a=b"), ("x-kept", "yes"), ("host", "fake")] {
        request.headers.insert(name, value.parse().unwrap());
    }
    client.send(request).await.unwrap();
    client.send(Request::new(Method::GET, format!("http://u:p@127.0.0.1:{port}/away"))).await.unwrap();
    let landed = other.seen();
    assert!(
        landed[0].contains("x-kept: yes") && landed[0].contains(&format!("host: 127.0.0.1:{}", other.address.port()))
    );
    for request in landed {
        let request = request.to_ascii_lowercase();
        assert!(!request.contains("authorization") && !request.contains("cookie"), "{request}");
    }

    // Errors and debug output name nothing secret.
    let error = client.send(Request::new(Method::GET, "http://user:hunter2@10.0.0.1/p?key=hunter2")).await.unwrap_err();
    let request = Request::new(Method::GET, "http://user:hunter2@10.0.0.1/");
    assert!(!format!("{error} {error:?} {request:?}").contains("hunter2"));
}
