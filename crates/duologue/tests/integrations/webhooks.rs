//! Requests of third parties: `webhook_received`, and what links an account.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    As, Bed,
    code::{Reply, fails, says},
    path_of, support,
    wire::send,
};

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_pass_through() {
    let bed = Bed::new(json!({})).await;
    let webhook = path_of(&bed.install(json!({})).await["webhookUrl"]);
    bed.code.heard();
    bed.code.behaves(|_| async {
        let headers = vec![
            ("content-type", "text/weird; charset=x"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("access-control-allow-origin", "https://a.test"),
        ];
        Reply { status: 418, headers, body: b"\x00\xff\r\nbytes".to_vec() }
    });
    let head = format!(
        "PATCH {webhook}/a%20b//c/?x=%2F&y&&z=1+2\nX-Sig: one\nx-sig: two\ncontent-type: text/plain\nTE: trailers\n"
    );
    let got = send(&bed.server, &head, "tëxt\u{0}\r\n".as_bytes()).await;
    assert_eq!((got.status, got.body.as_slice()), (418, b"\x00\xff\r\nbytes".as_slice()));
    assert_eq!(got.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(got.all("content-type"), ["text/weird; charset=x"]);
    assert_eq!(got.all("access-control-allow-origin"), ["https://a.test"]);
    for absent in ["x-hop", "x-content-type-options", "x-request-id", "cache-control"] {
        assert_eq!(got.all(absent), [""; 0], "{absent}");
    }
    let asked = bed.code.heard().pop().unwrap();
    assert_eq!(asked.operation, "webhook_received");
    let req = &asked.body["req"];
    assert_eq!(req["method"], "PATCH");
    assert_eq!(req["path"], "/a%20b//c/");
    assert_eq!(req["query"], "x=%2F&y&&z=1+2");
    assert_eq!(req["body"], "tëxt\u{0}\r\n");
    assert_eq!(req["headers"]["x-sig"], "one, two");
    assert_eq!(req["headers"]["host"], bed.server.url.strip_prefix("http://").unwrap());
    assert_eq!((&req["headers"]["te"], &req["headers"]["connection"]), (&Value::Null, &Value::Null));

    // Nothing more than is there; what isn't text becomes some.
    bed.code.behaves(|_| async { Reply { status: 200, headers: Vec::new(), body: b"{}".to_vec() } });
    let got = send(&bed.server, &format!("GET {webhook}\n"), b"").await;
    assert_eq!((got.status, got.json()), (200, json!({})));
    let req = bed.code.heard().pop().unwrap().body["req"].take();
    assert_eq!((&req["path"], &req["query"], req.get("body")), (&json!("/"), &json!(""), None));
    send(&bed.server, &format!("POST {webhook}/\n"), b"\xff\xfe").await;
    let req = bed.code.heard().pop().unwrap().body["req"].take();
    assert_eq!((&req["path"], &req["body"]), (&json!("/"), &json!("\u{fffd}\u{fffd}")));

    // A preflight is the integration's affair, and an answer without a body is one.
    bed.code
        .behaves(|_| async { Reply { status: 204, headers: vec![("access-control-max-age", "5")], body: Vec::new() } });
    let head = format!("OPTIONS {webhook}/x\norigin: https://a.test\naccess-control-request-method: POST\n");
    let got = send(&bed.server, &head, b"").await;
    assert_eq!((got.status, got.body.len(), got.all("access-control-max-age")), (204, 0, vec!["5"]));
    assert_eq!(got.all("access-control-allow-origin"), [""; 0]);
    assert_eq!(bed.code.heard().pop().unwrap().body["req"]["method"], "OPTIONS");

    // A large body arrives whole.
    bed.code.behaves(|asked| async move { says(json!({"length": asked.body["req"]["body"].as_str().unwrap().len()})) });
    let large = vec![b'x'; 3 << 20];
    assert_eq!(send(&bed.server, &format!("POST {webhook}\n"), &large).await.json()["length"], 3 << 20);

    // Its own errors pass, too.
    bed.code.behaves(|_| async { fails("bad signature") });
    let got = send(&bed.server, &format!("POST {webhook}\n"), b"{}").await;
    assert_eq!((got.status, got.json()["message"].as_str()), (400, Some("bad signature")));
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_nobody_answers() {
    let bed = Bed::new(json!({"maxExecutionTime": 1})).await;
    let unknown = "/01234567-89ab-cdef-0123-456789abcdef";
    let got = send(&bed.server, &format!("POST {unknown}/x\n"), b"{}").await;
    assert_eq!(got.status, 404);
    got.refused("ResourceNotFound");
    let got = send(&bed.server, "GET /no-webhook\n", b"").await;
    assert_eq!(got.status, 405);
    let instance = bed.install(json!({})).await;
    let webhook = path_of(&instance["webhookUrl"]);
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        says(json!({}))
    });
    let got = send(&bed.server, &format!("POST {webhook}\n"), b"{}").await;
    assert_eq!(got.status, 504);
    got.refused("OperationTimeout");
    bed.code.behaves(|_| async { says(json!({})) });
    bed.install(json!({"enabled": false})).await;
    let got = send(&bed.server, &format!("POST {webhook}\n"), b"{}").await;
    assert_eq!(got.status, 404);
    bed.install(json!({})).await;
    let url = format!("http://{}", support::free_address());
    let path = format!("PUT /v1/admin/integrations/{}", bed.integration);
    bed.call(As::Owner, &path, json!({ "url": url })).await.ok();
    let got = send(&bed.server, &format!("POST {webhook}\n"), b"{}").await;
    assert_eq!(got.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_gives_an_instance_its_identifier() {
    let bed = Bed::new(json!({"configuration": {"schema": {}, "identifier": {"required": true}}})).await;
    let instance = bed.install(json!({})).await;
    assert_eq!(instance["status"], "registration_pending");
    assert_eq!(bed.code.operations(), Vec::<String>::new());
    let state = instance["webhookId"].as_str().unwrap().to_owned();

    // A page of its own, a redirect of its own, and an end that the server shows.
    bed.code.behaves(|_| async {
        Reply { status: 200, headers: vec![("x-bp-disable-interstitial", "true")], body: b"<wizard>".to_vec() }
    });
    let got = send(&bed.server, &format!("GET /oauth/wizard/start?state={state}&a=b\n"), b"").await;
    assert_eq!((got.status, got.body.as_slice()), (200, b"<wizard>".as_slice()));
    assert_eq!(got.all("x-bp-disable-interstitial"), [""; 0]);
    let req = bed.code.heard().pop().unwrap().body["req"].take();
    assert_eq!((&req["path"], &req["query"]), (&json!("/oauth/wizard/start"), &json!(format!("state={state}&a=b"))));
    bed.code
        .behaves(|_| async { Reply { status: 302, headers: vec![("location", "https://a.test/")], body: Vec::new() } });
    let got = send(&bed.server, &format!("GET /oauth?state={state}\n"), b"").await;
    assert_eq!((got.status, got.all("location")), (302, vec!["https://a.test/"]));
    bed.code.behaves(|_| async { Reply { status: 403, headers: Vec::new(), body: b"secret".to_vec() } });
    let got = send(&bed.server, &format!("GET /oauth?state={state}\n"), b"").await;
    let page = String::from_utf8(got.body).unwrap();
    assert!(got.status == 403 && page.contains("Not connected") && !page.contains("secret"), "{page}");
    assert_eq!(bed.instance().await["status"], "registration_pending");
    bed.code.heard();

    bed.code.behaves(|_| async {
        Reply { status: 200, headers: vec![("x-bp-integration-identifier", "team-7")], body: b"raw".to_vec() }
    });
    let head = "POST /oauth/callback\ncontent-type: application/x-www-form-urlencoded\n";
    let got = send(&bed.server, head, format!("code=1&state={state}").as_bytes()).await;
    let page = String::from_utf8(got.body).unwrap();
    assert!(got.status == 200 && page.contains("Connected") && !page.contains("raw"), "{page}");
    let instance = bed.eventually_status("registered").await;
    assert_eq!(instance["identifier"], "team-7");
    assert_eq!(bed.code.operations(), ["webhook_received", "register"]);

    // An identifier belongs to one instance; whoever says it last has it.
    let bot = bed.call(As::Owner, "POST /v1/admin/bots", json!({"name": "other"})).await.ok()["bot"]["id"].take();
    let path = format!("PUT /v1/admin/bots/{}", bot.as_str().unwrap());
    let entry = json!({"integrationId": bed.integration, "enabled": true});
    let other = bed.call(As::Owner, &path, json!({"integrations": {"theirs": entry}})).await.ok();
    let state = other["bot"]["integrations"]["theirs"]["webhookId"].as_str().unwrap();
    send(&bed.server, &format!("GET /oauth?state={state}\n"), b"").await;
    assert_eq!(bed.instance().await.get("identifier"), None);

    let got = send(&bed.server, "GET /oauth/interstitial?success=true\n", b"").await;
    assert!(got.status == 200 && String::from_utf8(got.body).unwrap().contains("Connected"));
    let got = send(&bed.server, "GET /oauth/interstitial?success=false&errorMessage=%3Cscript%3E\n", b"").await;
    let page = String::from_utf8(got.body).unwrap();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
    assert_eq!(send(&bed.server, "GET /oauth?state=unknown\n", b"").await.status, 404);
    assert_eq!(send(&bed.server, "GET /oauth\n", b"").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_webhook_finds_its_instance() {
    let extract = r#"
        body = parse_json!(.body)
        signature = encode_base16(hmac(.body, string!(.secrets.KEY)))
        assert!(.headers."x-sig" == signature, message: "signed by somebody else")
        to_string!(body.team.id)
    "#;
    let fallback = r#"{ "status": 202, "headers": {"x-by": "script"}, "body": encode_json({"path": .path}) }"#;
    let identifier = json!({"extractScript": extract, "fallbackHandlerScript": fallback});
    let bed = Bed::new(json!({"name": "acme/tester", "identifier": identifier, "secrets": {"KEY": "k"}})).await;
    let post = |path: &str, body: &str| {
        // printf '{"team":{"id":"T1"}}' | openssl dgst -sha256 -hmac k
        let signature = "cf79a18c53aed714a10a25374a80dfcbb11e19aad0f5ad0441ddeac5225ec5f4";
        let (head, body) = (format!("POST {path}\nx-sig: {signature}\n"), body.to_owned());
        let server = &bed.server;
        async move { send(server, &head, body.as_bytes()).await }
    };
    let body = r#"{"team":{"id":"T1"}}"#;
    assert_eq!(post("/integration/global/acme/tester", body).await.status, 404);
    bed.install(json!({})).await;
    bed.code.heard();
    let got = post("/integration/global/acme/tester/a/b?c=d", body).await;
    assert_eq!((got.status, got.all("x-by"), got.json()), (202, vec!["script"], json!({"path": "/a/b"})));
    bed.call(As::Integration, "POST /v1/chat/integrations/configure", json!({"identifier": "T1"})).await.ok();
    bed.code.behaves(|_| async { Reply { status: 201, ..says(json!({"here": true})) } });
    for path in ["/integration/global/acme/tester/a/b?c=d", "/integration/global/acme%2Ftester/a/b?c=d"] {
        let got = post(path, body).await;
        assert_eq!((got.status, got.json()), (201, json!({"here": true})), "{path}");
        let req = bed.code.heard().pop().unwrap().body["req"].take();
        assert_eq!((&req["path"], &req["query"], &req["body"]), (&json!("/a/b"), &json!("c=d"), &json!(body)));
    }
    // Another's signature finds nobody.
    assert_eq!(post("/integration/global/acme/tester", r#"{"team": {"id": "T1"}}"#).await.status, 202);
    assert_eq!(post("/integration/global/unknown/x", body).await.status, 404);
    assert_eq!(bed.code.operations(), Vec::<String>::new());

    let run =
        |script: &str| bed.call(As::Owner, "POST /v1/admin/helper/vrl", json!({"data": {"a": "b"}, "script": script}));
    let ran = run(".c = 1\n.a").await.ok();
    assert_eq!(ran, json!({"data": {"a": "b", "c": 1}, "result": "b"}));
    assert!(run("nonsense(").await.refused("Runtime").contains("line 1"));
    run("abort").await.refused("Runtime");
}
