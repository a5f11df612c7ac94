//! Handlers: async functions and closures `|ctx, message| async move { … }`, and how they are kept.

use std::{pin::Pin, sync::Arc};

use crate::{Context, Failure, Result};

/// An async function of a [`Context`] and an `A` that returns [`Result`]`<R>`. Never implemented by hand:
/// closures and functions of that shape are handlers.
pub trait Handler<A, R = ()>: Fn(Context, A) -> Self::Running + Send + Sync + 'static {
    /// The handler at work.
    type Running: Future<Output = Result<R>> + Send + 'static;
}

impl<A, R, F, Running> Handler<A, R> for F
where
    F: Fn(Context, A) -> Running + Send + Sync + 'static,
    Running: Future<Output = Result<R>> + Send + 'static,
{
    type Running = Running;
}

/// Something that is being handled.
pub(crate) type Work<R> = Pin<Box<dyn Future<Output = Result<R>> + Send>>;

/// A handler, whatever its type.
pub(crate) type Kept<A, R = ()> = Arc<dyn Fn(Context, A) -> Work<R> + Send + Sync>;

pub(crate) fn keep<A: 'static, R: 'static>(handler: impl Handler<A, R>) -> Kept<A, R> {
    Arc::new(move |ctx, argument| Box::pin(handler(ctx, argument)))
}

/// Keeps a handler that takes a `B` where an `A` comes.
pub(crate) fn keep_for<A: 'static, B: 'static, R: Send + 'static>(
    handler: impl Handler<B, R>,
    convert: impl Fn(&Context, A) -> Result<B> + Send + Sync + 'static,
) -> Kept<A, R> {
    Arc::new(move |ctx, argument| match convert(&ctx, argument) {
        Ok(converted) => Box::pin(handler(ctx, converted)),
        Err(failure) => Box::pin(std::future::ready(Err::<R, Failure>(failure))),
    })
}

/// Handlers by name or for any, in the order in which they were added.
pub(crate) struct Table<A, R = ()>(Vec<(Option<String>, Kept<A, R>)>);

impl<A, R> Default for Table<A, R> {
    fn default() -> Self {
        Table(Vec::new())
    }
}

impl<A, R> Table<A, R> {
    /// `*` stands for any name.
    pub fn add(&mut self, name: impl Into<String>, handler: Kept<A, R>) {
        let name = Some(name.into()).filter(|name| name != "*");
        self.0.push((name, handler));
    }

    pub fn find<'t>(&'t self, name: &'t str) -> impl Iterator<Item = &'t Kept<A, R>> {
        self.0.iter().filter(move |(of, _)| of.as_deref().is_none_or(|of| of == name)).map(|(_, handler)| handler)
    }

    /// The handler added last for exactly this name: where only one can answer.
    pub fn last<'t>(&'t self, name: &str) -> Option<&'t Kept<A, R>> {
        self.0.iter().rev().find(|(of, _)| of.as_deref() == Some(name)).map(|(_, handler)| handler)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<A: 'static> Table<A, Option<A>> {
    /// Passes something through the hooks for its name, one after the other. `None`: one of them stopped
    /// it.
    pub async fn pass(&self, name: &str, ctx: &Context, mut value: A) -> Result<Option<A>> {
        for hook in self.find(name) {
            match hook(ctx.without_hooks(), value).await? {
                Some(next) => value = next,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }
}
