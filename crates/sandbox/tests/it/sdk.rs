//! `bp`: each function is a host call (actions-skills.md 3).

use duologue_sandbox::Class;
use serde_json::{Value, json};

use super::{action, failed, host, pool};

async fn calls(
    source: &str,
    answers: impl FnMut(&str, &[Value]) -> Result<Value, String> + Send,
) -> (Value, Vec<(String, Vec<Value>)>) {
    let mut host = host(answers);
    let source = format!("const run = async () => {{ {source} }}; return run()");
    let done = match pool().run(action(&source), &mut host).await {
        Ok(done) => done,
        Err(error) => panic!("{source}: {error}"),
    };
    (json!({"result": done.result, "event": done.event()}), host.calls)
}

#[tokio::test]
async fn the_action_of_the_recordings_runs() {
    let source = "
      temp.custom = { value: args.value, preview: event.preview, hasBp: typeof bp, target: event.target }
      await bp.events.replyToEvent(event, [{ type: 'custom', foo: 1 }, { text: 'no type given' }])
      const els = await bp.cms.renderElement('builtin_text', { text: 'rendered', typing: true }, event)
      await bp.events.replyToEvent(event, els, event.id)";
    let (left, calls) = calls(source, |method, _| {
        Ok(if method == "cms.renderElement" { json!([{"type": "text", "text": "rendered"}]) } else { json!(null) })
    })
    .await;
    let temp = &left["event"]["state"]["temp"]["custom"];
    assert_eq!(temp, &json!({"value": "given", "preview": "Hello", "hasBp": "object", "target": "ada"}));
    let address = json!({"botId": "bot", "channel": "api", "target": "ada", "id": "1"});
    assert_eq!(
        calls[0],
        (
            "events.replyToEvent".into(),
            vec![address.clone(), json!([{"type": "custom", "foo": 1}, {"text": "no type given"}]), json!(null)]
        )
    );
    assert_eq!(
        (calls[1].0.as_str(), &calls[1].1[..2]),
        ("cms.renderElement", &[json!("builtin_text"), json!({"text": "rendered", "typing": true})][..])
    );
    assert_eq!(calls[1].1[2]["state"]["temp"]["custom"]["value"], "given");
    assert_eq!(calls[2].1, vec![address, json!([{"type": "text", "text": "rendered"}]), json!("1")]);
}

#[tokio::test]
async fn stores_users_and_the_rest_pass_their_arguments() {
    let source = "
      const kvs = bp.kvs.forBot('b')
      const absent = await kvs.get('k', 'p.q')
      await kvs.set('k', { a: 1 }, undefined, '1 hour')
      await bp.kvs.global().exists('g')
      await bp.kvs.get('b2', 'old')
      await bp.users.getOrCreateUser('api', 'ada', 'b')
      await bp.users.updateAttributes('api', 'ada', { x: 1 })
      await bp.dialog.createId(event)
      await bp.http.getAxiosConfigForBot('b', { localUrl: true })
      await bp.ghost.forBot('b').upsertFile('dir', 'f.bin', Buffer.from([0, 255]))
      const object = await bp.ghost.forBot('b').readFileAsObject('dir', 'f.json')
      const buffer = await bp.ghost.forGlobal().readFileAsBuffer('dir', 'f.bin')
      await bp.config.getModuleConfigForBot('nlu', 'b')
      const signature = await bp.security.getMessageSignature('text')
      return [absent === undefined, object.x, buffer.toString('hex'), signature, bp.kvs.getUserStorageKey('u', 'n'), bp.version]";
    let (left, calls) = calls(source, |method, _| {
        Ok(match method {
            "ghost.readFileAsString" => json!("{\"x\": 5}"),
            "ghost.readFileAsBuffer" => json!("AP8="),
            "security.getMessageSignature" => json!("abc"),
            _ => json!(null),
        })
    })
    .await;
    assert_eq!(left["result"], json!([true, 5, "00ff", "abc", "storage/users/u/n", "12.31.0"]));
    let plain: Vec<(String, Value)> =
        calls.iter().map(|(method, args)| (method.clone(), Value::from(args.clone()))).collect();
    // Compared as values: the order of an object's members is the build's.
    let expected = [
        "kvs.get [\"b\",\"k\",\"p.q\"]",
        "kvs.set [\"b\",\"k\",{\"a\":1},null,\"1 hour\"]",
        "kvs.exists [null,\"g\",null]",
        "kvs.get [\"b2\",\"old\",null]",
        "users.getOrCreateUser [\"api\",\"ada\",\"b\"]",
        "users.updateAttributes [\"api\",\"ada\",{\"x\":1}]",
        "dialog.createId [{\"botId\":\"bot\",\"channel\":\"api\",\"id\":\"1\",\"target\":\"ada\"}]",
        "http.getAxiosConfigForBot [\"b\",{\"localUrl\":true}]",
        "ghost.upsertFile [\"b\",\"dir\",\"f.bin\",{\"base64\":\"AP8=\"}]",
        "ghost.readFileAsString [\"b\",\"dir\",\"f.json\"]",
        "ghost.readFileAsBuffer [null,\"dir\",\"f.bin\"]",
        "config.getModuleConfigForBot [\"nlu\",\"b\"]",
        "security.getMessageSignature [\"text\"]",
    ]
    .map(|call| {
        let (method, args) = call.split_once(' ').unwrap();
        (method.to_owned(), serde_json::from_str::<Value>(args).unwrap())
    });
    assert_eq!(plain, expected);
}

