//! What hostile or broken scripts try: each is stopped in its budget, and the pool answers the next run.

use std::time::{Duration, Instant};

use duologue_sandbox::{Class, Kind, NoCalls, Pool, Run, ScriptError};
use serde_json::json;

use super::{action, event, host, object, pool, returns};

const COMPUTE: Duration = Duration::from_millis(200);
/// A run's total time, the parent's grace, and room for a busy machine. Alone, a run ends within 500 ms.
const LATEST: Duration = Duration::from_secs(4);

fn limited(mut run: Run) -> Run {
    run.limits.compute = COMPUTE;
    run.limits.total = Duration::from_secs(2);
    run.limits.memory = 32 << 20;
    run
}

async fn stopped(pool: &Pool, run: Run) -> ScriptError {
    let source = run.source.clone();
    let began = Instant::now();
    let error = pool.run(limited(run), &mut NoCalls).await.expect_err(&source);
    assert!(began.elapsed() < LATEST, "{source}: {:?} {error}", began.elapsed());
    assert_eq!(returns(pool, "return 'next'").await, json!("next"), "after {source}");
    error
}

async fn actions_end_as(class: &[Class], sources: &[&str]) {
    let pool = pool();
    for source in sources {
        let error = stopped(&pool, action(source)).await;
        assert!(class.contains(&error.class), "{source}: {error}");
    }
}

#[tokio::test]
async fn loops_end() {
    actions_end_as(
        &[Class::Timeout],
        &[
            "for (;;) {}",
            "for (;;) { try { for (;;) {} } catch (e) {} finally { continue } }",
            "const run = async () => { for (;;) { try { await null } catch (e) {} } }; return run()",
            "const flood = () => { Promise.resolve().then(flood); Promise.resolve().then(flood) }; flood(); return new Promise(() => {})",
            "setInterval(() => { for (;;) {} }, 1); return new Promise(() => {})",
            "return { then(resolve) { for (;;) {} } }",
            "function* g() { for (;;) yield 1 } for (const x of g()) {}",
            "new Proxy({}, { get() { for (;;) {} } }).x",
            "Object.defineProperty(temp, 'x', { enumerable: true, get() { for (;;) {} } })",
            "temp.x = { toJSON() { for (;;) {} } }",
            "throw { toJSON() { for (;;) {} } }",
            "const e = new Error(); Object.defineProperty(e, 'message', { get() { for (;;) {} } }); throw e",
            "return [1, 2, 3].sort(() => { for (;;) {} })",
            "eval('for (;;) {}')",
            "new Function('for (;;) {}')()",
        ],
    )
    .await;
}

/// Each promise waits for the next. Whether time or memory runs out first depends on the machine; without
/// memory for another promise, the engine leaves the last one waiting.
#[tokio::test]
async fn an_endless_chain_of_promises_ends() {
    let source = "const again = () => Promise.resolve().then(again); return again()";
    actions_end_as(&[Class::Timeout, Class::Memory, Class::Unfinished], &[source]).await;
}

#[tokio::test]
async fn an_endless_interval_ends_with_the_total_time() {
    let pool = pool();
    let mut run = action("setInterval(() => {}, 5); return new Promise(() => {})");
    run.limits.total = Duration::from_millis(300);
    let error = pool.run(run, &mut NoCalls).await.unwrap_err();
    assert_eq!(error.class, Class::Timeout);
    assert!(error.message.contains("in all"), "{error}");
}

#[tokio::test]
async fn native_work_that_never_looks_up_ends_with_its_process() {
    let haystack =
        "const a = 'ab'.repeat(4e6), b = 'ab'.repeat(2e6) + 'c'; for (let i = 0; i < 1e3; i++) a.indexOf(b); return 1";
    actions_end_as(
        &[Class::Timeout, Class::Memory],
        &[
            haystack,
            "return /^(a+)+$/.test('a'.repeat(40) + 'b')",
            "return /(x+x+)+y/.exec('x'.repeat(5000))",
            "return new Array(4294967295).join('x').length",
            "return new Array(2 ** 31).indexOf(1, 0)",
            "return Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)",
        ],
    )
    .await;
}

