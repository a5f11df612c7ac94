//! Actions and hooks: scope, effects, errors (actions-skills.md 1, flows.md 13.1).

use duologue_sandbox::{Class, Kind, Level, Run};
use serde_json::json;

use super::{action, done, event, failed, files, object, pool, returns};

#[tokio::test]
async fn changes_of_state_are_kept_and_rebinding_is_not() {
    let pool = pool();
    let source = "temp.a = 1; user.name = 'B'; delete temp.n; temp.gone = undefined; session.list = [1, null];
                  bot.x = true; session = { lost: true }; workflow.w = {}; event.payload.seen = args.value";
    let done = done(&pool, action(source)).await;
    let state = &done.event().unwrap()["state"];
    assert_eq!(state["temp"], json!({"a": 1}));
    assert_eq!(state["user"], json!({"name": "B"}));
    assert_eq!(state["session"], json!({"lastMessages": [], "list": [1, null]}));
    assert_eq!((&state["bot"], &state["workflow"]), (&json!({"x": true}), &json!({"w": {}})));
    assert_eq!(done.event().unwrap()["payload"]["seen"], "given");
}

#[tokio::test]
async fn assigning_a_member_of_the_state_replaces_it() {
    let done = done(&pool(), action("event.state.temp = { fresh: 1 }; temp.lost = true")).await;
    assert_eq!(done.event().unwrap()["state"]["temp"], json!({"fresh": 1}));
}

#[tokio::test]
async fn a_script_that_changes_nothing_says_so() {
    let done = done(&pool(), action("if (event.createdOn.getTime() !== 1767323045678) throw 'no date'")).await;
    assert_eq!(done.variables, None);
}

#[tokio::test]
async fn promises_are_awaited_and_results_returned() {
    let pool = pool();
    let run = action(
        "const run = async () => { await null; temp.late = await Promise.resolve(7); return { ok: true } }; return run()",
    );
    let done = done(&pool, run).await;
    assert_eq!((done.result.clone(), done.promise), (json!({"ok": true}), true));
    assert_eq!(done.event().unwrap()["state"]["temp"]["late"], 7);
    assert_eq!(returns(&pool, "return 5").await, json!(5));
    assert_eq!(returns(&pool, "").await, json!(null));
}

#[tokio::test]
async fn scope_is_that_of_an_action() {
    let pool = pool();
    let source = "return [bp, event, user, session, temp, bot, workflow, args, printObject, process, require, console].map(x => typeof x).join()";
    let expected = "object,object,object,object,object,object,object,object,function,object,function,object";
    assert_eq!(returns(&pool, source).await, json!(expected));
    assert_eq!(
        returns(&pool, "const event = 1; let user = 2; var temp = 3; return event + user + temp").await,
        json!(6)
    );
    assert_eq!(returns(&pool, "undeclared = 4; return undeclared").await, json!(4));
    assert_eq!(returns(&pool, "return await => await").await, json!(null));
}

#[tokio::test]
async fn process_shows_what_the_caller_gives_and_nothing_else() {
    let pool = pool();
    let mut run = action("return process");
    run.process = json!({"HOST": "h", "env": {"EXPOSED_A": "1"}});
    assert_eq!(done(&pool, run).await.result, json!({"HOST": "h", "env": {"EXPOSED_A": "1"}}));
    assert_eq!(returns(&pool, "return process.env").await, json!({}));
}

#[tokio::test]
async fn errors_name_class_message_and_place() {
    let pool = pool();
    let error = failed(&pool, action("const a = 1\n  null.x")).await;
    assert_eq!((&error.class, error.line), (&Class::TypeError, Some(2)));
    assert_eq!(error.file.as_deref(), Some("actions/test.js"));
    let error = failed(&pool, action("missing()")).await;
    assert_eq!((&error.class, error.line, error.column), (&Class::ReferenceError, Some(1), Some(1)));
    let error = failed(&pool, action("const = 1")).await;
    assert_eq!((&error.class, error.line), (&Class::SyntaxError, Some(1)));
    assert!(error.column.is_some_and(|column| column < 10), "{error:?}");
    let error = failed(&pool, action("await 1")).await;
    assert_eq!(error.class, Class::SyntaxError);
    let error = failed(
        &pool,
        action("class Own extends Error { constructor(m) { super(m); this.name = 'Own' } }\nthrow new Own('mine')"),
    )
    .await;
    assert_eq!((&error.class, &*error.message), (&Class::Other("Own".into()), "mine"));
    let error = failed(&pool, action("throw 'a text'")).await;
    assert_eq!((&error.class, &*error.message), (&Class::Thrown, "a text"));
    let error = failed(&pool, action("throw { code: 7 }")).await;
    assert_eq!((&error.class, &*error.message), (&Class::Thrown, "{\"code\":7}"));
    let error = failed(&pool, action("return Promise.reject(new RangeError('far'))")).await;
    assert_eq!((&error.class, &*error.message), (&Class::RangeError, "far"));
    let error = failed(&pool, action("return Promise.reject()")).await;
    assert_eq!(error.class, Class::Thrown);
}

