//! Bundles of all kinds in real Node processes: what works, and every way to misbehave.
//!
//! Needs Node in `PATH`.

#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use duologue_bridge::{Address, Bridge, Call, Callee, Code, Failure, Hosting, Operation};
use duologue_hosted::{Hosted, Level, Line, Program, Settings, Source};
use duologue_model::Json;
use duologue_outbound::Client;
use futures_util::future::BoxFuture;

/// Of calls whose time is to pass.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Of all others.
const LONG: Duration = Duration::from_secs(30);

/// Code in memory.
#[derive(Default)]
struct Shelf {
    programs: Mutex<HashMap<Code, Program>>,
    generation: AtomicU64,
    tokens: AtomicU64,
    lines: Mutex<Vec<Line>>,
    ended: Mutex<Vec<String>>,
}

impl Source for Shelf {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn believed_for(&self) -> Option<Duration> {
        None
    }

    fn version<'a>(&'a self, code: &'a Code) -> BoxFuture<'a, Result<Option<String>, String>> {
        Box::pin(async { Ok(self.programs.lock().unwrap().get(code).map(|program| program.version.clone())) })
    }

    fn program<'a>(&'a self, code: &'a Code) -> BoxFuture<'a, Result<Option<Program>, String>> {
        Box::pin(async {
            let token = self.tokens.fetch_add(1, Ordering::AcqRel).to_string();
            let program = self.programs.lock().unwrap().get(code).cloned();
            Ok(program.map(|program| Program { token_id: token, ..program }))
        })
    }

    fn ended(&self, _: &Code, token_id: String) {
        self.ended.lock().unwrap().push(token_id);
    }

    fn log(&self, _: &Code, line: Line) {
        self.lines.lock().unwrap().push(line);
    }
}

