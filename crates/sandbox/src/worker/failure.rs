//! From what a script threw to what its author is told.

use rquickjs::{Ctx, Object, Value};

use crate::error::Class;
use crate::wire::Failure;

/// Bytes of a message or stack that are passed on.
const LONGEST: usize = 8 << 10;

/// A failure that no line of the script stands for.
pub fn plain(class: Class, message: impl Into<String>) -> Failure {
    Failure { class, message: message.into(), stack: None, file: None, line: None, column: None }
}

/// What a thrown value means. `shift` says how many columns of line 1 of a file are ours.
pub fn of<'js>(ctx: &Ctx<'js>, thrown: &Value<'js>, shift: impl Fn(&str) -> u32) -> Failure {
    if thrown.is_null() {
        return plain(Class::Memory, "null was thrown; the engine does so when no memory is left even for an error");
    }
    let Some(object) = thrown.as_object().filter(|_| thrown.is_error()) else {
        return plain(Class::Thrown, cut(text_of(ctx, thrown)));
    };
    let message = cut(member(ctx, object, "message"));
    let class = class(&member(ctx, object, "name"), &message);
    let stack = cut(member(ctx, object, "stack"));
    let place = stack.lines().find_map(place);
    let (file, line, column) = match place {
        Some((file, line, column)) => {
            let ours = if line == 1 { shift(&file) } else { 0 };
            (Some(file), Some(line), Some(column.saturating_sub(ours).max(1)))
        }
        None => (None, None, None),
    };
    let stack = (!stack.is_empty()).then(|| theirs(&stack));
    Failure { class, message, stack, file, line, column }
}

fn class(name: &str, message: &str) -> Class {
    match name {
        "TypeError" => Class::TypeError,
        "ReferenceError" => Class::ReferenceError,
        "SyntaxError" => Class::SyntaxError,
        "RangeError" => Class::RangeError,
        "InternalError" if message == "out of memory" => Class::Memory,
        "InternalError" if message == "interrupted" => Class::Timeout,
        "InternalError" if message.contains("stack overflow") => Class::RangeError,
        "" => Class::Other("Error".to_owned()),
        name => Class::Other(name.to_owned()),
    }
}

/// A member as text; whatever the script made of it must not stop us.
fn member<'js>(ctx: &Ctx<'js>, object: &Object<'js>, name: &str) -> String {
    match object.get::<_, Value>(name) {
        Ok(value) if value.is_undefined() => String::new(),
        Ok(value) => text_of(ctx, &value),
        Err(_) => {
            ctx.catch();
            String::new()
        }
    }
}

fn text_of<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> String {
    if let Some(text) = value.as_string() {
        return text.to_string().unwrap_or_default();
    }
    let json = if value.is_object() { ctx.json_stringify(value.clone()).ok().flatten() } else { None };
    if let Some(text) = json.and_then(|text| text.to_string().ok()) {
        return text;
    }
    ctx.catch();
    let text = value.get::<rquickjs::Coerced<String>>();
    text.map(|text| text.0).unwrap_or_else(|_| {
        ctx.catch();
        "a value that has no text".to_owned()
    })
}

/// File, line and column of a stack's line, if the file is the user's.
fn place(line: &str) -> Option<(String, u32, u32)> {
    let line = line.trim().strip_prefix("at ")?;
    let spot = line.rfind('(').map_or(line, |open| line[open + 1..].trim_end_matches(')'));
    let mut parts = spot.rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    let file = parts.next()?;
    (!ours(file)).then(|| (file.to_owned(), line, column))
}

fn ours(file: &str) -> bool {
    file.starts_with("duologue:") || file.starts_with('<') || file == "native" || file.is_empty()
}

/// A stack without the lines that stand for this crate's own code.
fn theirs(stack: &str) -> String {
    let keep = |line: &&str| !line.contains("duologue:") && !line.contains("(native)");
    stack.lines().filter(keep).map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
