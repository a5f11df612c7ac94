//! Custom content types (content.md 6), and axios over the host's client.

use duologue_sandbox::{Class, Kind, Run};
use serde_json::{Value, json};

use super::{action, done, failed, files, host, pool};

const CARD: &str = "
const base = require('./_base')
module.exports = {
  id: 'card', group: 'Own', title: 'Card', jsonSchema: { type: 'object' }, uiSchema: {},
  computePreviewText: data => `Card: ${data.title}`,
  renderElement: async (data, channel) => [{ type: 'typing', value: true }, { ...base, title: data.title, url: data.BOT_URL, channel }]
}";

fn module(function: Option<&str>, args: Value) -> Run {
    let args = args.as_array().unwrap().clone();
    let kind = Kind::Module { function: function.map(str::to_owned), args };
    let mut run = Run::new(kind, "global", "content-types/card.js", CARD);
    run.files = files(&[("content-types/_base.js", "module.exports = { type: 'card' }")]);
    run
}

#[tokio::test]
async fn content_types_are_described_and_rendered() {
    let pool = pool();
    let described = done(&pool, module(None, json!([]))).await.result;
    assert_eq!(
        described,
        json!({"id": "card", "group": "Own", "title": "Card", "jsonSchema": {"type": "object"}, "uiSchema": {}})
    );
    let preview = done(&pool, module(Some("computePreviewText"), json!([{"title": "T"}]))).await.result;
    assert_eq!(preview, "Card: T");
    let args = json!([{"title": "T", "BOT_URL": "http://b"}, "api"]);
    let rendered = done(&pool, module(Some("renderElement"), args)).await.result;
    assert_eq!(
        rendered,
        json!([{"type": "typing", "value": true}, {"type": "card", "title": "T", "url": "http://b", "channel": "api"}])
    );
    let error = failed(&pool, module(Some("absent"), json!([]))).await;
    assert!(error.message.contains("exports no function 'absent'"), "{error}");
}

/// The request that a piece of axios code makes, and what the code returns.
async fn axios(code: &str, answer: Value) -> (Value, Vec<Value>) {
    let mut host = host(|_, _| Ok(answer.clone()));
    let source = format!("const axios = require('axios'); const run = async () => {{ {code} }}; return run()");
    let done = match pool().run(action(&source), &mut host).await {
        Ok(done) => done,
        Err(error) => panic!("{code}: {error}"),
    };
    assert!(host.calls.iter().all(|(method, _)| method == "http.request"));
    (done.result, host.calls.into_iter().map(|(_, args)| args[0].clone()).collect())
}

fn answer(data: &str) -> Value {
    json!({"status": 200, "statusText": "OK", "headers": {"content-type": "application/json"}, "data": data})
}

#[tokio::test]
async fn get_sends_parameters_and_parses_json() {
    let code = "const r = await axios.get('https://e.com/a?x=1', { params: { q: 'a b', list: [1, 2], none: null }, headers: { 'X-A': 1 }, timeout: 500 })
      return [r.data.ok, r.status, r.statusText, r.headers['content-type'], r.config.method]";
    let (result, requests) = axios(code, answer("{\"ok\": true}")).await;
    assert_eq!(result, json!([true, 200, "OK", "application/json", "get"]));
    assert_eq!(
        requests[0],
        json!({"method": "GET", "url": "https://e.com/a?x=1&q=a+b&list[]=1&list[]=2", "maxRedirects": 5, "timeout": 500,
               "headers": {"Accept": "application/json, text/plain, */*", "X-A": "1"}})
    );
}

#[tokio::test]
async fn bodies_are_encoded_by_their_type() {
    let code = "await axios.post('https://e.com', { a: 1 })
      await axios.put('https://e.com', 'text', { headers: { 'content-type': 'text/plain' } })
      await axios.patch('https://e.com', new URLSearchParams({ a: 'b c' }))
      await axios.post('https://e.com', require('querystring').stringify({ a: 1 }))
      await axios.post('https://e.com', Buffer.from([255, 0]))
      await axios.delete('https://e.com', { data: { id: 1 } })
      await axios({ url: '/x', baseURL: 'https://e.com/api/', method: 'POST', auth: { username: 'u', password: 'p' } })";
    let (_, requests) = axios(code, answer("")).await;
    let seen: Vec<_> = requests
        .iter()
        .map(|r| json!([r["method"], r["url"], r["data"], r["headers"]["Content-Type"], r["base64"]]))
        .collect();
    let json_type = "application/json;charset=utf-8";
    assert_eq!(
        Value::from(seen),
        json!([
            ["POST", "https://e.com", "{\"a\":1}", json_type, null],
            ["PUT", "https://e.com", "text", null, null],
            ["PATCH", "https://e.com", "a=b+c", "application/x-www-form-urlencoded;charset=utf-8", null],
            ["POST", "https://e.com", "a=1", "application/x-www-form-urlencoded", null],
            ["POST", "https://e.com", "/wA=", null, true],
            ["DELETE", "https://e.com", "{\"id\":1}", json_type, null],
            ["POST", "https://e.com/api/x", null, null, null],
        ])
    );
    assert_eq!(requests[1]["headers"]["content-type"], "text/plain");
    assert_eq!(requests[6]["headers"]["Authorization"], "Basic dTpw");
}

