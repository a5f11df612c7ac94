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

#[test]
fn patterns_find_parts() {
    let script = r"parse_regex!(.path, r'^/events/(?P<team>\w+)$').team";
    assert_eq!(result(script), "T1");
    assert_eq!(
        result(r#"parse_regex!("a1", r'(\w)(\d)', numeric_groups: true)"#),
        json!({"0": "a1", "1": "a", "2": "1"})
    );
    assert_eq!(result(r#"parse_regex_all!("a1 b2", r'(?P<n>\d)')"#), json!([{"n": "1"}, {"n": "2"}]));
    assert_eq!(result(r#"parse_regex("x", r'\d') ?? "none""#), "none");
    assert_eq!(result(r"match(.method, r'(?i)^post$')"), true);
    assert_eq!(result(r"match_any!(.method, [r'^GET$', r'^PO'])"), true);
    assert_eq!(result(r#"replace("a1b22", r'\d+', "-")"#), "a-b-");
    assert_eq!(result(r#"replace("john smith", r'(?P<a>\w+) (\w+)', "$2 ${a}!")"#), "smith john!");
    assert_eq!(result(r#"replace("aaa", r'a', "b", count: 2)"#), "bba");
    assert_eq!(result(r#"split("a, b,c", r',\s*')"#), json!(["a", "b", "c"]));
    assert_eq!(result(r#"find("abcd", r'c.')"#), 2);
    assert_eq!(result(r#"match("it's", r'it\'s')"#), true);
    assert_eq!(result("r'a'"), Value::Null, "a pattern is no JSON");
    assert!(matches!(failure("match(.path, r'(')"), Error::Syntax { .. }));
    assert!(matches!(failure("match(.path, r'open)"), Error::Syntax { .. }));
    assert!(matches!(failure(r"match(.path, r'(\w{500}){500}')"), Error::Syntax { .. }));
    assert!(matches!(failure(r#"match(.path, "text")"#), Error::Failed(_)));
}

#[test]
fn blocks_run_for_each_entry() {
    assert_eq!(result("sum = 0\nfor_each([1, 2, 3]) -> |_, n| { sum = sum + n }\nsum"), 6);
    assert_eq!(result(r#"for_each({"a": 1}) -> |key, value| { .seen = [key, value] }"#), Value::Null);
    assert_eq!(result("map_values([1, 2]) -> |n| { n * 10 }"), json!([10, 20]));
    assert_eq!(result(r#"map_values({"a": " x "}) -> |v| { strip_whitespace(v) }"#), json!({"a": "x"}));
    assert_eq!(result(r#"map_keys({"A": 1}) -> |k| { downcase(k) }"#), json!({"a": 1}));
    assert_eq!(result("filter([1, 5, 2]) -> |_, n| { n < 3 }"), json!([1, 2]));
    assert_eq!(result("filter!(.headers) -> |key, _value| { starts_with(key, \"x-t\") }"), json!({"x-team": "T2"}));
    assert_eq!(result("n = 7\nfor_each([1]) -> |_, n| {\n  n\n}\nn"), 7, "names of a block hide others");
    assert!(matches!(failure("for_each([1]) -> |n| { n }"), Error::Syntax { .. }));
    assert!(matches!(failure("for_each(1) -> |_, n| { n }"), Error::Failed(_)));
    assert!(matches!(failure("filter([1]) -> |_, n| { n }"), Error::Failed(_)));
    assert!(matches!(failure("for_each([1], |n| { n })"), Error::Syntax { .. }));
}

#[test]
fn instants() {
    let parsed = |text: &str, format: &str| result(&format!("parse_timestamp!(\"{text}\", \"{format}\")"));
    assert_eq!(parsed("2024-05-01T10:20:30.5+02:00", "%+"), "2024-05-01T08:20:30.5Z");
    assert_eq!(parsed("10/Oct/2000:13:55:36 -0700", "%d/%b/%Y:%T %z"), "2000-10-10T20:55:36Z");
    assert_eq!(parsed("1714557630", "%s"), "2024-05-01T10:00:30Z");
    assert_eq!(parsed("Wed, 1 May 2024 01:02:03 PM", "%a, %e %B %Y %I:%M:%S %p"), "2024-05-01T13:02:03Z");
    assert_eq!(parsed("2024-02-29", "%F"), "2024-02-29T00:00:00Z");
    assert_eq!(parsed("2024-366", "%Y-%j"), "2024-12-31T00:00:00Z");
    for (text, format) in [("2023-02-29", "%F"), ("x", "%Y"), ("2024-01-01 ", "%F"), ("2024-01-01", "%Q"), ("P", "%p")]
    {
        let failed = run(&format!("parse_timestamp!(\"{text}\", \"{format}\")"), Value::Null);
        assert!(matches!(failed, Err(Error::Failed(_))), "{text} {format}");
    }
    let written = |format: &str| {
        result(&format!("format_timestamp!(from_unix_timestamp!(1714557630123, unit: \"milliseconds\"), \"{format}\")"))
    };
    assert_eq!(written("%Y-%m-%dT%H:%M:%S%.3f%:z"), "2024-05-01T10:00:30.123+00:00");
    assert_eq!(
        written("%a %A %b %B %-d %e %j %y %I %p %s %% %3f %Z"),
        "Wed Wednesday May May 1  1 122 24 10 AM 1714557630 % 123 UTC"
    );
    assert_eq!(result("to_unix_timestamp(from_unix_timestamp!(5), unit: \"milliseconds\")"), 5000);
    assert_eq!(result("to_unix_timestamp(now()) > 1700000000"), true);
    assert_eq!(result("a = from_unix_timestamp!(5)\na < now() && is_timestamp(a) && !is_object(a)"), true);
    assert_eq!(result("encode_json({\"at\": from_unix_timestamp!(0)})"), r#"{"at":"1970-01-01T00:00:00Z"}"#);
    assert_eq!(result("to_string(from_unix_timestamp!(0))"), "1970-01-01T00:00:00Z");
    assert!(matches!(failure("format_timestamp!(now(), \"%F\", timezone: \"Europe/Paris\")"), Error::Failed(_)));
}

#[test]
fn texts_with_a_form() {
    let expected = json!({"a": "1", "b": "two words", "c": true, "d": ["x", "y"]});
    assert_eq!(result(r#"parse_key_value!("a=1 b=\"two words\" c d=x d=y")"#), expected);
    let script = r#"parse_key_value!("a: 1, b: 2", key_value_delimiter: ":", field_delimiter: ",")"#;
    assert_eq!(result(script), json!({"a": "1", "b": "2"}));
    assert!(matches!(failure("parse_key_value!(\"a b\", accept_standalone_key: false)"), Error::Failed(_)));
    let url = result(r#"parse_url!("https://u@acme.test:8443/a/b?x=1&x=2#top")"#);
    let expected = json!({
        "scheme": "https", "username": "u", "password": "", "host": "acme.test", "port": 8443, "path": "/a/b",
        "query": {"x": ["1", "2"]}, "fragment": "top",
    });
    assert_eq!(url, expected);
    assert_eq!(result(r#"parse_url!("https://acme.test", default_known_ports: true).port"#), 443);
    assert_eq!(result("parse_int!(\"ff\", 16) + parse_int!(\"0b11\")"), 258);
    assert_eq!(
        result("sha1(\"a\") + md5(\"a\")"),
        "86f7e437faa5a7fce15d1ddcb9eaeaea377667b80cc175b9c0f1b6a831c399e269772661"
    );
    assert_eq!(
        result("sha2(\"\", variant: \"SHA-512/256\")"),
        "c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a"
    );
}

#[test]
fn collections_and_numbers() {
    assert_eq!(result(r#"keys({"a": 1, "b": 2})"#), json!(["a", "b"]));
    assert_eq!(result(r#"values({"a": 1})"#), json!([1]));
    assert_eq!(result(r#"merge({"a": {"x": 1}}, {"a": {"y": 2}}, deep: true)"#), json!({"a": {"x": 1, "y": 2}}));
    assert_eq!(result("append(push([1], 2), [3])"), json!([1, 2, 3]));
    assert_eq!(result("includes([1, 2], 2)"), true);
    assert_eq!(result("unique([1, \"1\", 1])"), json!([1, "1"]));
    assert_eq!(result("flatten([1, [2, [3]]])"), json!([1, 2, 3]));
    assert_eq!(result(r#"flatten({"a": {"b": 1}})"#), json!({"a.b": 1}));
    assert_eq!(result(r#"compact({"a": null, "b": [""], "c": 1})"#), json!({"c": 1}));
    assert_eq!(result("slice!(\"abcd\", 1, -1)"), "bc");
    assert_eq!(result("slice!([1, 2, 3], start: -2)"), json!([2, 3]));
    assert_eq!(result("truncate(\"äöü\", 2, suffix: \"…\")"), "äö…");
    assert_eq!(
        result("[floor(1.7), ceil(1.2), round(1.255, precision: 2), abs(-2), mod(7, 4)]"),
        json!([1, 2, 1.25, 2, 3])
    );
    for script in ["mod(1, 0)", "int(1.5)", "object(now())", "slice!(\"ä\", 1)", "slice!([1], 2)", "floor(\"a\")"] {
        assert!(matches!(failure(script), Error::Failed(_)), "{script}");
    }
}

#[test]
fn nothing_of_the_outside_is_there() {
    for script in ["get_env_var!(\"HOME\")", "get_hostname!()", "http_request!(\"http://a\")", "dns_lookup!(\"a\")"] {
        assert!(matches!(failure(script), Error::Syntax { .. }), "{script}");
    }
}

#[test]
fn values_stay_shallow_and_small() {
    let nest = format!("x = 1\nfor_each([{}]) -> |_, _n| {{ x = [x] }}\nx", "1, ".repeat(400));
    assert_eq!(failure(&nest), Error::TooMuch);
    let nest = format!("{}1", "x = [y]\ny = [x]\n".repeat(200).replacen("x = [y]", "x = [1]", 1));
    assert_eq!(failure(&nest), Error::TooMuch);
    assert!(matches!(failure(&format!(".{} = 1", "a.".repeat(5000) + "a")), Error::Syntax { .. }));
    let deeper = format!("{}.", format!(".x = .\n.{} = .\n", "a.".repeat(50) + "a").repeat(10));
    assert_eq!(failure(&deeper), Error::TooMuch);
    let grow = "x = \"aaaaaaaa\"\nx = replace(x, \"a\", x)\nx = replace(x, \"a\", x)\nx = replace(x, \"a\", x)\nx = replace(x, \"a\", x)\nx = replace(x, \"a\", x)";
    assert_eq!(failure(grow), Error::TooMuch);
    assert_eq!(failure(&grow.replace("\"a\"", "r'a'").replace("= r'a'", "= \"a\"")), Error::TooMuch);
    let many = format!("x = [{}]\nfor_each(x) -> |_, _a| {{ for_each(x) -> |_, _b| {{ 1 }} }}", "1, ".repeat(500));
    assert_eq!(failure(&many), Error::TooMuch);
}

#[test]
fn looking_for_patterns_ends_soon() {
    let text = "a".repeat(200_000);
    for script in [
        "for_each(array!(.list)) -> |_, _n| { match(.text, r'(a?){60}b') }",
        "for_each(array!(.list)) -> |_, _n| { parse_regex_all(.text, r'.*[^a]|a') }",
        "replace(.text, r'.*[^a]|a', \"b\")",
        r"match(.text, r'a.{100}b')",
    ] {
        let begun = std::time::Instant::now();
        let data = json!({"text": text, "list": vec![0; 1000]});
        let _ = run(script, data);
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{script} took {:?}", begun.elapsed());
    }
}
