//! Conditions. A fresh context costs a hundred times what a condition does, so the conditions of one
//! owner share a context whose objects are all frozen; compiled functions are kept by their text.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use rquickjs::function::Args;
use rquickjs::{CatchResultExt, Context, Ctx, Function, Object, Persistent, Runtime, Value};
use serde_json::value::RawValue;

use super::{Budget, failed, failure};
use crate::Log;
use crate::error::Class;
use crate::wire::{DoneFrame, Failure, RunFrame};

const BASE: &str = include_str!("../js/condition.js");
/// Compiled conditions kept for one owner.
const KEPT: usize = 1024;
/// Bytes allocated between two collections.
const COLLECT: usize = 8 << 20;

/// All owners' contexts, over one runtime.
pub struct Conditions {
    most: usize,
    world: Option<World>,
}

struct World {
    // Dropped before the runtime, which they point into.
    rooms: HashMap<String, Room>,
    clock: u64,
    budget: Rc<Cell<Option<Budget>>>,
    runtime: Runtime,
}

struct Room {
    used: u64,
    compiled: HashMap<String, Compiled>,
    driver: Persistent<Object<'static>>,
    context: Context,
}

#[derive(Clone)]
struct Compiled {
    function: Persistent<Function<'static>>,
    /// Whether the text can't change anything, so that nothing need be written back.
    pure: bool,
}

impl Conditions {
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), world: None }
    }

    /// Evaluates one condition.
    pub fn run(&mut self, frame: &RunFrame<'_>) -> DoneFrame {
        let done = self.attempt(frame).unwrap_or_else(|error| {
            let mut done = failed(failure::plain(Class::Killed, format!("the script engine failed: {error}")));
            done.worn = true;
            done
        });
        if done.worn {
            self.world = None;
        }
        done
    }

    fn attempt(&mut self, frame: &RunFrame<'_>) -> rquickjs::Result<DoneFrame> {
        let most = self.most;
        let world = match &mut self.world {
            Some(world) => world,
            none => none.insert(World::new()?),
        };
        world.runtime.set_memory_limit(frame.limits.memory);
        world.runtime.set_max_stack_size(frame.limits.stack);
        world.make_room(&frame.owner, most)?;
        let budget = Budget::of(&frame.limits);
        world.budget.set(Some(budget));
        let Some(room) = world.rooms.get_mut(&*frame.owner) else { return Err(rquickjs::Error::Unknown) };
        let done = room.evaluate(frame, budget);
        world.budget.set(None);
        done
    }
}

impl World {
    fn new() -> rquickjs::Result<Self> {
        let runtime = Runtime::new()?;
        runtime.set_gc_threshold(COLLECT);
        let budget: Rc<Cell<Option<Budget>>> = Rc::default();
        let watched = budget.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || watched.get().is_some_and(|budget| budget.over()))));
        Ok(Self { rooms: HashMap::new(), clock: 0, budget, runtime })
    }

    /// A context for the owner; the one unused longest goes.
    fn make_room(&mut self, owner: &str, most: usize) -> rquickjs::Result<()> {
        self.clock += 1;
        if let Some(room) = self.rooms.get_mut(owner) {
            room.used = self.clock;
            return Ok(());
        }
        if self.rooms.len() >= most {
            let oldest = self.rooms.iter().min_by_key(|(_, room)| room.used).map(|(owner, _)| owner.clone());
            oldest.map(|owner| self.rooms.remove(&owner));
        }
        let room = Room::new(&self.runtime, self.clock)?;
        self.rooms.insert(owner.to_owned(), room);
        Ok(())
    }
}

impl Room {
    fn new(runtime: &Runtime, used: u64) -> rquickjs::Result<Self> {
        let context = Context::full(runtime)?;
        let driver = context.with(|ctx| {
            let make: Function = eval(&ctx, BASE, "duologue:condition")?;
            let native = Object::new(ctx.clone())?;
            super::native::add(&ctx, &native)?;
            native.set("builtin", Function::new(ctx.clone(), super::engine::builtin)?)?;
            let driver: Object = make.call((native,))?;
            rquickjs::Result::Ok(Persistent::save(&ctx, driver))
        })?;
        Ok(Self { used, compiled: HashMap::new(), driver, context })
    }

