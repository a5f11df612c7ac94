//! One run of an action, hook or content type: a runtime and a context of its own, made ahead of
//! need and dropped afterwards.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::function::{Args, Opt};
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Exception, Function, Object, Persistent, Runtime, Value};
use serde_json::value::RawValue;

use super::bytecode;
use super::channel::Channel;
use super::condition::eval;
use super::{Budget, Error, failure};
use crate::error::Class;
use crate::wire::{self, DoneFrame, Failure, FileAnswer, FileRequest, RunFrame, to_parent, to_worker};
use crate::{Kind, Level, Limits, Log};

/// Bytes allocated between two collections.
const COLLECT: usize = 4 << 20;
/// Promises whose rejections are remembered until somebody handles them.
const MOST_REJECTIONS: usize = 20;
/// Limits of an engine before it knows its run; ours alone runs under them.
const BEFORE: usize = 64 << 20;

/// The function of one of our own modules, null if there is none of this name.
pub fn builtin<'js>(ctx: Ctx<'js>, name: String) -> rquickjs::Result<Value<'js>> {
    let function = if name == bytecode::CORE { None } else { bytecode::function(&ctx, &name)? };
    Ok(function.map_or_else(|| Value::new_null(ctx), Function::into_value))
}

/// What the native functions of one run share.
struct World {
    channel: Rc<Channel>,
    limits: RefCell<Limits>,
    budget: Cell<Option<Budget>>,
    /// Files may be asked for.
    calls: Cell<u32>,
    pending: Cell<u32>,
    logs: RefCell<Vec<Log>>,
    /// Why promises were rejected that nobody has waited for so far.
    rejections: RefCell<Vec<String>>,
    logged: Cell<usize>,
    dropped: Cell<usize>,
    /// Columns of line 1 that are ours, by file.
    shifts: RefCell<HashMap<String, u32>>,
    /// A limit that was passed, whatever the script made of the error.
    passed: RefCell<Option<Failure>>,
    /// The pipe to the parent broke.
    broken: RefCell<Option<Error>>,
}

/// An engine, good for one run.
pub struct Engine {
    driver: Persistent<Object<'static>>,
    context: Context,
    runtime: Runtime,
    world: Rc<World>,
}

impl Engine {
    /// A fresh engine with our own part of the environment in it.
    pub fn new(channel: &Rc<Channel>) -> Result<Self, Error> {
        let world = Rc::new(World {
            channel: channel.clone(),
            limits: RefCell::new(Limits::of(&Kind::Action)),
            budget: Cell::default(),
            calls: Cell::default(),
            pending: Cell::default(),
            logs: RefCell::default(),
            rejections: RefCell::default(),
            logged: Cell::default(),
            dropped: Cell::default(),
            shifts: RefCell::default(),
            passed: RefCell::default(),
            broken: RefCell::default(),
        });
        let runtime = Runtime::new()?;
        runtime.set_gc_threshold(COLLECT);
        runtime.set_memory_limit(BEFORE);
        let watched = world.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || watched.must_stop())));
        let watched = world.clone();
        runtime.set_host_promise_rejection_tracker(Some(Box::new(move |ctx, _, reason, is_handled| {
            watched.rejected(&ctx, &reason, is_handled);
        })));
        let context = Context::full(&runtime)?;
        let driver = context.with(|ctx| {
            let make = bytecode::function(&ctx, bytecode::CORE)?.ok_or(rquickjs::Error::Unknown)?;
            let driver: Object = make.call((natives(&ctx, &world)?,))?;
            rquickjs::Result::Ok(Persistent::save(&ctx, driver))
        })?;
        Ok(Self { driver, context, runtime, world })
    }

    /// Runs the script. An error means that the parent is gone.
    pub fn run(&self, frame: &RunFrame<'_>) -> Result<DoneFrame, Error> {
        self.runtime.set_memory_limit(frame.limits.memory);
        self.runtime.set_max_stack_size(frame.limits.stack);
        *self.world.limits.borrow_mut() = frame.limits.clone();
        self.world.budget.set(Some(Budget::of(&frame.limits)));
        let driver = self.driver.clone();
        let done = self.context.with(|ctx| {
            let driver = driver.restore(&ctx)?;
            let turn = Turn { ctx: &ctx, driver, world: &self.world, frame };
            Ok::<_, Error>(turn.run())
        })?;
        if let Some(error) = self.world.broken.take() {
            return Err(error);
        }
        let mut done = done?;
        self.world.log_rejections();
        done.logs = self.world.take_logs();
        Ok(done)
    }
}

/// One run in progress.
struct Turn<'a, 'js> {
    ctx: &'a Ctx<'js>,
    driver: Object<'js>,
    world: &'a Rc<World>,
    frame: &'a RunFrame<'a>,
}

