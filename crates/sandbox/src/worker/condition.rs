//! Conditions. A fresh context costs a hundred times what a condition does, so the conditions of one
//! owner share a context whose objects are all frozen; compiled functions are kept by their text.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use rquickjs::function::Args;
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Function, Object, Persistent, Runtime, Value};
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
            let trial = Trial { ctx: &ctx, driver, frame, budget };
            Ok(trial.run(compiled).unwrap_or_else(|failure| trial.end(failure)))
        })
    }
}

/// One evaluation in progress.
struct Trial<'a, 'js> {
    ctx: &'a Ctx<'js>,
    driver: Object<'js>,
    frame: &'a RunFrame<'a>,
    budget: Budget,
}

/// What the driver says of a condition that waits for a promise.
const PENDING: i32 = 2;

impl<'js> Trial<'_, 'js> {
    fn run(&self, compiled: &mut HashMap<String, Compiled>) -> Result<DoneFrame, Failure> {
        let condition = self.compiled(compiled)?;
        let function = self.check(condition.function.restore(self.ctx))?;
        let first: i32 = self.ask("evaluate", (function, self.frame.variables.get(), condition.pure))?;
        self.drain()?;
        let promise = first == PENDING;
        let status = if promise { self.ask("settled", ())? } else { first };
        if status == PENDING {
            let message = "the condition waits for a promise that nothing will resolve";
            return Err(failure::plain(Class::Unfinished, message));
        }
        let variables = self.variables()?;
        let result = RawValue::from_string((status == 1).to_string()).ok();
        Ok(DoneFrame { result, promise, variables, logs: self.logs(), ..DoneFrame::default() })
    }

    fn compiled(&self, compiled: &mut HashMap<String, Compiled>) -> Result<Compiled, Failure> {
        if let Some(known) = compiled.get(&*self.frame.source) {
            return Ok(known.clone());
        }
        let fresh = self.check(compile(self.ctx, &self.driver, &self.frame.source, &self.frame.name))?;
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        compiled.insert(self.frame.source.clone().into_owned(), fresh.clone());
        Ok(fresh)
    }

    fn variables(&self) -> Result<Option<Box<RawValue>>, Failure> {
        let text: Option<String> = self.ask("changed", ())?;
        if text.as_ref().is_some_and(|text| text.len() > self.frame.limits.output) {
            return Err(failure::plain(Class::Limit, "the condition leaves too much data"));
        }
        Ok(text.and_then(|text| RawValue::from_string(text).ok()))
    }

    fn logs(&self) -> Vec<Log> {
        let text: Option<String> = self.ask("logs", ()).unwrap_or_default();
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Runs what promises left to do.
    fn drain(&self) -> Result<(), Failure> {
        while self.ctx.execute_pending_job() {
            if self.budget.over() {
                return Err(self.budget.failure(&self.frame.limits));
            }
        }
        Ok(())
    }

    fn ask<R: rquickjs::FromJs<'js>>(
        &self,
        name: &str,
        args: impl rquickjs::function::IntoArgs<'js>,
    ) -> Result<R, Failure> {
        self.check(self.driver.get::<_, Function>(name).and_then(|function| function.call(args)))
    }

    fn check<T>(&self, result: rquickjs::Result<T>) -> Result<T, Failure> {
        let ours = |_: &str| PREFIX.len() as u32;
        result.catch(self.ctx).map_err(|caught| match caught {
            _ if self.budget.over() => self.budget.failure(&self.frame.limits),
            CaughtError::Exception(exception) => failure::of(self.ctx, exception.as_value(), ours),
            CaughtError::Value(value) => failure::of(self.ctx, &value, ours),
            CaughtError::Error(error) => failure::plain(Class::Other("Error".to_owned()), error.to_string()),
        })
    }

    /// Ends a failed evaluation. A context that ran out of time or memory isn't used again, nor is one that
    /// still has something to do.
    fn end(&self, failure: Failure) -> DoneFrame {
        let worn = matches!(failure.class, Class::Timeout | Class::Memory) || self.drain().is_err();
        DoneFrame { worn, ..failed(failure) }
    }
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