    fn evaluate(&mut self, frame: &RunFrame<'_>, budget: Budget) -> rquickjs::Result<DoneFrame> {
        let Self { compiled, driver, context, .. } = self;
        let driver = driver.clone();
        context.with(|ctx| {
            let driver = driver.restore(&ctx)?;
            let ours = PREFIX.len() as u32;
            let end = |ctx: &Ctx<'_>, failure: Failure| {
                let over = budget.over();
                let mut done = failed(if over { budget.failure(&frame.limits) } else { failure });
                done.worn = over || done.failure.as_ref().is_some_and(|failure| failure.class == Class::Memory);
                while !done.worn && ctx.execute_pending_job() {
                    done.worn = budget.over();
                }
                done
            };
            let caught = |ctx: &Ctx<'_>, error: rquickjs::Error| {
                let failure = match Err::<(), _>(error).catch(ctx) {
                    Err(rquickjs::CaughtError::Exception(exception)) => {
                        failure::of(ctx, exception.as_value(), |_| ours)
                    }
                    Err(rquickjs::CaughtError::Value(value)) => failure::of(ctx, &value, |_| ours),
                    Err(rquickjs::CaughtError::Error(error)) => {
                        failure::plain(Class::Other("Error".to_owned()), error.to_string())
                    }
                    Ok(()) => failure::plain(Class::Killed, "no error"),
                };
                end(ctx, failure)
            };
            let known = match compiled.get(&*frame.source) {
                Some(known) => known.clone(),
                None => match compile(&ctx, &driver, &frame.source, &frame.name) {
                    Ok(fresh) => {
                        if compiled.len() >= KEPT {
                            compiled.clear();
                        }
                        compiled.insert(frame.source.clone().into_owned(), fresh.clone());
                        fresh
                    }
                    Err(error) => return Ok(caught(&ctx, error)),
                },
            };
            let function = known.function.restore(&ctx)?;
            let mut status = match call::<i32>(&driver, "evaluate", (function, frame.variables.get(), known.pure)) {
                Ok(status) => status,
                Err(error) => return Ok(caught(&ctx, error)),
            };
            while ctx.execute_pending_job() {
                if budget.over() {
                    return Ok(end(&ctx, budget.failure(&frame.limits)));
                }
            }
            let promise = status == 2;
            if promise {
                status = match call(&driver, "settled", ()) {
                    Ok(status) => status,
                    Err(error) => return Ok(caught(&ctx, error)),
                };
            }
            if status == 2 {
                let message = "the condition waits for a promise that nothing will resolve";
                return Ok(end(&ctx, failure::plain(Class::Unfinished, message)));
            }
            if budget.over() {
                return Ok(end(&ctx, budget.failure(&frame.limits)));
            }
            let variables: Option<String> = match call(&driver, "changed", ()) {
                Ok(variables) => variables,
                Err(error) => return Ok(caught(&ctx, error)),
            };
            if variables.as_ref().is_some_and(|text| text.len() > frame.limits.output) {
                return Ok(end(&ctx, failure::plain(Class::Limit, "the condition leaves too much data")));
            }
            let logs: Option<String> = call(&driver, "logs", ()).unwrap_or_default();
            let logs: Vec<Log> = logs.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            let result = RawValue::from_string(if status == 1 { "true" } else { "false" }.to_owned()).ok();
            let variables = variables.and_then(|text| RawValue::from_string(text).ok());
            Ok(DoneFrame { result, promise, variables, logs, ..DoneFrame::default() })
        })
    }
}

fn call<'js, R: rquickjs::FromJs<'js>>(
    driver: &Object<'js>,
    name: &str,
    args: impl rquickjs::function::IntoArgs<'js>,
) -> rquickjs::Result<R> {
    driver.get::<_, Function>(name)?.call(args)
}

const PREFIX: &str = "((event,user,session,temp,bot,workflow,console,Buffer,require)=>{return ";

fn compile<'js>(ctx: &Ctx<'js>, driver: &Object<'js>, source: &str, name: &str) -> rquickjs::Result<Compiled> {
    let function: Function = eval(ctx, &format!("{PREFIX}{}\n}})", source.trim_start()), name)?;
    let freeze: Function = driver.get("freeze")?;
    let mut args = Args::new(ctx.clone(), 1);
    args.push_arg(function.clone())?;
    freeze.call_arg::<Value>(args)?;
    Ok(Compiled { function: Persistent::save(ctx, function), pure: is_pure(source) })
}

/// Evaluates a script as sloppy code under a file name.
pub fn eval<'js, R: rquickjs::FromJs<'js>>(ctx: &Ctx<'js>, source: &str, name: &str) -> rquickjs::Result<R> {
    let mut options = rquickjs::context::EvalOptions::default();
    options.strict = false;
    options.filename = Some(name.replace('\0', ""));
    ctx.eval_with_options(source, options)
}

/// Whether a text can't change what it reads: no call, no assignment, no increment, no `delete`. The variables
/// come from JSON, so reading a member runs no code. Says no when in doubt.
fn is_pure(source: &str) -> bool {
    if source.contains(['(', '`', '\\', '{']) {
        return false;
    }
    if source.contains("++") || source.contains("--") || source.contains("delete") || source.contains("=>") {
        return false;
    }
    let bytes = source.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'=' {
            at += 1;
            continue;
        }
        let run = bytes[at..].iter().take_while(|byte| **byte == b'=').count();
        let before = at.checked_sub(1).map(|at| bytes[at]);
        let comparison = match run {
            1 => {
                matches!(before, Some(b'!' | b'<' | b'>'))
                    && !source[..at].ends_with("<<")
                    && !source[..at].ends_with(">>")
            }
            2 | 3 => true,
            _ => false,
        };
        if !comparison {
            return false;
        }
        at += run;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_pure;

    #[test]
    fn knows_what_may_change_something() {
        for pure in
            ["true", "temp.a === 1", "temp['a'] != 2 && !user.b", "a >= 1 || b <= 2", "event.nlu.intent.name == \"x\""]
        {
            assert!(is_pure(pure), "{pure}");
        }
        for other in
            ["temp.a = 1", "a.push(1)", "temp.n++", "delete temp.x", "a >>= 1", "a <<= 1", "a += 1", "f`x`", "a ||= 1"]
        {
            assert!(!is_pure(other), "{other}");
        }
    }
}