impl<'js> Turn<'_, 'js> {
    fn run(&self) -> Result<DoneFrame, Error> {
        let ended = self.begin().and_then(|()| self.wait());
        let failure = match ended {
            Ok(()) => self.outcome()?,
            Err(Stop::Failed(failure)) => Some(failure),
            Err(Stop::Broken(error)) => return Err(error),
        };
        // Ours from here on: reading what the script left gets a little time of its own.
        self.world.extend(Duration::from_millis(100));
        let mut done = DoneFrame { failure, ..DoneFrame::default() };
        if let Err(failure) = self.collect(&mut done) {
            done.failure.get_or_insert(failure);
        }
        let class = done.failure.as_ref().map(|failure| &failure.class);
        done.worn = matches!(class, Some(Class::Memory | Class::Timeout | Class::Killed));
        Ok(done)
    }

    fn begin(&self) -> Result<(), Stop> {
        let (kind, function, args) = match &*self.frame.kind {
            Kind::Condition | Kind::Action => ("action", None, "[]".to_owned()),
            Kind::Hook => ("hook", None, "[]".to_owned()),
            Kind::Module { function, args } => {
                ("module", function.as_deref(), serde_json::to_string(args).map_err(Error::from)?)
            }
        };
        let flags = serde_json::to_string(&self.frame.flags).map_err(Error::from)?;
        let mut all = Args::new(self.ctx.clone(), 9);
        let pushed = all
            .push_arg(kind)
            .and_then(|()| all.push_arg(&*self.frame.name))
            .and_then(|()| all.push_arg(&*self.frame.source))
            .and_then(|()| all.push_arg(self.frame.variables.get()))
            .and_then(|()| all.push_arg(flags))
            .and_then(|()| all.push_arg(self.frame.process.to_string()))
            .and_then(|()| all.push_arg(self.frame.has_files))
            .and_then(|()| all.push_arg(function))
            .and_then(|()| all.push_arg(args));
        self.check(pushed.and_then(|()| self.function("begin")?.call_arg::<()>(all)))
    }

    /// Goes on until the script's promise is settled and no host call or timer is open.
    fn wait(&self) -> Result<(), Stop> {
        loop {
            self.drain()?;
            let settled: bool = self.ask("settled")?;
            let timer: f64 = self.ask("nextTimer")?;
            if self.world.pending.get() == 0 && timer < 0.0 {
                let message =
                    "the script waits for a promise that nothing will resolve: no host call and no timer is open";
                let unfinished = Stop::Failed(failure::plain(Class::Unfinished, message));
                return if settled { Ok(()) } else { Err(unfinished) };
            }
            if timer != 0.0 {
                self.sleep(timer)?;
            }
            if self.ask::<f64>("nextTimer")? == 0.0 {
                let fired = self.function("fireTimer").and_then(|fire| fire.call::<_, ()>(()));
                self.check(fired)?;
            }
        }
    }

    /// Waits for an answer, at most `timer` milliseconds if that isn't negative.
    fn sleep(&self, timer: f64) -> Result<(), Stop> {
        let budget = self.world.budget.get().unwrap_or_else(|| Budget::of(&self.frame.limits));
        let timer = (timer >= 0.0).then(|| timer.ceil() as u64);
        let due = timer.and_then(|timer| Instant::now().checked_add(Duration::from_millis(timer)));
        let until = due.map_or(budget.total_end, |due| due.min(budget.total_end));
        self.world.channel.send(to_parent::IDLE, &wire::Idle { timer })?;
        let answer = self.world.channel.answer(until)?;
        let Some(answer) = answer else {
            return if Instant::now() >= budget.total_end { Err(self.overrun()) } else { Ok(()) };
        };
        self.world.pending.set(self.world.pending.get().saturating_sub(1));
        let (ok, text) = match answer.result {
            Ok(value) => (true, value.to_string()),
            Err(message) => (false, message),
        };
        self.check(self.function("answer").and_then(|function| function.call::<_, ()>((answer.id, ok, text))))
    }

    fn drain(&self) -> Result<(), Stop> {
        loop {
            self.limits()?;
            if !self.ctx.execute_pending_job() {
                return Ok(());
            }
        }
    }

    /// What stops a run whatever its script makes of errors.
    fn limits(&self) -> Result<(), Stop> {
        if let Some(error) = self.world.broken.take() {
            return Err(Stop::Broken(error));
        }
        if let Some(failure) = self.world.passed.take() {
            return Err(Stop::Failed(failure));
        }
        if self.world.budget.get().is_some_and(|budget| budget.over()) { Err(self.overrun()) } else { Ok(()) }
    }

    fn overrun(&self) -> Stop {
        let budget = self.world.budget.get().unwrap_or_else(|| Budget::of(&self.frame.limits));
        Stop::Failed(budget.failure(&self.frame.limits))
    }

    /// The failure of a script that rejected.
    fn outcome(&self) -> Result<Option<Failure>, Error> {
        let rejected = self.function("rejected").and_then(|function| function.call::<_, Option<Object>>(()));
        match self.check(rejected) {
            Ok(None) => Ok(None),
            Ok(Some(holder)) => {
                let thrown = holder.get::<_, Value>("value")?;
                Ok(Some(self.describe(&thrown)))
            }
            Err(Stop::Failed(failure)) => Ok(Some(failure)),
            Err(Stop::Broken(error)) => Err(error),
        }
    }

    /// Result, variables and flags as the script left them.
    fn collect(&self, done: &mut DoneFrame) -> Result<(), Failure> {
        let failed = |stop| match stop {
            Stop::Failed(failure) => failure,
            Stop::Broken(error) => failure::plain(Class::Killed, error.to_string()),
        };
        if done.failure.is_none() {
            done.promise = self.ask("promised").map_err(failed)?;
            done.result = self.text("result").map_err(failed)?;
        }
        done.variables = self.text("variables").map_err(failed)?;
        let flags: Option<String> = self.ask("flags").map_err(failed)?;
        done.flags = flags.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Ok(())
    }

    fn text(&self, name: &str) -> Result<Option<Box<RawValue>>, Stop> {
        let Some(text) = self.ask::<Option<String>>(name)? else { return Ok(None) };
        let most = self.frame.limits.output;
        if text.len() > most {
            let message = format!("the script leaves {} bytes of data; the limit is {most}", text.len());
            return Err(Stop::Failed(failure::plain(Class::Limit, message)));
        }
        Ok(Some(RawValue::from_string(text).map_err(Error::from)?))
    }

    fn function(&self, name: &str) -> rquickjs::Result<Function<'js>> {
        self.driver.get(name)
    }

    fn ask<R: rquickjs::FromJs<'js>>(&self, name: &str) -> Result<R, Stop> {
        self.check(self.function(name).and_then(|function| function.call(())))
    }

    fn check<T>(&self, result: rquickjs::Result<T>) -> Result<T, Stop> {
        let caught = match result.catch(self.ctx) {
            Ok(value) => return Ok(value),
            Err(caught) => caught,
        };
        self.limits()?;
        Err(Stop::Failed(match caught {
            CaughtError::Exception(exception) => self.describe(exception.as_value()),
            CaughtError::Value(value) => self.describe(&value),
            CaughtError::Error(error) => failure::plain(Class::Other("Error".to_owned()), error.to_string()),
        }))
    }

    fn describe(&self, thrown: &Value<'js>) -> Failure {
        let shifts = self.world.shifts.borrow();
        let failure = failure::of(self.ctx, thrown, |file| shifts.get(file).copied().unwrap_or(0));
        // Describing runs code of the script, too: its getters.
        let over = self.world.budget.get().filter(|budget| budget.over() || failure.class == Class::Timeout);
        if let Some(budget) = over {
            return budget.failure(&self.frame.limits);
        }
        match failure.class {
            Class::Memory if !thrown.is_null() => {
                let message = format!("the script needs more memory than its {} bytes", self.frame.limits.memory);
                Failure { message, ..failure }
            }
            _ => failure,
        }
    }
}