#[tokio::test]
async fn failures_look_as_they_do_in_axios() {
    let refused = json!({"status": 404, "statusText": "Not Found", "headers": {}, "data": "{\"why\": \"gone\"}"});
    let code = "try { await axios.get('https://e.com') } catch (e) { return [e instanceof Error, e.isAxiosError, axios.isAxiosError(e), e.message, e.response.status, e.response.data.why, e.config.url] }";
    let (result, _) = axios(code, refused.clone()).await;
    assert_eq!(result, json!([true, true, true, "Request failed with status code 404", 404, "gone", "https://e.com"]));
    let (result, _) =
        axios("return (await axios.get('https://e.com', { validateStatus: () => true })).status", refused).await;
    assert_eq!(result, 404);
    let down = json!({"error": {"code": "ECONNREFUSED", "message": "connect ECONNREFUSED"}});
    let (result, _) = axios(
        "try { await axios.get('https://e.com') } catch (e) { return [e.code, e.message, e.response === undefined] }",
        down,
    )
    .await;
    assert_eq!(result, json!(["ECONNREFUSED", "connect ECONNREFUSED", true]));
}

#[tokio::test]
async fn instances_defaults_and_interceptors_work() {
    let code = "
      axios.defaults.headers.common['X-All'] = 'yes'
      const api = axios.create({ baseURL: 'https://e.com', headers: { 'X-One': '1' } })
      api.interceptors.request.use(config => { config.headers['X-Late'] = 'late'; return config })
      api.interceptors.response.use(response => response.data)
      const bare = api.interceptors.response.use(() => 'never'); api.interceptors.response.eject(bare)
      return [await api.get('a'), await api('b'), axios.getUri({ url: '/c', params: { d: 1 } })]";
    let (result, requests) = axios(code, answer("[1]")).await;
    assert_eq!(result, json!([[1], [1], "/c?d=1"]));
    assert_eq!(requests[0]["url"], "https://e.com/a");
    let headers =
        json!({"Accept": "application/json, text/plain, */*", "X-All": "yes", "X-One": "1", "X-Late": "late"});
    assert_eq!(requests[0]["headers"], headers);
}

#[tokio::test]
async fn response_types_are_honoured() {
    let (result, requests) = axios(
        "return (await axios.get('https://e.com', { responseType: 'arraybuffer' })).data.toString('hex')",
        json!({"status": 200, "data": "/wA=", "base64": true}),
    )
    .await;
    assert_eq!((result, &requests[0]["binary"]), (json!("ff00"), &json!(true)));
    let (result, _) =
        axios("return (await axios.get('https://e.com', { responseType: 'text' })).data", answer("{\"a\":1}")).await;
    assert_eq!(result, "{\"a\":1}");
    let (result, _) = axios("return (await axios.get('https://e.com')).data", answer("plain")).await;
    assert_eq!(result, "plain");
    let (result, _) = axios("return Promise.all([axios.get('https://e.com/1'), axios.get('https://e.com/2')]).then(axios.spread((a, b) => a.data + b.data))", answer("2")).await;
    assert_eq!(result, 4);
}

#[tokio::test]
async fn a_config_of_the_sdk_can_be_passed_on() {
    let mut host = host(|method, _| {
        Ok(if method == "http.getAxiosConfigForBot" {
            json!({"baseURL": "http://localhost/api/v1/bots/b", "headers": {"Authorization": "bearer t"}})
        } else {
            json!({"status": 200, "data": "1"})
        })
    });
    let source = "const run = async () => (await require('axios').post('/converse/ada', { text: 'hi' }, await bp.http.getAxiosConfigForBot('b'))).data; return run()";
    assert_eq!(pool().run(action(source), &mut host).await.unwrap().result, 1);
    let request = &host.calls[1].1[0];
    assert_eq!(
        (&request["url"], &request["headers"]["Authorization"]),
        (&json!("http://localhost/api/v1/bots/b/converse/ada"), &json!("bearer t"))
    );
}

#[tokio::test]
async fn what_crypto_lacks_is_named() {
    let error = failed(&pool(), action("require('crypto').createCipheriv('aes', 'k', 'i')")).await;
    assert!(error.message.contains("crypto.createCipheriv is not available"), "{error}");
    let error = failed(&pool(), action("require('crypto').createHash('whirlpool')")).await;
    assert!(error.message.contains("sha256"), "{error}");
    assert_eq!(error.class, Class::Other("Error".into()));
}
