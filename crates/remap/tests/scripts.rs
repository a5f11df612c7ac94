//! Scripts as integrations have them, and what is wrong with others.

#![allow(clippy::unwrap_used)]

use duologue_remap::{Error, run};
use serde_json::{Value, json};

fn request(body: &str, query: &str) -> Value {
    json!({
        "path": "/events/T1", "method": "POST", "query": query, "body": body,
        "headers": {"x-team": "T2", "x-sig": "none"}, "secrets": {"KEY": "k", "OTHER": ""},
    })
}

#[track_caller]
fn result(script: &str) -> Value {
    run(script, request(r#"{"team":{"id":"T7"},"list":[1,2,3],"ok":"true"}"#, "a=1&b=x%20y&a=2")).unwrap().0
}

fn failure(script: &str) -> Error {
    run(script, request("no json", "")).unwrap_err()
}

#[test]
fn an_identifier_is_found_in_every_place() {
    assert_eq!(result("parse_json!(.body).team.id"), "T7");
    assert_eq!(result("body = parse_json!(.body)\nbody.team.id"), "T7");
    assert_eq!(result("body, err = parse_json(.body)\nif err != null { abort }\nto_string!(body.team.id)"), "T7");
    assert_eq!(result(r#"split(.path, "/")[2]"#), "T1");
    assert_eq!(result(r#"parts = split!(string!(.path), "/"); parts[-1]"#), "T1");
    assert_eq!(result(r#"parse_query_string!(.query).b"#), "x y");
    assert_eq!(result(r#"parse_query_string!(.query).a"#), json!(["1", "2"]));
    assert_eq!(result(r#".headers."x-team""#), "T2");
    assert_eq!(result(r#".headers["x-team"]"#), "T2");
    assert_eq!(result(r#"get!(.headers, ["x-team"])"#), "T2");
    assert_eq!(result(".nowhere.at.all"), Value::Null);
}

#[test]
fn decisions() {
    let script = r#"
        # Which of them?
        if starts_with!(.path, "/events") && .method == "POST" {
            id = parse_json!(.body).team.id
            "{{ id }}-events"
        } else if exists(.headers."x-team") {
            .headers."x-team"
        } else {
            null
        }
    "#;
    assert_eq!(result(script), "T7-events");
    let script = script.replace("/events", "/other");
    assert_eq!(result(&script), "T2");
    assert_eq!(result("parse_json(.query) ?? .headers.\"x-team\""), "T2");
    assert_eq!(result("to_bool!(parse_json!(.body).ok)"), true);
    assert_eq!(result("!is_nullish(.secrets.OTHER) || is_nullish(.secrets.KEY)"), false);
    assert_eq!(result(".nothing || \"default\""), "default");
    assert_eq!(result("length(\"abc\") > 2 && length!(.headers) == 2"), true);
    assert_eq!(result("x = 1 + 2 * 3\nx"), 7);
    assert_eq!(result("return .method\n\"never\""), "POST");
    assert_eq!(result("assert!(.method == \"POST\", message: \"no\")\n1"), 1);
}

#[test]
fn signatures_and_encodings() {
    // printf body | openssl dgst -sha256 -hmac k
    let script = r#"encode_base16(hmac("body", .secrets.KEY))"#;
    assert_eq!(result(script), "c6d811ef3aeb02437cd423f1abe13209041864630bdc4e2c04def5c7b0031a23");
    assert_eq!(result(r#"decode_base64!("aGk=")"#), "hi");
    assert_eq!(result(r#"encode_percent("a b/c")"#), "a%20b%2Fc");
    assert_eq!(result(r#"decode_percent!("a%20b")"#), "a b");
    assert_eq!(result(r#"encode_json({"a": [1, null], "b": "x"})"#), r#"{"a":[1,null],"b":"x"}"#);
    assert_eq!(result(r#"join!(["a", "b"], "-") + replace("x.y", ".", "")"#), "a-bxy");
    assert_eq!(result("s'a \"raw\" one' + \"\\{\\{no\\}\\}\\n\""), "a \"raw\" one{{no}}\n");
}

#[test]
fn what_it_works_on_can_be_changed() {
    let (result, data) =
        run(".a.b = 1\n.list[0] = 9\ndel(.gone)\n. |= {\"c\": 2}", json!({"list": [1], "gone": 1})).unwrap();
    assert_eq!(data, json!({"list": [9], "a": {"b": 1}, "c": 2}));
    assert_eq!(result, data);
}

#[test]
fn answers_of_fallbacks() {
    let script = r#"
        body = parse_json!(.body)
        {
          "status": 200,
          "body": encode_json({ "challenge": body.team.id }),
          "headers": { "content-type": "application/json" },
        }
    "#;
    let expected =
        json!({"status": 200, "body": r#"{"challenge":"T7"}"#, "headers": {"content-type": "application/json"}});
    assert_eq!(result(script), expected);
}

#[test]
fn failures_say_why() {
    assert_eq!(failure("abort"), Error::Aborted);
    assert!(matches!(failure("parse_json!(.body)"), Error::Failed(_)));
    assert!(matches!(failure("1 + {}"), Error::Failed(_)));
    assert!(matches!(failure("unset"), Error::Failed(_)));
    for (script, line) in
        [("1 +", 1), ("\n\nfoo(1)", 3), ("if true {\n", 2), ("\"open", 1), ("split(\"a\")", 1), ("a b", 1), ("$", 1)]
    {
        match failure(script) {
            Error::Syntax { line: found, .. } => assert_eq!(found, line, "{script}"),
            other => panic!("{script}: {other:?}"),
        }
    }
}

#[test]
fn nothing_runs_or_grows_without_end() {
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(matches!(failure(&deep), Error::Syntax { .. }));
    assert!(matches!(failure(&"!".repeat(5000)), Error::Syntax { .. }));
    assert!(matches!(failure(&"{".repeat(5000)), Error::Syntax { .. }));
    assert!(matches!(failure(&"if true ".repeat(5000)), Error::Syntax { .. }));
    let mut doubling = "x = \"aaaaaaaaaaaaaaaa\"\n".to_owned();
    doubling.push_str(&"x = \"{{x}}{{x}}\"\n".repeat(60));
    assert_eq!(failure(&doubling), Error::TooMuch);
    assert_eq!(failure(&"1\n".repeat(30_000)), Error::TooMuch);
    assert!(run(&" ".repeat(70_000), Value::Null).is_err());
    assert_eq!(run("", Value::Null).unwrap().0, Value::Null);
}
