//! One process of a program: its start, its calls, its watch, its end.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as Pair},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use duologue_bridge::Code;
use http::HeaderValue;
use rustix::process::{Pid, Signal};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    sync::{Notify, OwnedSemaphorePermit, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    Inner,
    folder::Home,
    line, output, random_hex,
    slot::Slot,
    source::{Level, Line, Program, Source},
};

/// Bytes that a process may tell at once, at most.
const LONGEST_TOLD: usize = 64 * 1024;
/// How often a process is asked whether it still answers.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long an answer may take beyond the time a call may take: a call may compute all of that.
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take after a call ran out of time.
const LAST_CHANCE: Duration = Duration::from_secs(2);
/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long the rest of the output is waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A process that listens.
pub struct Process {
    url: String,
    key: HeaderValue,
    timeout: Duration,
    always_alive: bool,
    usage: Mutex<Usage>,
    /// Woken when a doubt is settled.
    settled: Notify,
    orders: mpsc::UnboundedSender<Order>,
}

struct Usage {
    /// Whether new calls may come.
    open: bool,
    /// A connection to it broke: new calls wait until it is known whether it lives.
    doubted: bool,
    calls: usize,
    /// The end of the last call, or the start.
    idle_since: Instant,
    /// Its place among the processes that may run; given back as soon as no new calls may come.
    place: Option<OwnedSemaphorePermit>,
}

/// What its watch is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// No new calls may come; the last one ends it.
    Retire,
    /// A call ran out of time.
    TimedOut,
    /// A connection broke.
    Doubt,
    /// Nobody calls it and nobody may.
    Drained,
}

impl Process {
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn key(&self) -> HeaderValue {
        self.key.clone()
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) {
        // An error means that it has ended.
        let _ = self.orders.send(order);
    }

    pub fn is_open(&self) -> bool {
        self.usage().open
    }

    /// Counts a call in, unless no new calls may come.
    pub fn enter(&self) -> bool {
        let mut usage = self.usage();
        let enters = usage.open && !usage.doubted;
        usage.calls += usize::from(enters);
        enters
    }

    /// Counts it out. `wanted`: somebody waits for a place.
    pub fn leave(&self, wanted: bool) {
        let mut usage = self.usage();
        usage.calls -= 1;
        usage.idle_since = Instant::now();
        if usage.calls == 0 && wanted {
            usage.close();
        }
        if usage.calls == 0 && !usage.open {
            self.order(Order::Drained);
        }
    }

    /// A call ran out of time: others go on, new ones go to a new process, and if it doesn't even answer
    /// its watch it is killed.
    pub fn timed_out(&self) {
        self.usage().close();
        self.order(Order::TimedOut);
    }

    /// A connection to it broke. Most likely it is about to end.
    pub fn doubt(&self) {
        let mut usage = self.usage();
        if usage.open && !usage.doubted {
            usage.doubted = true;
            self.order(Order::Doubt);
        }
    }

    /// Waits until it is known whether it lives, if that is in doubt. One that leaves the doubt is retired.
    pub async fn settled(&self) {
        let settled = self.settled.notified();
        if self.usage().doubted && timeout(LAST_CHANCE, settled).await.is_err() {
            self.retire();
        }
    }

    fn settle(&self) {
        self.usage().doubted = false;
        self.settled.notify_waiters();
    }

    /// Lets the calls finish and no new ones come.
    pub fn retire(&self) {
        let mut usage = self.usage();
        usage.close();
        self.order(if usage.calls == 0 { Order::Drained } else { Order::Retire });
    }

    /// Its place, for the process that takes over from it; no new calls may come.
    pub fn hand_over(&self) -> Option<OwnedSemaphorePermit> {
        let mut usage = self.usage();
        let place = usage.place.take();
        drop(usage);
        self.retire();
        place
    }

    /// Since when nobody calls it; those that are to stay come last.
    pub fn idle_since(&self) -> Option<(bool, Instant)> {
        let usage = self.usage();
        (usage.open && usage.calls == 0).then_some((self.always_alive, usage.idle_since))
    }

    /// Retires it if it is still idle.
    pub fn retire_idle(&self, for_at_least: Duration) -> bool {
        let mut usage = self.usage();
        let idle = usage.open && usage.calls == 0 && usage.idle_since.elapsed() >= for_at_least;
        if idle {
            usage.close();
            self.order(Order::Drained);
        }
        idle
    }
}