#[tokio::test]
async fn what_happened_before_an_error_is_kept() {
    let error = failed(&pool(), action("console.warn('careful'); temp.a = 1; throw new Error('x')")).await;
    assert_eq!(error.variables.unwrap()["event"]["state"]["temp"], json!({"n": 1, "a": 1}));
    assert_eq!((error.logs[0].level, &*error.logs[0].text), (Level::Warn, "careful"));
}

#[tokio::test]
async fn timers_work_with_promises() {
    let pool = pool();
    let source = "const order = []
      const wait = ms => new Promise(resolve => setTimeout(resolve, ms))
      setTimeout(() => order.push('cancelled'), 5).valueOf
      const gone = setTimeout(() => order.push('gone'), 1); clearTimeout(gone)
      setImmediate((...args) => order.push(args.join()), 'soon', 1)
      let ticks = 0
      const every = setInterval(() => { if (++ticks === 3) clearInterval(every) }, 1)
      const run = async () => { await wait(30); order.push('late'); return [order, ticks] }
      return run()";
    assert_eq!(returns(&pool, source).await, json!([["soon,1", "cancelled", "late"], 3]));
}

#[tokio::test]
async fn work_left_to_timers_is_done_unless_a_promise_was_returned() {
    let pool = pool();
    let run = action(
        "setTimeout(() => { temp.late = 1; setTimeout(() => { temp.later = 2 }, 10) }, 20); setInterval(() => {}, 5)",
    );
    let left = done(&pool, run).await;
    assert_eq!(left.event().unwrap()["state"]["temp"], json!({"n": 1, "late": 1, "later": 2}));
    let race = "const timeout = new Promise((_, reject) => setTimeout(reject, 3600000)); return Promise.race([Promise.resolve(1), timeout])";
    assert_eq!(returns(&pool, race).await, json!(1));
    assert_eq!(returns(&pool, "setTimeout(() => {}, 3600000); return 1").await, json!(1));
    let logged = done(&pool, action("setTimeout(() => { throw new Error('late') }, 1); temp.x = 1")).await;
    assert!(logged.logs[0].text.contains("late"), "{:?}", logged.logs);
}

#[tokio::test]
async fn odd_texts_are_errors_of_the_script() {
    let pool = pool();
    for source in [
        "\0",
        "})(",
        "}).call(this)}); throw 1; (function(){(function(){",
        "/*",
        "`",
        "'",
        "\u{2028}",
        "#!x\nreturn 1",
        "<!-- x",
        "-->",
        "\u{feff}return 1",
        "return\n1",
        "return /* */ 1 // x",
        "\\",
        "import x from 'y'",
        "export default 1",
        "yield 1",
        "with (event) { id }",
        "'use strict'; undeclared = 1",
        "return {",
        "return }",
        "break",
        "super()",
        "new.target",
        "arguments",
        "let let = 1",
        "class { }",
        "async () => { await 1 }",
        "return this",
        "}).call(this)}), 5, (function(){return (function(){",
        "}).call(this)}); 5 //",
        "return \u{1f600}",
        "return '\u{1f600}'",
    ] {
        for kind in [Kind::Action, Kind::Hook, Kind::Condition, Kind::Module { function: None, args: vec![] }] {
            let mut run = Run::new(kind, "bot", "odd.js", source);
            run.variables = object(json!({"event": event()}));
            if let Err(error) = pool.run(run, &mut duologue_sandbox::NoCalls).await {
                assert!(!matches!(error.class, Class::Killed | Class::Timeout | Class::Memory), "{source:?}: {error}");
            }
        }
    }
    assert_eq!(returns(&pool, "return 1").await, json!(1));
}

#[tokio::test]
async fn a_promise_that_nothing_resolves_ends_at_once() {
    let pool = pool();
    let before = std::time::Instant::now();
    let error = failed(&pool, action("return new Promise(() => {})")).await;
    assert_eq!(error.class, Class::Unfinished);
    assert!(before.elapsed().as_millis() < 1000);
}