#[tokio::test]
async fn memory_bombs_end() {
    actions_end_as(
        &[Class::Memory, Class::RangeError, Class::Timeout, Class::Other("InternalError".into())],
        &[
            "const all = []; for (;;) all.push(new Array(1000).fill('x'))",
            "let s = 'x'; for (;;) s += s",
            "const all = []; for (;;) { try { for (;;) all.push(new Uint8Array(1e6)) } catch (e) {} }",
            "return new ArrayBuffer(4e9)",
            "return 2n ** 100000000n",
            "let n = 3n; for (;;) n = n * n",
            "return 'x'.padEnd(1e9)",
            "const m = new Map(); for (let i = 0; ; i++) m.set(i, { i })",
            "temp.big = 'x'.repeat(20e6); temp.more = temp.big + temp.big",
        ],
    )
    .await;
}

#[tokio::test]
async fn recursion_ends() {
    actions_end_as(
        &[Class::RangeError, Class::Timeout, Class::Memory, Class::SyntaxError, Class::Other("InternalError".into())],
        &[
            "const f = () => f() + 1; f()",
            "const f = () => { try { f() } catch (e) { f() } }; f()",
            "const o = {}; o.toString = () => `${o}`; return `${o}`",
            "JSON.parse('['.repeat(1e6))",
            "new RegExp('('.repeat(1e5) + ')'.repeat(1e5))",
            "eval('('.repeat(1e6))",
            "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return JSON.stringify(a)",
            "const p = () => new Proxy({}, { get: (t, k) => p()[k] }); return p().x",
        ],
    )
    .await;
}

#[tokio::test]
async fn walks_to_the_host_lead_nowhere() {
    let pool = pool();
    for source in [
        "return this.constructor.constructor('return process')()",
        "return (() => {}).constructor('return process')()",
        "return event.constructor.constructor('return process')()",
        "return require.constructor('return native')()",
        "return bp.constructor.constructor('return native')()",
        "return new Function('return native')()",
        "return eval('native')",
        "return globalThis.native.send('x', '[]')",
        "return process.mainModule.require('fs')",
        "return process.binding('fs')",
        "return require.cache['fs'].exports",
        "return arguments.callee.caller.arguments[0].send('x', '[]')",
        "return console.log.caller.x",
        "return require('module')",
        "return import('fs')",
        "return std.open('/etc/passwd', 'r')",
        "return os.exec(['id'])",
        "return new Worker('x')",
        "return new WebSocket('ws://127.0.0.1')",
        "return fetch('http://127.0.0.1')",
        "return new XMLHttpRequest()",
        "return Deno.readTextFileSync('/etc/passwd')",
    ] {
        let error = stopped(&pool, action(source)).await;
        assert!(!matches!(error.class, Class::Killed | Class::Timeout), "{source}: {error}");
    }
    let source = "return [typeof process.env.PATH, typeof process.env.HOME, Object.keys(globalThis).join(), typeof gc, typeof print, typeof scriptArgs]";
    assert_eq!(
        returns(&pool, source).await,
        json!(["undefined", "undefined", "performance", "undefined", "undefined", "undefined"])
    );
    let source = "throw new Error.prototype.constructor(Error.prepareStackTrace || 'none')";
    assert_eq!(stopped(&pool, action(source)).await.message, "none");
}

#[tokio::test]
async fn forging_the_environment_hurts_only_the_forger() {
    let pool = pool();
    for source in [
        "JSON.parse = JSON.stringify = () => { throw 'no' }; temp.a = 1",
        "Promise.resolve = Promise.prototype.then = () => {}; return (async () => 1)()",
        "Object.keys = () => ['__proto__']; Array.prototype.push = () => { throw 1 }; require('lodash').map([1], x => x)",
        "Map.prototype.get = () => undefined; Map.prototype.set = () => { throw 1 }; return require('util').inspect({})",
        "String.prototype.toWellFormed = () => '\\ud800'; console.log('x')",
        "Error.prototype.toString = () => { throw 1 }; Object.defineProperty(Error.prototype, 'name', { get() { throw 1 } }); null.x",
        "event.state = null; event.flags = 7; event = 1",
        "event.state = { get temp() { throw new Error('getter') } }",
        "Object.freeze(event); event.setFlag = null; return bp.IO.WellKnownFlags",
        "return new Proxy({}, { ownKeys() { throw 1 }, get() { throw 2 } })",
        "require = null; throw null",
        "throw new Proxy(new Error('x'), { get() { throw 1 } })",
        "Object.prototype.then = function (resolve) { resolve(1) }; return {}",
    ] {
        let _ = pool.run(limited(action(source)), &mut NoCalls).await;
        assert_eq!(returns(&pool, "return [1].map(x => x + 1)").await, json!([2]), "after {source}");
    }
}