/// Why a run doesn't go on.
enum Stop {
    Failed(Failure),
    Broken(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl World {
    fn must_stop(&self) -> bool {
        self.broken.borrow().is_some()
            || self.passed.borrow().is_some()
            || self.budget.get().is_some_and(|budget| budget.over())
    }

    fn extend(&self, by: Duration) {
        if let Some(budget) = self.budget.get() {
            let cpu_end = budget.cpu_end.max(super::lockdown::cpu() + by);
            let total_end = budget.total_end.max(Instant::now() + by);
            self.budget.set(Some(Budget { cpu_end, total_end, ..budget }));
        }
    }

    fn now(&self) -> f64 {
        self.budget.get().map_or(0.0, |budget| budget.started.elapsed().as_secs_f64() * 1000.0)
    }

    /// Sends a host call; refuses those beyond the limits.
    fn call(&self, ctx: &Ctx<'_>, method: &str, args: &str) -> rquickjs::Result<u32> {
        let limits = self.limits.borrow();
        if self.calls.get() >= limits.calls {
            let message = format!("the script made more than {} host calls", limits.calls);
            self.passed.replace(Some(failure::plain(Class::Limit, &*message)));
            return Err(Exception::throw_message(ctx, &message));
        }
        if self.pending.get() >= limits.pending_calls {
            let message =
                format!("more than {} host calls are open at one time: await some first", limits.pending_calls);
            return Err(Exception::throw_message(ctx, &message));
        }
        if args.len() > limits.output {
            let message = format!("{method} was given more than {} bytes", limits.output);
            return Err(Exception::throw_message(ctx, &message));
        }
        let args = serde_json::from_str(args).map_err(|error| {
            Exception::throw_message(ctx, &format!("{method}: the arguments can't be sent: {error}"))
        })?;
        let id = self.calls.get() + 1;
        self.calls.set(id);
        self.pending.set(self.pending.get() + 1);
        self.sent(ctx, self.channel.send(to_parent::CALL, &wire::Call { id, method: method.to_owned(), args }))?;
        Ok(id)
    }

    fn file<'js>(&self, ctx: &Ctx<'js>, from: String, request: String) -> rquickjs::Result<Option<Vec<String>>> {
        self.sent(ctx, self.channel.send(to_parent::FILE, &FileRequest { from, request }))?;
        let body = self.sent(ctx, self.channel.expect(to_worker::FILE))?;
        let answer: FileAnswer = self.sent(ctx, serde_json::from_slice(&body).map_err(Error::from))?;
        Ok(answer.found.map(|(path, source)| vec![path.into_owned(), source.into_owned()]))
    }

    fn sent<T>(&self, ctx: &Ctx<'_>, result: Result<T, Error>) -> rquickjs::Result<T> {
        result.map_err(|error| {
            self.broken.replace(Some(error));
            Exception::throw_message(ctx, "the parent is gone")
        })
    }

    fn log(&self, level: &str, text: String) {
        let room = self.limits.borrow().log.saturating_sub(self.logged.get());
        if text.len() > room || self.logs.borrow().len() >= 1000 {
            self.dropped.set(self.dropped.get() + 1);
            return;
        }
        self.logged.set(self.logged.get() + text.len());
        let level = match level {
            "debug" => Level::Debug,
            "warn" => Level::Warn,
            "error" => Level::Error,
            _ => Level::Info,
        };
        self.logs.borrow_mut().push(Log { level, text });
    }

    /// A promise was rejected while nobody waited for it; or somebody does now.
    fn rejected<'js>(&self, ctx: &Ctx<'js>, reason: &Value<'js>, is_handled: bool) {
        let Failure { class, message, file, line, .. } =
            failure::of(ctx, reason, |file| self.shifts.borrow().get(file).copied().unwrap_or(0));
        let place = file.zip(line).map(|(file, line)| format!(" ({file}:{line})")).unwrap_or_default();
        let text = format!("a promise was rejected, and nothing handles that: {class}: {message}{place}");
        let mut rejections = self.rejections.borrow_mut();
        if !is_handled && rejections.len() < MOST_REJECTIONS {
            rejections.push(text);
        } else if is_handled && let Some(at) = rejections.iter().position(|known| *known == text) {
            rejections.remove(at);
        }
    }