#[tokio::test]
async fn rejections_that_nobody_handles_are_logged() {
    let source = "const never = async () => { throw new TypeError('forgotten') }\nnever()\n\
                  Promise.reject('plain'); Promise.reject(new Error('late')).catch(() => 0)\n\
                  const kept = Promise.reject(new Error('awaited')); setTimeout(() => kept.catch(() => 0), 1)";
    let logs = done(&pool(), action(source)).await.logs;
    let texts: Vec<_> = logs.iter().filter(|log| log.level == Level::Error).map(|log| &*log.text).collect();
    assert_eq!(texts.len(), 2, "{logs:?}");
    assert!(texts[0].contains("TypeError: forgotten") && texts[0].contains(":1)"), "{texts:?}");
    assert!(texts[1].contains("plain"), "{texts:?}");
    // One that the script returns is its failure, and said once.
    let error = failed(&pool(), action("return Promise.reject(new Error('returned'))")).await;
    assert!(error.logs.is_empty(), "{:?}", error.logs);
}

#[tokio::test]
async fn logs_come_in_order_with_their_levels() {
    let source = "console.log('a', { b: [1] }, 2); console.error(new Error('bad').message); printObject({ x: 1 });
                  bp.logger.warn('w'); bp.logger.forBot('bot').info('i'); console.debug('%s is %d', 'x', 3)";
    let done = done(&pool(), action(source)).await;
    let logs: Vec<_> = done.logs.iter().map(|log| (log.level, &*log.text)).collect();
    let expected = [
        (Level::Info, "a { b: [ 1 ] } 2"),
        (Level::Error, "bad"),
        (Level::Info, "{ x: 1 }"),
        (Level::Warn, "w"),
        (Level::Info, "[bot] i"),
        (Level::Debug, "x is 3"),
    ];
    assert_eq!(logs, expected);
}

#[tokio::test]
async fn flags_go_both_ways() {
    let pool = pool();
    let done1 = done(&pool, action("event.setFlag(bp.IO.WellKnownFlags.SKIP_DIALOG_ENGINE, true)")).await;
    assert_eq!(done1.flags, ["SKIP_DIALOG_ENGINE"]);
    let mut run = action(
        "return [event.hasFlag(bp.IO.WellKnownFlags.SKIP_QNA_PROCESSING), event.hasFlag(bp.IO.WellKnownFlags.SKIP_NATIVE_NLU)]",
    );
    run.flags = vec!["SKIP_QNA_PROCESSING".into()];
    let done2 = done(&pool, run).await;
    assert_eq!((done2.result, done2.flags), (json!([true, false]), vec!["SKIP_QNA_PROCESSING".to_owned()]));
}

#[tokio::test]
async fn hooks_have_their_own_variables() {
    let pool = pool();
    let mut run = Run::new(
        Kind::Hook,
        "bot",
        "hooks/before_suggestions_election/x.js",
        "suggestions.push({ confidence: 1 }); event.suggestions[0].seen = sessionId",
    );
    run.variables = object(json!({"event": event(), "suggestions": [], "sessionId": "s1"}));
    let done1 = done(&pool, run).await;
    let variables = done1.variables.unwrap();
    assert_eq!(variables["suggestions"], json!([{"confidence": 1, "seen": "s1"}]));
    assert_eq!(variables["event"]["suggestions"], variables["suggestions"]);

    let mut run =
        Run::new(Kind::Hook, "bot", "hooks/after_bot_mount/x.js", "return [botId, typeof event, typeof user]");
    run.variables = object(json!({"botId": "b"}));
    assert_eq!(done(&pool, run).await.result, json!(["b", "undefined", "undefined"]));

    let mut run =
        Run::new(Kind::Hook, "bot", "hooks/on_stage_request/x.js", "hookResult.actions = [bot.id]; pipeline.push(1)");
    run.variables = object(json!({"bot": {"id": "b"}, "users": [], "pipeline": [], "hookResult": {}}));
    let variables = done(&pool, run).await.variables.unwrap();
    assert_eq!((&variables["hookResult"], &variables["pipeline"]), (&json!({"actions": ["b"]}), &json!([1])));
}

