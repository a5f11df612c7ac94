//! Our equivalents of packages answer as the packages do. The expected answers were written by the
//! packages themselves (`tests/packages/expect.js`).

use serde_json::{Value, json};

use super::{action, done, pool};

#[tokio::test]
async fn equivalents_answer_as_the_packages_do() {
    let cases: Vec<(String, Value)> = serde_json::from_str(include_str!("../packages/expected.json")).unwrap();
    let names = "_=lodash moment ms crypto path url querystring util events assert uuid";
    let requires = names.split(' ').map(|name| name.split_once('=').unwrap_or((name, name)));
    let head: String = requires.map(|(name, package)| format!("const {name} = require('{package}');")).collect();
    let pool = pool();
    let mut wrong = Vec::new();
    for part in cases.chunks(40) {
        let list: String = part.iter().map(|(source, _)| format!("() => ({source}),\n")).collect();
        let body = "all.map(f => { try { const v = f(); return v === undefined ? null : v } catch (e) { return 'THROWN ' + e + e.stack } })";
        let run = action(&format!("{head} const all = [{list}]; return {body}"));
        let got = done(&pool, run).await.result;
        for ((source, expected), got) in part.iter().zip(got.as_array().unwrap()) {
            // Numbers compare by value: 1 and 1.0 are one number in JSON.
            if json!(got).to_string().replace(".0,", ",") != json!(expected).to_string().replace(".0,", ",") {
                wrong.push(format!("{source}\n   expected {expected}\n   got      {got}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
