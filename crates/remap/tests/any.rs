//! Whatever a script is, and whatever it runs on: it ends, and nothing panics.

#![allow(clippy::unwrap_used)]

use duologue_remap::run;
use proptest::prelude::*;
use serde_json::{Value, json};

const PIECES: &[&str] = &[
    ".",
    ".a",
    ".b.c",
    "x",
    "y",
    " = ",
    " ?? ",
    " || ",
    " && ",
    " == ",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " | ",
    "!",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    ";",
    "\n",
    " ",
    "-",
    "->",
    "|k, v|",
    "|v|",
    "\"a\"",
    "\"{{ x }}\"",
    "s'b'",
    "r'a+'",
    "r'(?P<n>\\w)'",
    "0",
    "-1",
    "9223372036854775807",
    "1.5",
    "true",
    "null",
    "if ",
    " else ",
    "abort",
    "return ",
    "ä",
    "\\",
    "'",
    "\"",
    "#",
    "for_each(",
    "map_values(",
    "filter(",
    "map_keys(",
    "now()",
    "\"%Y-%m\"",
    "parse_timestamp(",
    "format_timestamp(",
    "from_unix_timestamp(",
    "parse_regex(",
    "replace(",
    "split(",
    "slice(",
    "parse_key_value(",
    "parse_url(",
    "truncate(",
    "find(",
    "flatten(",
    "round(",
    "parse_int(",
    "del(",
    "exists(",
    "encode_json(",
    "decode_base64(",
    "hmac(",
    "get(",
    "merge(",
    "to_string(",
];

fn script() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat())
}

/// A call with arguments of any kind.
fn call() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "to_string",
        "to_int",
        "to_float",
        "to_bool",
        "is_empty",
        "split",
        "replace",
        "find",
        "match",
        "parse_regex",
        "parse_regex_all",
        "truncate",
        "contains_all",
        "join",
        "length",
        "get",
        "keys",
        "values",
        "merge",
        "push",
        "append",
        "unique",
        "flatten",
        "compact",
        "slice",
        "floor",
        "ceil",
        "round",
        "abs",
        "mod",
        "parse_int",
        "parse_float",
        "parse_timestamp",
        "format_timestamp",
        "to_unix_timestamp",
        "from_unix_timestamp",
        "hmac",
        "sha1",
        "sha2",
        "md5",
        "encode_base16",
        "decode_base16",
        "encode_base64",
        "decode_base64",
        "encode_percent",
        "decode_percent",
        "parse_json",
        "encode_json",
        "parse_query_string",
        "parse_url",
        "parse_key_value",
    ];
    const VALUES: &[&str] = &[
        "0",
        "-1",
        "1",
        "3",
        "9223372036854775807",
        "-9223372036854775807",
        "1.5",
        "-0.1",
        "null",
        "true",
        "\"\"",
        "\"äöü\"",
        "\"a=1 b\"",
        "\"%Y %.3f %-d %q %\"",
        "\"2024-01-01\"",
        "\"0x\"",
        "\"=\"",
        "[]",
        "[1, \"a\"]",
        "[[], {}]",
        "{}",
        "{\"a\": {\"b\": null}}",
        "r'a*'",
        "r'(?P<n>.)?'",
        "now()",
        "decode_base64!(\"/w==\")",
        ".text",
        ".",
        "\"milliseconds\"",
        "\"https://[::1]:1/?a=%ff\"",
    ];
    let values = proptest::collection::vec(proptest::sample::select(VALUES), 0..5);
    (proptest::sample::select(NAMES), values).prop_map(|(name, values)| format!("{name}!({})", values.join(", ")))
}

fn ends(script: &str, text: &str) {
    let data =
        json!({"a": 1, "b": {"c": [text]}, "text": text, "\u{0}pattern": 9, "forged": {"\u{0}instant": i64::MIN}});
    if let Ok((result, data)) = run(script, data) {
        let _: Value = serde_json::from_str(&result.to_string()).unwrap();
        let _ = data.to_string();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_pieces(script in script(), text in ".{0,20}") {
        ends(&script, &text);
    }

    #[test]
    fn of_anything(script in "\\PC{0,60}", text in ".{0,20}") {
        ends(&script, &text);
    }

    #[test]
    fn of_calls(script in call(), text in ".{0,20}") {
        ends(&script, &text);
    }

    #[test]
    fn of_patterns_and_formats(pattern in "[a-z(){}\\[\\]*+?.\\\\|^$]{0,12}", format in "[%A-Za-z .:0-9-]{0,12}", text in ".{0,20}") {
        ends(&format!("parse_regex_all(.text, r'{pattern}')"), &text);
        ends(&format!("replace(.text, r'{pattern}', \"$1${{a}}\")"), &text);
        ends(&format!("format_timestamp(from_unix_timestamp!(1), \"{format}\")"), &text);
        ends(&format!("parse_timestamp(.text, \"{format}\")"), &text);
        ends(&format!("format_timestamp(.forged, \"{format}\")"), &text);
    }
}