#[tokio::test]
async fn jump_to_moves_the_live_event() {
    let source =
        "await bp.dialog.jumpTo('s', event, 'other.flow.json', 'entry'); return event.state.context.currentNode";
    let (left, calls) =
        calls(source, |_, _| Ok(json!({"context": {"currentNode": "entry"}, "__stacktrace": [1]}))).await;
    assert_eq!(left["result"], "entry");
    assert_eq!(left["event"]["state"]["__stacktrace"], json!([1]));
    assert_eq!(
        (&calls[0].1[0], &calls[0].1[2], &calls[0].1[3]),
        (&json!("s"), &json!("other.flow.json"), &json!("entry"))
    );
}

#[tokio::test]
async fn calls_that_nobody_awaits_are_still_made() {
    let mut host = host(|_, _| Ok(json!(null)));
    let source = "bp.events.replyToEvent(event, [{ text: 'a' }]).then(() => bp.events.replyToEvent(event, [{ text: 'b' }])); temp.x = 1";
    pool().run(action(source), &mut host).await.unwrap();
    assert_eq!(host.calls.len(), 2);
}

#[tokio::test]
async fn calls_at_one_time_come_in_order() {
    let (left, calls) =
        calls("return Promise.all([1, 2, 3].map(n => bp.kvs.global().get('k' + n)))", |_, args| Ok(args[1].clone()))
            .await;
    assert_eq!(left["result"], json!(["k1", "k2", "k3"]));
    assert_eq!(calls.len(), 3);
}

#[tokio::test]
async fn a_refused_call_is_an_error_in_the_script() {
    let refuse = |_: &str, _: &[Value]| Err("no such flow".to_owned());
    let (left, _) = calls(
        "try { await bp.dialog.jumpTo('s', event, 'x') } catch (e) { return [e instanceof Error, e.message] }",
        refuse,
    )
    .await;
    assert_eq!(left["result"], json!([true, "no such flow"]));
    let error = pool().run(action("return bp.users.getAttributes('api', 'x')"), &mut host(refuse)).await.unwrap_err();
    assert_eq!((error.class, &*error.message), (Class::Other("Error".into()), "no such flow"));
}

#[tokio::test]
async fn what_is_not_supported_says_so() {
    let pool = pool();
    for (source, expected) in [
        ("return bp.database('users').select()", "bp.database is not available"),
        ("return bp.database.select()", "bp.kvs"),
        ("bp.realtime.sendPayload()", "bp.realtime is not available"),
        ("new bp.workspaces.X()", "bp.workspaces is not available"),
        ("bp.users.deleteEverything()", "bp.users.deleteEverything is not supported"),
        ("bp.kvs.forBot('b').list()", "bp.kvs.list is not supported"),
        ("bp.IO.WellKnownFlags.NOPE", "bp.IO.WellKnownFlags.NOPE is not supported"),
    ] {
        let error = failed(&pool, action(source)).await;
        assert!(error.message.contains(expected), "{source}: {error}");
    }
}

#[tokio::test]
async fn events_can_be_made_and_sent() {
    let source = "
      const made = bp.IO.Event({ type: 'text', channel: 'api', direction: 'outgoing', target: 'ada', botId: 'b', payload: { text: 'hi' } })
      made.setFlag(bp.IO.WellKnownFlags.SKIP_NATIVE_NLU, true)
      await bp.events.sendEvent(made)
      return [made.preview, made.hasFlag(bp.IO.WellKnownFlags.SKIP_NATIVE_NLU), made.id.length > 10]";
    let (left, calls) = calls(source, |_, _| Ok(json!(null))).await;
    assert_eq!(left["result"], json!(["hi", true, true]));
    assert_eq!((&calls[0].1[0]["target"], &calls[0].1[0]["payload"]), (&json!("ada"), &json!({"text": "hi"})));
}