#[tokio::test]
async fn floods_are_bounded() {
    let pool = pool();
    let ended =
        pool.run(limited(action("for (let i = 0; i < 100000; i++) console.log('x'.repeat(100))")), &mut NoCalls).await;
    let logs = match ended {
        Ok(done) => done.logs,
        Err(error) => error.logs,
    };
    assert!(logs.len() <= 1001 && logs.last().unwrap().text.contains("dropped"), "{}", logs.len());
    let mut run = action("temp.big = 'x'.repeat(8e6)");
    run.limits.memory = 256 << 20;
    assert_eq!(pool.run(run, &mut NoCalls).await.unwrap_err().class, Class::Limit);
    let error = stopped(
        &pool,
        action("const run = async () => { for (;;) await bp.kvs.forBot('b').get('x').catch(() => {}) }; return run()"),
    )
    .await;
    assert!(matches!(error.class, Class::Limit | Class::Timeout), "{error}");

    let mut calls = host(|_, _| Ok(json!(null)));
    let mut run =
        limited(action("for (let i = 0; i < 500; i++) bp.kvs.forBot('b').get('x').catch(() => {}); return 1"));
    run.limits.calls = 200;
    pool.run(run, &mut calls).await.unwrap();
    assert_eq!(calls.calls.len(), 64);

    let mut calls = host(|_, _| Ok(json!(null)));
    let mut run = action(
        "const run = async () => { for (;;) { try { await bp.kvs.forBot('b').get('x') } catch (e) {} } }; return run()",
    );
    run.limits.calls = 200;
    let error = pool.run(run, &mut calls).await.unwrap_err();
    assert_eq!((error.class, calls.calls.len()), (Class::Limit, 200));
}

#[tokio::test]
async fn conditions_are_stopped_too() {
    let pool = pool();
    for source in [
        "(() => { for (;;) {} })()",
        "(() => { for (;;) { try { for (;;) {} } catch (e) {} } })()",
        "(() => { const again = () => Promise.resolve().then(again); return again() })()",
        "(() => { const a = []; for (;;) a.push(new Array(1000).fill(1)) })()",
        "(() => { const f = () => f() + 1; return f() })()",
        "/^(a+)+$/.test('a'.repeat(40) + 'b')",
        "'ab'.repeat(4e6).split('').map((_, i, all) => all.indexOf('c')).length",
        "(temp.x = { toJSON() { for (;;) {} } })",
        "new Promise(() => {})",
        "this.constructor.constructor('return process')()",
        "JSON.parse('['.repeat(1e6))",
    ] {
        let mut run = Run::new(Kind::Condition, "bot", "c", source);
        run.variables = object(json!({"event": event()}));
        stopped(&pool, run).await;
        let mut next = Run::new(Kind::Condition, "bot", "c", "event.preview === 'Hello'");
        next.variables = object(json!({"event": event()}));
        assert_eq!(pool.run(next, &mut NoCalls).await.unwrap().result, json!(true), "after {source}");
    }
}

#[tokio::test]
async fn waiting_for_the_host_is_not_computing_but_is_bounded() {
    let pool = pool();
    struct Slow(Duration);
    impl duologue_sandbox::Calls for Slow {
        async fn call(&mut self, _: &str, _: Vec<serde_json::Value>) -> Result<serde_json::Value, String> {
            tokio::time::sleep(self.0).await;
            Ok(json!("late"))
        }
    }
    let source = "return bp.kvs.forBot('b').get('x')";
    let done = pool.run(limited(action(source)), &mut Slow(COMPUTE * 4)).await.unwrap();
    assert_eq!(done.result, json!("late"));
    let mut run = limited(action(source));
    run.limits.total = Duration::from_millis(300);
    let began = Instant::now();
    let error = pool.run(run, &mut Slow(Duration::from_secs(60))).await.unwrap_err();
    assert_eq!(error.class, Class::Timeout);
    assert!(began.elapsed() < LATEST);
    // Not while something else computes, either.
    let mut run = limited(action("bp.kvs.forBot('b').get('x'); for (;;) {}"));
    run.limits.total = Duration::from_secs(30);
    assert_eq!(pool.run(run, &mut Slow(Duration::from_secs(60))).await.unwrap_err().class, Class::Timeout);
    assert_eq!(returns(&pool, "return 1").await, json!(1));
}