    fn log_rejections(&self) {
        for text in self.rejections.take() {
            self.log("error", text);
        }
    }

    fn take_logs(&self) -> Vec<Log> {
        let mut logs = self.logs.take();
        let dropped = self.dropped.get();
        if dropped > 0 {
            logs.push(Log { level: Level::Warn, text: format!("{dropped} more log lines were dropped") });
        }
        logs
    }

    fn compile<'js>(
        &self,
        ctx: &Ctx<'js>,
        source: &str,
        file: &str,
        before: &str,
        after: &str,
    ) -> rquickjs::Result<Value<'js>> {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let hashbang = if source.starts_with("#!") { "//" } else { "" };
        let file = file.replace('\0', "");
        self.shifts.borrow_mut().insert(file.clone(), (before.chars().count() + hashbang.len()) as u32);
        eval(ctx, &format!("{before}{hashbang}{source}\n{after}"), &file)
    }
}

/// The functions that our JavaScript gets. Users' code never sees the object.
fn natives<'js>(ctx: &Ctx<'js>, world: &Rc<World>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    super::native::add(ctx, &native)?;
    native.set("builtin", Function::new(ctx.clone(), builtin)?)?;
    let w = world.clone();
    native.set("now", Function::new(ctx.clone(), move || w.now())?)?;
    let w = world.clone();
    let call = move |ctx: Ctx<'js>, method: String, args: String| w.call(&ctx, &method, &args);
    native.set("send", Function::new(ctx.clone(), call)?)?;
    let w = world.clone();
    let file = move |ctx: Ctx<'js>, from: String, request: String| w.file(&ctx, from, request);
    native.set("file", Function::new(ctx.clone(), file)?)?;
    let w = world.clone();
    native.set("log", Function::new(ctx.clone(), move |level: String, text: String| w.log(&level, text))?)?;
    let w = world.clone();
    let compile = move |ctx: Ctx<'js>, source: String, file: String, before: String, after: Opt<String>| {
        w.compile(&ctx, &source, &file, &before, &after.0.unwrap_or_default())
    };
    native.set("compile", Function::new(ctx.clone(), compile)?)?;
    Ok(native)
}
