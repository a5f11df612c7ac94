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
static FOREGROUND: Mutex<Option<u32>> = Mutex::new(None);

/// Starts listening for SIGINT and SIGTERM.
pub fn watch_signals() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    thread::spawn(move || {
        for _ in signals.forever() {
            STOP.store(true, Ordering::SeqCst);
            if let Some(pid) = *lock(&FOREGROUND) {
                signal("TERM", pid);
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
fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
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
    *lock(&FOREGROUND) = Some(child.id());
    let status = child.wait();
    *lock(&FOREGROUND) = None;
    go_on()?;
    Ok(status?)
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

/// Runs a command in the foreground and also keeps what it writes on both streams.
pub fn recorded(command: &mut Command) -> Result<(ExitStatus, String), Failure> {
    go_on()?;
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| could_not_start(command, &error))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let out = thread::spawn(move || out.map(|stream| tee(stream, io::stdout())).unwrap_or_default());
    let err = thread::spawn(move || err.map(|stream| tee(stream, io::stderr())).unwrap_or_default());
    let status = wait(child);
    let mut text = out.join().unwrap_or_default();
    text.push_str(&err.join().unwrap_or_default());
    Ok((status?, text))
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
        signal(self.stop_signal, self.child.id());
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