#[tokio::test]
async fn state_that_is_not_json_is_an_error_that_names_it() {
    let pool = pool();
    let error = failed(&pool, action("temp.self = temp")).await;
    assert!(error.message.contains("event.state.temp.self"), "{error}");
    let error = failed(&pool, action("temp.big = { n: 1n }")).await;
    assert!(error.message.contains("event.state.temp.big.n is a BigInt"), "{error}");
    let ok = done(&pool, action("temp.half = '\\ud800'; temp.f = () => 1; temp.nan = NaN; temp.d = new Date(0)")).await;
    let temp = &ok.event().unwrap()["state"]["temp"];
    assert_eq!(temp, &json!({"n": 1, "half": "\u{fffd}", "nan": null, "d": "1970-01-01T00:00:00.000Z"}));
}

#[tokio::test]
async fn deep_nesting_is_an_error_and_not_a_crash() {
    let pool = pool();
    let error = failed(&pool, action("let x = temp; for (let i = 0; i < 500; i++) x = x.x = {}")).await;
    assert_eq!(error.class, Class::Limit);
    assert_eq!(returns(&pool, "return 1").await, json!(1));
}

#[tokio::test]
async fn nothing_of_a_run_is_seen_by_the_next() {
    let pool = pool();
    let poison = "globalThis.left = 1; Object.prototype.polluted = 1; Array.prototype.map = () => 'bad';
                  Promise.prototype.then = () => {}; JSON.stringify = () => '\"forged\"'; require('lodash').leak = 1; console.log = null";
    let _ = pool.run(action(poison), &mut duologue_sandbox::NoCalls).await;
    let source = "return [typeof left, ({}).polluted === undefined, [1].map(x => x + 1), typeof require('lodash').leak, typeof console.log]";
    assert_eq!(returns(&pool, source).await, json!(["undefined", true, [2], "undefined", "function"]));
}

#[tokio::test]
async fn require_finds_the_bots_files() {
    let pool = pool();
    let mut run = action(
        "return [require('./helper').twice(2), require('data.json').x, require('pkg'), require('./folder'), require('./helper') === require('../actions/helper.js')]",
    );
    run.files = files(&[
        ("actions/helper.js", "const { base } = require('./deep/base'); exports.twice = n => base * n"),
        ("actions/deep/base.js", "module.exports = { base: 2, dir: __dirname }"),
        ("actions/data.json", "{\"x\": 1}"),
        ("libraries/node_modules/pkg/package.json", "{\"main\": \"./lib\"}"),
        (
            "libraries/node_modules/pkg/lib/index.js",
            "#!/usr/bin/env node\nmodule.exports = 'pkg ' + process.env.NODE_ENV",
        ),
        ("libraries/folder/index.js", "exports.f = require('./other')"),
        ("libraries/folder/other.js", "module.exports = 'other'"),
    ]);
    assert_eq!(done(&pool, run).await.result, json!([4, 1, "pkg undefined", {"f": "other"}, true]));
}

#[tokio::test]
async fn require_allows_cycles_and_reports_places_in_required_files() {
    let pool = pool();
    let mut run = action("return require('./a').ready()");
    run.files = files(&[
        ("actions/a.js", "exports.early = 1; const b = require('./b'); exports.ready = () => b.seen"),
        ("actions/b.js", "exports.seen = require('./a').early"),
    ]);
    assert_eq!(done(&pool, run).await.result, json!(1));
    let mut run = action("\nrequire('./broken').f()");
    run.files = files(&[("actions/broken.js", "\n\nexports.f = () => { throw new TypeError('deep') }")]);
    let error = failed(&pool, run).await;
    assert_eq!((error.file.as_deref(), error.line), (Some("actions/broken.js"), Some(3)));
    let mut run = action("require('./esm')");
    run.files = files(&[("actions/esm.js", "export default 1")]);
    let error = failed(&pool, run).await;
    assert!(error.message.contains("ES module"), "{error}");
}

#[tokio::test]
async fn require_of_what_is_not_there_says_what_to_do() {
    let pool = pool();
    for (name, expected) in [
        ("left-pad", "libraries/node_modules/left-pad"),
        ("@scope/pkg/sub", "libraries/node_modules/@scope/pkg"),
        ("./nothing", "no file './nothing'"),
        ("fs", "bp.ghost"),
        ("node:child_process", "starts no programs".replace("starts", "start").as_str()),
        ("https", "axios"),
        ("knex", "bp.kvs"),
    ] {
        let error = failed(&pool, action(&format!("require('{name}')"))).await;
        assert!(
            error.message.contains(name.trim_start_matches("node:")) && error.message.contains(expected),
            "{name}: {error}"
        );
    }
}