impl Usage {
    fn close(&mut self) {
        self.open = false;
        self.place = None;
    }
}

/// What a process tells.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Told {
    Port(u16),
    Failed(String),
    Pong(u64),
}

/// The server's end of the process's control socket.
struct Control {
    from: OwnedReadHalf,
    /// What came and isn't a whole line yet.
    read: Vec<u8>,
    tell: OwnedWriteHalf,
}

impl Control {
    /// What it tells next; `None` if it closed the socket, or sends what its runner never would.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let told = serde_json::from_slice(&self.read[..end]).ok();
                self.read.drain(..=end);
                return told;
            }
            if self.read.len() > LONGEST_TOLD || self.from.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
    }

    async fn ask(&mut self, number: u64) {
        // A process that reads nothing has room in its socket for far more questions than it gets.
        let _ = self.tell.write_all(format!("{number}\n").as_bytes()).await;
    }
}

/// Starts a process of a program. Answers once it listens.
///
/// # Errors
/// In words, why it doesn't.
pub async fn start(
    inner: &Arc<Inner>,
    slot: &Arc<Slot>,
    program: &Program,
    command: Vec<OsString>,
    home: Home,
    place: OwnedSemaphorePermit,
) -> Result<Arc<Process>, String> {
    let started = Instant::now();
    let failed = |error: io::Error| format!("it could not be started: {error}");
    let key = random_hex::<32>().map_err(failed)?;
    let (ours, theirs) = Pair::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let mut child = inner.spawner.spawn(prepared(inner, program, command, &home, theirs)).await.map_err(failed)?;
    let output = Output::start(inner, &slot.code, &mut child);
    let (read, tell) = UnixStream::from_std(ours).map_err(failed)?.into_split();
    let mut control = Control { from: read, read: Vec::new(), tell };
    let shared = matches!(slot.code, Code::Integration(_));
    let greeting = greet(&mut control, &home, &key, shared);
    let port = match timeout(inner.settings.start_timeout, greeting).await {
        Ok(Some(Told::Port(port))) => port,
        Ok(Some(Told::Failed(reason))) => {
            end(&mut child).await;
            return Err(reason);
        }
        Ok(_) => {
            let status = match timeout(GRACE, child.wait()).await {
                Ok(Ok(status)) => said(status),
                _ => "stopped listening to the server".to_owned(),
            };
            end(&mut child).await;
            output.finish().await;
            return Err(format!("it {status} before it listened"));
        }
        Err(_) => {
            end(&mut child).await;
            return Err(format!("it did not listen within {} s", inner.settings.start_timeout.as_secs()));
        }
    };
    let (orders, ordered) = mpsc::unbounded_channel();
    let process = Arc::new(Process {
        url: format!("http://127.0.0.1:{port}/"),
        key: secret_header(&key),
        timeout: program.timeout,
        always_alive: program.always_alive,
        usage: Mutex::new(Usage {
            open: true,
            doubted: false,
            calls: 0,
            idle_since: Instant::now(),
            place: Some(place),
        }),
        settled: Notify::new(),
        orders,
    });
    tracing::debug!(code = ?slot.code, pid = child.id(), took = ?started.elapsed(), "a process of hosted code listens");
    let watch = Watch {
        inner: inner.clone(),
        halt: inner.halt.subscribe(),
        slot: slot.clone(),
        process: process.clone(),
        token_id: program.token_id.clone(),
        version: program.version.clone(),
        idle: (!program.always_alive).then_some(inner.settings.idle),
        started,
        pid: pid(&child),
        child,
        control,
        ordered,
        output,
        _home: home,
    };
    inner.track(watch.run());
    Ok(process)
}