struct Bed {
    shelf: Arc<Shelf>,
    hosted: Hosted,
    bridge: Bridge,
    folder: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            node: "node".into(),
            folder: folder.path().join("hosted"),
            launcher: vec![env!("CARGO_BIN_EXE_hosted-launcher").into()],
            processes: 8,
            memory: 128,
            idle: Duration::from_secs(300),
            start_timeout: Duration::from_secs(20),
            confined: true,
        };
        change(&mut settings);
        let shelf = Arc::new(Shelf::default());
        let hosted = Hosted::new(settings, shelf.clone()).unwrap();
        let local = || {
            let allow = "127.0.0.1".parse().unwrap();
            Client::new(duologue_outbound::Settings { allow, ..Default::default() }).unwrap()
        };
        let bridge = Bridge::new(local(), local(), Arc::new(hosted.clone()));
        Bed { shelf, hosted, bridge, folder: folder.path().join("hosted"), _folder: folder }
    }

    /// Deploys the code of a bot.
    fn deploy(&self, bot: &str, bundle: &str) {
        self.deploy_with(bot, bundle, |_| {});
    }

    fn deploy_with(&self, bot: &str, bundle: &str, change: impl FnOnce(&mut Program)) {
        let mut program = Program {
            version: self.shelf.generation.load(Ordering::Acquire).to_string(),
            bundle: bundle.to_owned(),
            environment: vec![("BP_TOKEN".into(), "secret".into()), ("SECRET_COLOR".into(), "blue".into())],
            token_id: String::new(),
            timeout: TIMEOUT,
            always_alive: false,
        };
        change(&mut program);
        self.shelf.programs.lock().unwrap().insert(Code::Bot(bot.into()), program);
        self.shelf.generation.fetch_add(1, Ordering::AcqRel);
    }

    async fn call(&self, bot: &str, body: &str) -> Result<String, Failure> {
        self.call_for(LONG, bot, body).await
    }

    async fn call_for(&self, timeout: Duration, bot: &str, body: &str) -> Result<String, Failure> {
        let code = Address::Code(Code::Bot(bot.into()));
        let callee = Callee::bot(bot, &Json::parse("{}".to_owned()).unwrap(), code).unwrap().with_timeout(timeout);
        let call = Call::new(Operation::Ping, body.to_owned());
        let answer = self.bridge.exchange(&callee, &call).await?;
        Ok(String::from_utf8(answer.body.to_vec()).unwrap())
    }

    fn logged(&self, text: &str) -> Option<Line> {
        self.shelf.lines.lock().unwrap().iter().find(|line| line.message.contains(text)).cloned()
    }

    async fn wait_for(&self, text: &str) -> Line {
        let since = Instant::now();
        loop {
            if let Some(line) = self.logged(text) {
                return line;
            }
            let lines = self.shelf.lines.lock().unwrap().clone();
            assert!(since.elapsed() < Duration::from_secs(20), "no line has {text:?}: {lines:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn wait_until_running(&self, count: usize) {
        let since = Instant::now();
        while self.hosted.running() != count {
            assert!(since.elapsed() < Duration::from_secs(20), "{} processes run", self.hosted.running());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Answers with what it evaluates.
const EVAL: &str = "exports.handler = async (request) => ({ body: String(await eval(request.body)) })";

fn is_running(pid: &str) -> bool {
    // A zombie has no files.
    std::fs::read_link(Path::new("/proc").join(pid).join("exe")).is_ok()
}

/// What was killed needs an instant to die.
async fn wait_until_gone(pid: &str) {
    let since = Instant::now();
    while is_running(pid) {
        assert!(since.elapsed() < Duration::from_secs(20), "it still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_called_as_the_protocol_says() {
    let bed = Bed::new();
    bed.deploy("bot_1", "exports.default = { n: 7, handler(request) { return { status: 201, headers: { 'x-a': 'b' }, body: JSON.stringify([this.n, request]) } } }");
    let code = Address::Code(Code::Bot("bot_1".into()));
    let callee = Callee::bot("bot_1", &Json::parse("{}".to_owned()).unwrap(), code).unwrap();
    let answer = bed.bridge.exchange(&callee, &Call::new(Operation::Ping, "{\"ä\":1}")).await.unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers["x-a"], "b");
    let seen: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(seen[0], 7);
    assert_eq!(seen[1]["method"], "POST");
    assert_eq!(seen[1]["path"], "/");
    assert_eq!(seen[1]["query"], "");
    assert_eq!(seen[1]["body"], "{\"ä\":1}");
    assert_eq!(seen[1]["headers"]["x-bot-id"], "bot_1");
    assert_eq!(seen[1]["headers"]["x-bp-operation"], "ping");
    assert!(seen[1]["headers"].get("x-duologue-key").is_none());
    // A handler that says nothing says `{}`.
    bed.deploy("bot_2", "exports.handler = async () => {}");
    assert_eq!(bed.call("bot_2", "{}").await.unwrap(), "{}");
    // All calls go to one process.
    bed.deploy("bot_3", EVAL);
    let pid = bed.call("bot_3", "process.pid").await.unwrap();
    let calls = (0..50).map(|_| bed.call("bot_3", "process.pid"));
    assert!(futures_util::future::join_all(calls).await.into_iter().all(|answer| answer.unwrap() == pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_gets_its_own_environment_and_nothing_else() {
    let bed = Bed::new();
    bed.deploy("bot_1", EVAL);
    let names = bed.call("bot_1", "Object.keys(process.env).sort().join()").await.unwrap();
    assert_eq!(names, "BP_TOKEN,SECRET_COLOR,TMPDIR");
    let pid = bed.call("bot_1", "process.pid").await.unwrap();
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!command.contains("secret"), "{command}");
    // Its pipes and its control socket; all else is Node's own.
    let mut files = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let target = std::fs::read_link(entry.unwrap().path()).unwrap().display().to_string();
        files.push(target);
    }
    let foreign: Vec<_> = files.iter().filter(|file| file.starts_with('/') && *file != "/dev/null").collect();
    assert!(foreign.is_empty(), "{files:?}");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max core file size") && line.contains(" 0 ")), "{limits}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_server_may_call_it() {
    let bed = Bed::new();
    bed.deploy("bot_1", EVAL);
    let code = Code::Bot("bot_1".into());
    let lease = bed.hosted.lease(&code).await.map_err(|error| error.to_string()).unwrap();
    let allow = "127.0.0.1".parse().unwrap();
    let client = Client::new(duologue_outbound::Settings { allow, ..Default::default() }).unwrap();
    for key in [None, Some("wrong"), Some("")] {
        let mut request = duologue_outbound::Request::new(http::Method::POST, lease.url());
        request.body = "'reached'".into();
        if let Some(key) = key {
            request.headers.insert("x-duologue-key", key.parse().unwrap());
        }
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (403, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_kept_in_its_folder() {
    let bed = Bed::new();
    bed.deploy("bot_1", EVAL);
    let denied = [
        "require('fs').readFileSync('/etc/passwd')",
        "require('fs').writeFileSync('bundle.cjs', '')",
        "require('child_process').execSync('true')",
        "new (require('worker_threads').Worker)('1', { eval: true })",
    ];
    for attempt in denied {
        let script = format!("(() => {{ try {{ {attempt}; return 'done' }} catch (e) {{ return e.code }} }})()");
        assert_eq!(bed.call("bot_1", &script).await.unwrap(), "ERR_ACCESS_DENIED", "{attempt}");
    }
    let allowed = "require('fs').writeFileSync(require('os').tmpdir() + '/a', 'b'); require('fs').readFileSync(process.env.TMPDIR + '/a', 'utf8')";
    assert_eq!(bed.call("bot_1", allowed).await.unwrap(), "b");
    assert!(bed.logged("ExperimentalWarning").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_a_handler_is_logged_and_the_next_call_finds_a_new_process() {
    let bed = Bed::new();
    bed.deploy("bot_1", EVAL);
    let first = bed.call("bot_1", "process.pid").await.unwrap();
    let crash = "setTimeout(() => { throw new Error('thrown on the side') }); new Promise(() => {})";
    assert!(bed.call("bot_1", crash).await.unwrap_err().is_transient());
    bed.wait_for("The process ended with exit code 1.").await;
    let trace = bed.logged("thrown on the side").unwrap();
    assert_eq!(trace.level, Level::Error);
    assert!(trace.message.starts_with("Error: thrown on the side\n    at "), "{}", trace.message);
    let second = bed.call("bot_1", "process.pid").await.unwrap();
    assert_ne!(first, second);
    assert_eq!((bed.hosted.running(), bed.hosted.started(), bed.hosted.failed()), (1, 2, 1));
    // Its token went with it.
    assert_eq!(*bed.shelf.ended.lock().unwrap(), ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_computes_without_end_is_replaced() {
    let bed = Bed::new();
    bed.deploy("bot_1", EVAL);
    let pid = bed.call("bot_1", "process.pid").await.unwrap();
    assert!(matches!(bed.call_for(TIMEOUT, "bot_1", "for (;;) {}").await.unwrap_err(), Failure::Timeout(_)));
    // The next call needn't wait for its end.
    let began = Instant::now();
    assert_ne!(bed.call("bot_1", "process.pid").await.unwrap(), pid);
    assert!(began.elapsed() < Duration::from_secs(9));
    bed.wait_for("did not answer any more").await;
    wait_until_gone(&pid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_ends_costs_its_neighbours_nothing() {
    let bed = Bed::new();
    bed.deploy("bot_1", EVAL);
    let pid = bed.call("bot_1", "process.pid").await.unwrap();
    let hangs = bed.call_for(TIMEOUT, "bot_1", "new Promise(() => {})");
    let later = async {
        tokio::time::sleep(TIMEOUT / 2).await;
        bed.call("bot_1", "new Promise((done) => setTimeout(() => done(process.pid), 2000))").await
    };
    let (hung, neighbour) = tokio::join!(hangs, later);
    assert!(matches!(hung.unwrap_err(), Failure::Timeout(_)));
    assert_eq!(neighbour.unwrap(), pid, "it was taken down with a call under way");
    assert_ne!(bed.call("bot_1", "process.pid").await.unwrap(), pid);
    bed.wait_until_running(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_in_and_outside_the_heap() {
    let bed = Bed::new();
    let bombs = [
        "const all = []; for (;;) all.push(new Array(1000).fill({ a: 1 }))",
        "const all = []; setTimeout(() => { for (;;) all.push(Buffer.alloc(1 << 24, 1)) }); new Promise(() => {})",
    ];
    for (bot, bomb) in ["bot_1", "bot_2"].into_iter().zip(bombs) {
        bed.deploy_with(bot, EVAL, |program| program.timeout = Duration::from_secs(30));
        let code = Address::Code(Code::Bot(bot.into()));
        let callee = Callee::bot(bot, &Json::parse("{}".to_owned()).unwrap(), code)
            .unwrap()
            .with_timeout(Duration::from_secs(30));
        let result = bed.bridge.exchange(&callee, &Call::new(Operation::Ping, bomb.to_owned())).await;
        assert!(result.unwrap_err().is_transient(), "{bomb}");
        assert_eq!(bed.call(bot, "1 + 1").await.unwrap(), "2");
    }
    bed.wait_for("most likely it ran out of memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_listens_is_given_up() {
    let bed = Bed::with(|settings| settings.start_timeout = Duration::from_secs(2));
    bed.deploy("bot_1", "for (;;) {}");
    let error = bed.call("bot_1", "1").await.unwrap_err().to_string();
    assert!(error.contains("its process did not start: it did not listen within 2 s"), "{error}");
    bed.wait_until_running(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_loaded_says_why_and_pauses_grow() {
    let bed = Bed::new();
    let broken = [
        ("bot_1", "require('no-such-package')", "Cannot find module 'no-such-package'"),
        ("bot_2", "exports.x = 1", "The bundle exports no handler."),
        ("bot_3", "syntax error", "SyntaxError"),
        ("bot_4", "process.exit(3)", "it ended with exit code 3 before it listened"),
    ];
    for (bot, bundle, reason) in broken {
        bed.deploy(bot, bundle);
        let error = bed.call(bot, "1").await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert_eq!(bed.wait_for(reason).await.level, Level::Error);
    }
    // Each further attempt waits longer; one that would take too long is refused at once.
    let since = Instant::now();
    let mut last = String::new();
    for _ in 0..12 {
        last = bed.call("bot_4", "1").await.unwrap_err().to_string();
        if last.contains("is started again in") {
            break;
        }
    }
    assert!(last.contains("is started again in") && last.contains("exit code 3"), "{last}");
    assert!(since.elapsed() < Duration::from_secs(40));
    // A new deployment gets its chance at once.
    bed.deploy("bot_4", EVAL);
    assert_eq!(bed.call("bot_4", "1 + 1").await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_is_cut_and_calls_go_on() {
    let bed = Bed::new();
    bed.deploy("bot_1", EVAL);
    let flood = "for (let i = 0; i < 20000; i++) console.log('line ' + i + ' ' + 'x'.repeat(100)); 'done'";
    assert_eq!(bed.call("bot_1", flood).await.unwrap(), "done");
    assert_eq!(bed.call("bot_1", "1 + 1").await.unwrap(), "2");
    bed.hosted.stop(Duration::from_secs(5)).await;
    bed.wait_for("lines were left out: they came too fast.").await;
    assert!(bed.shelf.lines.lock().unwrap().len() < 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_becomes_lines_of_the_log() {
    let bed = Bed::new();
    bed.deploy("bot_1", EVAL);
    let script = r#"console.log(JSON.stringify({ msg: 'structured', level: 'warn', options: { userId: 'user_1' } })); console.log('plain'); console.error('wrong')"#;
    bed.call("bot_1", script).await.unwrap();
    let line = bed.wait_for("structured").await;
    assert_eq!((line.level, line.user_id.as_deref()), (Level::Warn, Some("user_1")));
    assert_eq!(bed.wait_for("plain").await.level, Level::Info);
    assert_eq!(bed.wait_for("wrong").await.level, Level::Error);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ignores_sigterm_is_killed_and_nothing_is_left() {
    let bed = Bed::new();
    bed.deploy("bot_1", &format!("process.on('SIGTERM', () => console.log('no')); {EVAL}"));
    let pid = bed.call("bot_1", "process.pid").await.unwrap();
    let since = Instant::now();
    bed.hosted.stop(Duration::from_secs(10)).await;
    assert!(since.elapsed() < Duration::from_secs(9));
    assert!(!is_running(&pid));
    assert_eq!(bed.hosted.running(), 0);
    assert!(bed.call("bot_1", "1").await.unwrap_err().to_string().contains("the server is stopping"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_called_is_stopped_unless_it_stays_alive() {
    let bed = Bed::with(|settings| settings.idle = Duration::from_secs(1));
    bed.deploy("bot_1", EVAL);
    bed.deploy_with("bot_2", EVAL, |program| program.always_alive = true);
    let stays = bed.call("bot_2", "process.pid").await.unwrap();
    // A call that takes longer than that is not idleness.
    let slow = "new Promise((done) => setTimeout(() => done(process.pid), 1500))";
    let goes = bed.call("bot_1", slow).await.unwrap();
    bed.wait_until_running(1).await;
    assert_eq!(bed.call("bot_2", "process.pid").await.unwrap(), stays);
    assert_ne!(bed.call("bot_1", "process.pid").await.unwrap(), goes);
    // Its end is no failure.
    assert!(bed.shelf.lines.lock().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(&bed.folder).unwrap().count(), 2, "the lock and this server's folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_bounded_and_go_round() {
    let bed = Bed::with(|settings| settings.processes = 2);
    for bot in ["bot_1", "bot_2", "bot_3", "bot_4"] {
        bed.deploy(bot, EVAL);
    }
    // Idle ones make room.
    for bot in ["bot_1", "bot_2", "bot_3", "bot_1"] {
        assert_eq!(bed.call(bot, "1 + 1").await.unwrap(), "2");
    }
    // Who is at work is waited for.
    let slow = "new Promise((done) => setTimeout(() => done('slow'), 1000))";
    let answers = tokio::join!(bed.call("bot_1", slow), bed.call("bot_2", slow), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bed.call("bot_4", "1 + 1").await
    });
    assert_eq!(
        (answers.0.unwrap(), answers.1.unwrap(), answers.2.unwrap()),
        ("slow".into(), "slow".into(), "2".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_deployment_takes_over_without_losing_a_call() {
    let bed = Bed::with(|settings| settings.processes = 1);
    bed.deploy("bot_1", EVAL);
    let old = bed.call("bot_1", "process.pid").await.unwrap();
    let slow = "globalThis.begun = true; new Promise((done) => setTimeout(() => done(process.pid), 1500))";
    let (under_way, new) = tokio::join!(bed.call("bot_1", slow), async {
        while bed.call("bot_1", "globalThis.begun").await.unwrap() != "true" {}
        bed.deploy("bot_1", &format!("// another\n{EVAL}"));
        bed.call("bot_1", "process.pid").await.unwrap()
    });
    assert_eq!(under_way.unwrap(), old);
    assert_ne!(new, old);
    bed.wait_until_running(1).await;
    wait_until_gone(&old).await;
    assert!(is_running(&new));
    // Also under load no call is lost.
    let stop = Instant::now() + Duration::from_secs(3);
    let load = (0..8).map(|_| async {
        let mut calls = 0;
        while Instant::now() < stop {
            bed.call("bot_1", "1").await.unwrap();
            calls += 1;
        }
        calls
    });
    let deploys = async {
        for number in 0..3 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            bed.deploy("bot_1", &format!("// {number}\n{EVAL}"));
        }
    };
    let (calls, ()) = tokio::join!(futures_util::future::join_all(load), deploys);
    assert!(calls.iter().sum::<i32>() > 50, "{calls:?}");
    // Code that is taken away is not run any more.
    bed.shelf.programs.lock().unwrap().clear();
    bed.shelf.generation.fetch_add(1, Ordering::AcqRel);
    let error = bed.call("bot_1", "1").await.unwrap_err();
    assert!(matches!(&error, Failure::NotCallable(text) if text.contains("has no code")), "{error}");
    bed.wait_until_running(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_a_deployment_is_not_for_older_code_that_is_starting() {
    let bed = Bed::new();
    let says = |text: &str| format!("exports.handler = async () => ({{ status: 200, body: '{text}' }})");
    bed.deploy("bot_1", &format!("const until = Date.now() + 1500; while (Date.now() < until);\n{}", says("first")));
    let early = bed.call("bot_1", "");
    let (early, late) = tokio::join!(early, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        bed.deploy("bot_1", &says("second"));
        bed.call("bot_1", "").await.unwrap()
    });
    assert_eq!(late, "second");
    early.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_node_it_is_said_plainly() {
    let bed = Bed::with(|settings| settings.node = "/nowhere/node".into());
    bed.deploy("bot_1", EVAL);
    let error = bed.call("bot_1", "1").await.unwrap_err();
    assert!(matches!(&error, Failure::NotCallable(text) if text.contains("Install Node 18 or later")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_headers_and_bodies_pass() {
    let bed = Bed::new();
    bed.deploy(
        "bot_1",
        "exports.handler = async (request) => ({ body: request.body + request.headers['x-bp-configuration'].length })",
    );
    let configuration = Json::parse(format!("{{\"a\":\"{}\"}}", "x".repeat(100_000))).unwrap();
    let code = Address::Code(Code::Bot("bot_1".into()));
    let callee = Callee::bot("bot_1", &configuration, code).unwrap();
    let body = "y".repeat(2_000_000);
    let answer = bed.bridge.exchange(&callee, &Call::new(Operation::Ping, body.clone())).await.unwrap();
    assert!(answer.body.len() > body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bundle_started_ends_with_it() {
    let bed = Bed::with(|settings| settings.confined = false);
    bed.deploy("bot_1", EVAL);
    let start = "require('child_process').spawn('sleep', ['600'], { stdio: 'ignore' }).pid";
    let started = bed.call("bot_1", start).await.unwrap();
    assert!(is_running(&started));
    assert!(bed.call("bot_1", "process.exit(0)").await.is_err());
    bed.wait_for("ended with exit code 0").await;
    wait_until_gone(&started).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_meddles_with_its_runner_only_ends_itself() {
    let bed = Bed::new();
    bed.deploy("bot_1", EVAL);
    for attempt in ["require('fs').writeSync(0, 'x'.repeat(1 << 17))", "require('fs').writeSync(0, 'nonsense\\n')"] {
        let pid = bed.call("bot_1", "process.pid").await.unwrap();
        let _ = bed.call("bot_1", attempt).await;
        wait_until_gone(&pid).await;
    }
    bed.wait_for("closed its connection to the server").await;
    assert_eq!(bed.call("bot_1", "process.stdin.read()").await.unwrap(), "null");
}
