//! Child processes: run to the end, run in the background, stop; and what a signal does to them.
//!
//! On SIGINT or SIGTERM the child in the foreground is asked to end. Its caller then returns with
//! [`Interrupted`], and the guards on the way out (`Drop`) stop what runs in the background.

use std::{
    error::Error,
    ffi::OsStr,
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// Why a task ended early.
pub type Failure = Box<dyn Error>;

/// A signal asked for the end.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; everything started is stopped")
    }
}

impl Error for Interrupted {}

static STOP: AtomicBool = AtomicBool::new(false);
static FOREGROUND: Mutex<Option<Target>> = Mutex::new(None);

/// Whom a signal is for.
#[derive(Clone, Copy, Debug)]
enum Target {
    Process(u32),
    /// The process and all that it started.
    Group(u32),
}

/// Starts listening for SIGINT and SIGTERM.
pub fn watch_signals() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    thread::spawn(move || {
        for _ in signals.forever() {
            STOP.store(true, Ordering::SeqCst);
            if let Some(target) = *lock(&FOREGROUND) {
                signal("TERM", target);
            }
        }
    });
}

/// `Err(Interrupted)` once a signal came.
pub fn go_on() -> Result<(), Interrupted> {
    if STOP.load(Ordering::SeqCst) { Err(Interrupted) } else { Ok(()) }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Sends a signal by name. A process that is gone already is no problem.
fn signal(name: &str, target: Target) {
    let whom = match target {
        Target::Process(pid) => pid.to_string(),
        Target::Group(pid) => format!("-{pid}"),
    };
    // The shell's own `kill`: the program of that name isn't everywhere.
    let _ = Command::new("sh").args(["-c", "kill -s \"$0\" -- \"$1\"", name, &whom]).stderr(Stdio::null()).status();
}

/// The cargo that runs this.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A headline on the terminal.
pub fn say(what: &str) {
    println!("\n── {what}");
    let _ = io::stdout().flush();
}

/// Runs a command in the foreground with our own input and output.
pub fn status(command: &mut Command) -> Result<ExitStatus, Failure> {
    go_on()?;
    let child = command.spawn().map_err(|error| could_not_start(command, &error))?;
    wait(child)
}

fn wait(mut child: Child) -> Result<ExitStatus, Failure> {
    *lock(&FOREGROUND) = Some(Target::Process(child.id()));
    let status = child.wait();
    *lock(&FOREGROUND) = None;
    go_on()?;
    Ok(status?)
}

/// Waits for a process that leads a group of its own; `None` if it had to be ended after `limit`.
/// Nothing that it started is left behind.
fn wait_at_most(mut child: Child, limit: Duration) -> Result<Option<ExitStatus>, Failure> {
    let group = Target::Group(child.id());
    *lock(&FOREGROUND) = Some(group);
    let status = poll(&mut child, limit);
    if matches!(status, Ok(None)) {
        signal("TERM", group);
        let _ = poll(&mut child, Duration::from_secs(10));
    }
    signal("KILL", group);
    let _ = child.wait();
    *lock(&FOREGROUND) = None;
    go_on()?;
    Ok(status?)
}

fn poll(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait()? {
            None if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
            status => return Ok(status),
        }
    }
}

/// Runs a command that must succeed, under a headline.
pub fn check(what: &str, command: &mut Command) -> Result<(), Failure> {
    say(what);
    let status = status(command)?;
    if status.success() { Ok(()) } else { Err(format!("{what}: {} {status}", show(command)).into()) }
}

/// Runs a command without showing its output unless it fails. Answers what it wrote.
pub fn quiet(command: &mut Command) -> Result<String, Failure> {
    go_on()?;
    let output = command.output().map_err(|error| could_not_start(command, &error))?;
    go_on()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        return Ok(out.into_owned());
    }
    Err(format!("{} {}\n{out}{err}", show(command), output.status).into())
}

/// What came of a command that ran under a time limit.
#[derive(Debug)]
pub struct Recorded {
    /// How it ended; `None` if the limit ended it.
    pub status: Option<ExitStatus>,
    /// What it wrote, both streams.
    pub output: String,
}

impl Recorded {
    /// Whether it ended by itself, without a complaint.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Runs a command in the foreground, at most for `limit`, and also keeps what it writes.
pub fn recorded(command: &mut Command, limit: Duration) -> Result<Recorded, Failure> {
    go_on()?;
    let mut child = command
        .stdin(Stdio::null())
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| could_not_start(command, &error))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let out = thread::spawn(move || out.map(|stream| tee(stream, io::stdout())).unwrap_or_default());
    let err = thread::spawn(move || err.map(|stream| tee(stream, io::stderr())).unwrap_or_default());
    let status = wait_at_most(child, limit);
    let mut output = out.join().unwrap_or_default();
    output.push_str(&err.join().unwrap_or_default());
    let status = status?;
    if status.is_none() {
        eprintln!("\nxtask: {} was ended: it took longer than {} s", show(command), limit.as_secs());
    }
    Ok(Recorded { status, output })
}

/// Copies a stream line by line and keeps it.
fn tee(from: impl Read, mut to: impl Write) -> String {
    let mut kept = Vec::new();
    let mut reader = BufReader::new(from);
    loop {
        let start = kept.len();
        match reader.read_until(b'\n', &mut kept) {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                let _ = to.write_all(&kept[start..]).and_then(|()| to.flush());
            }
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn could_not_start(command: &Command, error: &io::Error) -> Failure {
    format!("could not start {}: {error}", command.get_program().to_string_lossy()).into()
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// A process in the background, stopped when dropped.
#[derive(Debug)]
pub struct Background {
    name: &'static str,
    child: Child,
    stop_signal: &'static str,
}

impl Background {
    /// Starts it in a process group of its own, so that Ctrl-C doesn't reach it before us.
    pub fn start(name: &'static str, stop_signal: &'static str, command: &mut Command) -> Result<Self, Failure> {
        go_on()?;
        let child =
            command.stdin(Stdio::null()).process_group(0).spawn().map_err(|error| could_not_start(command, &error))?;
        Ok(Background { name, child, stop_signal })
    }

    /// Polls until `ready` says so. Fails when the process ends before, or after `limit`.
    pub fn await_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<(), Failure> {
        let end = Instant::now() + limit;
        while !ready() {
            go_on()?;
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended before it was ready: {status}", self.name).into());
            }
            if Instant::now() > end {
                return Err(format!("{} was not ready within {limit:?}", self.name).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if !self.runs() {
            return;
        }
        signal(self.stop_signal, Target::Process(self.child.id()));
        let end = Instant::now() + Duration::from_secs(20);
        while self.runs() {
            if Instant::now() > end {
                eprintln!("xtask: {} does not end by itself, it is killed", self.name);
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Recorded {
        recorded(Command::new("sh").args(["-c", script]), limit).unwrap()
    }

    #[test]
    fn what_ends_by_itself_is_kept() {
        let ran = shell("echo out; echo err >&2", Duration::from_secs(20));
        assert!(ran.succeeded());
        assert_eq!(ran.output, "out\nerr\n");
        assert!(!shell("exit 3", Duration::from_secs(20)).succeeded());
    }

    #[test]
    fn what_hangs_is_ended_with_all_it_started() {
        let started = Instant::now();
        let ran = shell("echo begun; sleep 50 & sleep 50", Duration::from_millis(300));
        assert!(ran.status.is_none());
        assert_eq!(ran.output, "begun\n");
        assert!(started.elapsed() < Duration::from_secs(9));
    }
}
