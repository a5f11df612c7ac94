//! Conditions (flows.md 6).

use duologue_sandbox::{Class, Done, Kind, NoCalls, Pool, Run, ScriptError};
use serde_json::{Value, json};

use super::{event, object, pool};

async fn evaluate(pool: &Pool, source: &str) -> Result<Done, ScriptError> {
    let mut run = Run::new(Kind::Condition, "bot", "flows/main.flow.json", source);
    run.variables = object(json!({"event": event()}));
    pool.run(run, &mut NoCalls).await
}

async fn holds(pool: &Pool, source: &str) -> Value {
    match evaluate(pool, source).await {
        Ok(done) => done.result,
        Err(error) => panic!("{source}: {error}"),
    }
}

#[tokio::test]
async fn truthiness_decides() {
    let pool = pool();
    for truthy in [
        "true",
        "1",
        "'false'",
        "[]",
        "{}",
        "event.preview === 'Hello'",
        "temp.n == '1'",
        "/^h/i.test(event.preview)",
        "event.createdOn instanceof Date",
        "user.name.startsWith('A')",
        "event.nlu?.intent?.name ?? false",
        "(() => true)()",
        "Promise.resolve(1)",
        "(async () => temp.n)()",
        "\n  temp.n === 1;",
        "Buffer.from('a').length",
        "typeof bp === 'undefined'",
    ] {
        assert_eq!(holds(&pool, truthy).await, json!(true), "{truthy}");
    }
    for falsy in [
        "",
        "''",
        "0",
        "null",
        "undefined",
        "NaN",
        "false",
        "temp.unknown",
        "Promise.resolve(0)",
        "typeof state !== 'undefined'",
    ] {
        assert_eq!(holds(&pool, falsy).await, json!(false), "{falsy}");
    }
}

#[tokio::test]
async fn errors_have_their_class() {
    let pool = pool();
    for (source, class) in [
        ("temp.unknown.member", Class::TypeError),
        ("undefinedVariable === 1", Class::ReferenceError),
        ("this is not js", Class::SyntaxError),
        ("state.temp", Class::ReferenceError),
        ("require('fs')", Class::Other("Error".into())),
        ("Promise.reject(new TypeError('x'))", Class::TypeError),
        ("new Promise(() => {})", Class::Unfinished),
        ("(() => { throw 'text' })()", Class::Thrown),
    ] {
        assert_eq!(evaluate(&pool, source).await.unwrap_err().class, class, "{source}");
    }
}

#[tokio::test]
async fn assignments_reach_the_state() {
    let pool = pool();
    let done = evaluate(&pool, "temp.n = 5").await.unwrap();
    assert_eq!((&done.result, &done.event().unwrap()["state"]["temp"]["n"]), (&json!(true), &json!(5)));
    let done = evaluate(&pool, "session.lastMessages.push(1)").await.unwrap();
    assert_eq!(done.event().unwrap()["state"]["session"]["lastMessages"], json!([1]));
    assert_eq!(evaluate(&pool, "event.preview.toLowerCase() === 'hello'").await.unwrap().variables, None);
}

#[tokio::test]
async fn promises_are_told() {
    let pool = pool();
    assert!(evaluate(&pool, "Promise.resolve(true)").await.unwrap().promise);
    assert!(!evaluate(&pool, "true").await.unwrap().promise);
}

#[tokio::test]
async fn nothing_stays_behind() {
    let pool = pool();
    for poison in [
        "(() => { Object.prototype.polluted = 1 })()",
        "(Array.prototype.includes = () => true)",
        "(globalThis.left = 1)",
        "(() => { leftTwo = 1 })()",
        "(this.leftThree = 1)",
        "(JSON.parse = null, Object.getPrototypeOf(async () => {}).x = 1)",
        "(Object.getPrototypeOf(function* () {}).polluted = 1)",
        "(console.x = 1, Buffer.x = 1, require.x = 1)",
        "Object.setPrototypeOf(Object.prototype, { polluted: 1 })",
    ] {
        let _ = evaluate(&pool, poison).await;
    }
    let source = "({}).polluted === undefined && ![1].includes(2) && typeof left === 'undefined' && typeof leftTwo === 'undefined'
        && typeof leftThree === 'undefined' && typeof JSON.parse === 'function' && (async () => {}).x === undefined
        && (function* () {}).polluted === undefined && console.x === undefined && Buffer.x === undefined && require.x === undefined";
    assert_eq!(holds(&pool, source).await, json!(true));
}

#[tokio::test]
async fn owners_share_nothing_and_many_owners_fit() {
    let pool = pool();
    for owner in 0..100 {
        let mut run = Run::new(Kind::Condition, format!("bot{owner}"), "c", "event.preview.length === 5");
        run.variables = object(json!({"event": event()}));
        assert_eq!(pool.run(run, &mut NoCalls).await.unwrap().result, json!(true));
    }
}