fn secret_header(key: &str) -> HeaderValue {
    // Hexadecimal digits are fit for a header.
    let mut value = HeaderValue::from_str(key).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn prepared(inner: &Inner, program: &Program, command: Vec<OsString>, home: &Home, control: Pair) -> Command {
    // The heap, what lies outside it, and what Node needs itself.
    let data = (inner.settings.memory * 2 + 256) << 20;
    let mut line =
        inner.settings.launcher.iter().cloned().chain([std::process::id().to_string().into(), data.to_string().into()]);
    let mut prepared = Command::new(line.next().unwrap_or_default());
    prepared
        .args(line)
        .args(command)
        .env_clear()
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .env("TMPDIR", home.temporary())
        .current_dir(home.path())
        .stdin(Stdio::from(OwnedFd::from(control)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    prepared
}

async fn greet(control: &mut Control, home: &Home, key: &str, shared: bool) -> Option<Told> {
    let hello = serde_json::json!({ "bundle": home.bundle(), "key": key, "shared": shared });
    control.tell.write_all(format!("{hello}\n").as_bytes()).await.ok()?;
    control.next().await
}

/// The readers of a process's output.
struct Output(Vec<JoinHandle<()>>);

impl Output {
    fn start(inner: &Arc<Inner>, code: &Code, child: &mut Child) -> Self {
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(tokio::spawn(reader(inner.source.clone(), code.clone(), stdout, Level::Info)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(tokio::spawn(reader(inner.source.clone(), code.clone(), stderr, Level::Error)));
        }
        Output(readers)
    }

    async fn finish(self) {
        for mut reader in self.0 {
            // A process that it started may hold the pipe open for ever.
            if timeout(LAST_WORDS, &mut reader).await.is_err() {
                reader.abort();
            }
        }
    }
}

async fn reader(source: Arc<dyn Source>, code: Code, pipe: impl tokio::io::AsyncRead + Unpin, plain: Level) {
    let take = |text: String| source.log(&code, line::parse(&text, plain));
    let report = |count| {
        source.log(&code, Line::new(Level::Warn, format!("{count} lines were left out: they came too fast.")));
    };
    output::read(pipe, take, report).await;
}

/// Watches a process to its end.
struct Watch {
    inner: Arc<Inner>,
    halt: watch::Receiver<bool>,
    slot: Arc<Slot>,
    process: Arc<Process>,
    token_id: String,
    version: String,
    idle: Option<Duration>,
    started: Instant,
    pid: Option<Pid>,
    child: Child,
    control: Control,
    ordered: mpsc::UnboundedReceiver<Order>,
    output: Output,
    _home: Home,
}

/// What a watch waits for.
enum Happening {
    Ended(io::Result<ExitStatus>),
    Told(Option<Told>),
    Ordered(Order),
    Halt,
    Time,
}

/// What a watch must look at, and when.
struct Alarms {
    ping_at: Instant,
    /// The number of the last question.
    asked: u64,
    /// When it must have been answered.
    answer_by: Option<Instant>,
    /// When the last call of a process that takes no new ones must be over.
    drain_by: Option<Instant>,
}

impl Alarms {
    fn new() -> Self {
        Alarms { ping_at: Instant::now() + PING_EVERY, asked: 0, answer_by: None, drain_by: None }
    }

    /// The number of a new question.
    fn ask(&mut self, answer_by: Instant) -> u64 {
        self.asked += 1;
        self.answer_by = Some(self.answer_by.map_or(answer_by, |sooner| sooner.min(answer_by)));
        self.asked
    }

    /// Whether this answers the last question.
    fn is_answered_by(&mut self, told: &Told) -> bool {
        let answered = matches!(told, Told::Pong(number) if *number == self.asked);
        if answered {
            self.answer_by = None;
        }
        answered
    }

    fn drain(&mut self, by: Instant) {
        self.drain_by = Some(self.drain_by.map_or(by, |sooner| sooner.min(by)));
    }
}

/// Why a process ended.
enum End {
    /// As it was to.
    Wanted,
    /// It did not answer.
    Hung,
    /// By itself.
    Itself(String),
}

impl Watch {
    async fn run(mut self) {
        let end = self.watch().await;
        // What it started goes with it.
        end_group(self.pid);
        self.process.usage().close();
        let reason = match end {
            End::Wanted => None,
            End::Hung => {
                Some("The process did not answer any more and was ended. Does it compute without end?".to_owned())
            }
            End::Itself(how) => Some(format!("The process {how}.")),
        };
        if let Some(reason) = &reason {
            self.inner.failed.fetch_add(1, Ordering::Relaxed);
            self.slot.failed(&self.version, reason.clone(), self.started.elapsed());
        }
        self.process.settle();
        self.output.finish().await;
        let source = &self.inner.source;
        source.ended(&self.slot.code, self.token_id);
        if let Some(reason) = reason {
            source.log(&self.slot.code, Line::new(Level::Error, reason));
        }
    }

    async fn watch(&mut self) -> End {
        let mut alarms = Alarms::new();
        loop {
            let end = match self.happens(&alarms).await {
                Happening::Ended(status) => Some(End::Itself(status.map_or_else(|_| "is gone".to_owned(), said))),
                Happening::Told(Some(told)) => {
                    if alarms.is_answered_by(&told) {
                        self.process.settle();
                    }
                    None
                }
                // It ends, or has closed what it must not close.
                Happening::Told(None) => Some(self.closed().await),
                Happening::Ordered(order) => self.obey(order, &mut alarms).await,
                Happening::Halt => Some(self.stop().await),
                Happening::Time => self.look(&mut alarms).await,
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    async fn happens(&mut self, alarms: &Alarms) -> Happening {
        let idle_at =
            self.idle.map(|idle| self.process.idle_since().map_or_else(Instant::now, |(_, since)| since) + idle);
        let wake = [alarms.answer_by, alarms.drain_by, idle_at].into_iter().flatten().min();
        tokio::select! {
            status = self.child.wait() => Happening::Ended(status),
            told = self.control.next() => Happening::Told(told),
            Some(order) = self.ordered.recv() => Happening::Ordered(order),
            _ = self.halt.wait_for(|halt| *halt) => Happening::Halt,
            () = sleep_until(wake.map_or(alarms.ping_at, |wake| wake.min(alarms.ping_at))) => Happening::Time,
        }
    }

    async fn obey(&mut self, order: Order, alarms: &mut Alarms) -> Option<End> {
        let now = Instant::now();
        match order {
            Order::Retire => alarms.drain(now + self.process.timeout + GRACE),
            Order::TimedOut => {
                alarms.drain(now + self.process.timeout + GRACE);
                self.control.ask(alarms.ask(now + LAST_CHANCE)).await;
            }
            Order::Doubt => self.control.ask(alarms.ask(now + self.process.timeout + PING_PATIENCE)).await,
            Order::Drained if alarms.answer_by.is_none() => return Some(self.stop().await),
            // It hasn't answered yet, so it may not even notice a polite request.
            Order::Drained => alarms.drain(now + LAST_CHANCE),
        }
        None
    }

    /// Something is due.
    async fn look(&mut self, alarms: &mut Alarms) -> Option<End> {
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(alarms.answer_by) {
            end(&mut self.child).await;
            return Some(End::Hung);
        }
        if is_due(alarms.drain_by) {
            return Some(self.stop().await);
        }
        if let Some(idle) = self.idle {
            // If so, the order to end comes through the queue of orders.
            self.process.retire_idle(idle);
        }
        if alarms.ping_at <= now {
            alarms.ping_at = now + PING_EVERY;
            self.compare().await;
            if alarms.answer_by.is_none() {
                self.control.ask(alarms.ask(now + self.process.timeout + PING_PATIENCE)).await;
            }
        }
        None
    }

    /// Retires a process whose code was taken away, or deployed anew, while nobody called it.
    async fn compare(&self) {
        // Should the store fail, the next call will say so.
        if let Ok(deployed) = self.inner.source.version(&self.slot.code).await
            && deployed.as_ref() != Some(&self.version)
        {
            self.process.retire();
        }
    }

    /// The control socket is closed.
    async fn closed(&mut self) -> End {
        self.process.usage().close();
        let how = match timeout(GRACE, self.child.wait()).await {
            Ok(Ok(status)) => said(status),
            _ => "closed its connection to the server".to_owned(),
        };
        end(&mut self.child).await;
        End::Itself(how)
    }

    /// Politely, then not.
    async fn stop(&mut self) -> End {
        if let Some(pid) = pid(&self.child) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let _ = timeout(GRACE, self.child.wait()).await;
        end(&mut self.child).await;
        End::Wanted
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

/// Kills a process with all that it started, and reaps it.
async fn end(child: &mut Child) {
    end_group(pid(child));
    let _ = child.kill().await;
}

/// Kills a process and all that it started. The number isn't another group's: it stays taken as long as
/// anything of this one runs.
fn end_group(leader: Option<Pid>) {
    if let Some(leader) = leader {
        let _ = rustix::process::kill_process_group(leader, Signal::KILL);
    }
}

/// How it ended, in words that follow "the process".
fn said(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        // How V8 ends when its heap is full.
        (_, Some(6)) => "aborted; most likely it ran out of memory".to_owned(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        _ => "ended".to_owned(),
    }
}
