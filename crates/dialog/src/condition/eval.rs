//! The evaluator of native conditions.

use std::{borrow::Cow, cmp::Ordering};

use super::{
    Variables, Verdict,
    parse::{Conversion, Expr, Method, Operator, Root},
};
use crate::{
    js,
    value::{Text, Value},
};

/// Why an evaluation has no value.
enum Trouble {
    /// A `TypeError` was thrown.
    Type,
    /// A `ReferenceError` was thrown.
    Reference(Text),
    /// Only the engine knows.
    Ask,
}

type Result<'a> = std::result::Result<Cow<'a, Value>, Trouble>;

pub(super) fn verdict(expr: &Expr, variables: Variables<'_>) -> Verdict {
    match eval(expr, &variables) {
        Ok(value) => Verdict::Is(value.truthy()),
        Err(Trouble::Type) => Verdict::Is(false),
        Err(Trouble::Reference(name)) => Verdict::ReferenceError(name),
        Err(Trouble::Ask) => Verdict::Ask,
    }
}

fn own<'a>(value: impl Into<Value>) -> Result<'a> {
    Ok(Cow::Owned(value.into()))
}

fn eval<'a>(expr: &'a Expr, variables: &Variables<'a>) -> Result<'a> {
    match expr {
        Expr::Literal(value) => Ok(Cow::Borrowed(value)),
        Expr::Root(root) => Ok(self::root(*root, variables)),
        Expr::Unknown(name) => Err(Trouble::Reference(name.clone())),
        Expr::Member(object, name) => member(eval(object, variables)?, name),
        Expr::Index(object, index) => {
            let object = eval(object, variables)?;
            if object.is_nullish() {
                // The index is evaluated first, but all it can do is throw as well.
                eval(index, variables)?;
                return Err(Trouble::Type);
            }
            let index = eval(index, variables)?;
            member(object, &js::primitive_to_string(&index).ok_or(Trouble::Ask)?)
        }
        Expr::Method(receiver, method, arguments) => call(receiver, *method, arguments, variables),
        Expr::Convert(conversion, argument) => convert(*conversion, argument.as_deref(), variables),
        Expr::Test(regexp, argument) => {
            let subject = eval(argument, variables)?;
            let subject = js::primitive_to_string(&subject).ok_or(Trouble::Ask)?;
            own(regexp.test(&subject).ok_or(Trouble::Ask)?)
        }
        Expr::Not(operand) => own(!eval(operand, variables)?.truthy()),
        Expr::Negate(operand) => own(-js::to_number(&*eval(operand, variables)?).ok_or(Trouble::Ask)?),
        Expr::Plus(operand) => own(js::to_number(&*eval(operand, variables)?).ok_or(Trouble::Ask)?),
        Expr::TypeOf(operand) => match &**operand {
            Expr::Unknown(_) => own("undefined"),
            operand => own(js::type_of(&*eval(operand, variables)?)),
        },
        Expr::Binary(operator, a, b) => binary(*operator, &*eval(a, variables)?, &*eval(b, variables)?),
        Expr::And(a, b) => {
            let left = eval(a, variables)?;
            if left.truthy() { eval(b, variables) } else { Ok(left) }
        }
        Expr::Or(a, b) => {
            let left = eval(a, variables)?;
            if left.truthy() { Ok(left) } else { eval(b, variables) }
        }
        Expr::Choose(condition, yes, no) => {
            if eval(condition, variables)?.truthy() {
                eval(yes, variables)
            } else {
                eval(no, variables)
            }
        }
    }
}

fn root<'a>(root: Root, variables: &Variables<'a>) -> Cow<'a, Value> {
    let value = match root {
        Root::Event => variables.event,
        Root::User => variables.user,
        Root::Session => variables.session,
        Root::Temp => variables.temp,
        Root::Bot => variables.bot,
        Root::Workflow => return Cow::Owned(Value::object()),
    };
    if value.truthy() { Cow::Borrowed(value) } else { Cow::Owned(Value::object()) }
}

fn member<'a>(object: Cow<'a, Value>, name: &str) -> Result<'a> {
    match object {
        Cow::Borrowed(object) => Ok(Cow::Borrowed(match object {
            Value::Undefined | Value::Null => return Err(Trouble::Type),
            Value::Object(members) => match members.get(name) {
                Some(value) => value,
                None => return inherited(name),
            },
            Value::Array(items) => match (name, name.parse::<usize>()) {
                ("length", _) => return own(items.len() as f64),
                (_, Ok(index)) if index.to_string() == name => items.get(index).unwrap_or(&Value::Undefined),
                _ => return Err(Trouble::Ask),
            },
            Value::String(text) if name == "length" => return own(js::length(text) as f64),
            _ => return Err(Trouble::Ask),
        })),
        Cow::Owned(object) => {
            let value = member(Cow::Borrowed(&object), name)?.into_owned();
            Ok(Cow::Owned(value))
        }
    }
}

/// A member that an object doesn't have itself: undefined, unless every object inherits it.
fn inherited<'a>(name: &str) -> Result<'a> {
    match name {
        "constructor"
        | "toString"
        | "toLocaleString"
        | "valueOf"
        | "hasOwnProperty"
        | "isPrototypeOf"
        | "propertyIsEnumerable" => Err(Trouble::Ask),
        name if name.starts_with("__") => Err(Trouble::Ask),
        _ => Ok(Cow::Owned(Value::Undefined)),
    }
}

fn call<'a>(receiver: &'a Expr, method: Method, arguments: &'a [Expr], variables: &Variables<'a>) -> Result<'a> {
    let receiver = eval(receiver, variables)?;
    if receiver.is_nullish() {
        return Err(Trouble::Type);
    }
    let argument = match arguments.first() {
        Some(argument) => eval(argument, variables)?,
        None => Cow::Owned(Value::Undefined),
    };
    match &*receiver {
        Value::String(text) => call_on_text(text, method, &argument),
        Value::Array(items) => call_on_list(items, method, &argument),
        // An object, number or boolean has no such method, so calling it throws a TypeError.
        _ => Err(Trouble::Type),
    }
}

fn call_on_text<'a>(text: &str, method: Method, argument: &Value) -> Result<'a> {
    let wanted = || argument.as_str().ok_or(Trouble::Ask);
    match method {
        Method::ToLowerCase => own(known_case(text)?.to_lowercase()),
        Method::ToUpperCase => own(known_case(text)?.to_uppercase()),
        Method::Trim => own(text.trim_matches(js::is_space)),
        Method::Includes => own(text.contains(wanted()?)),
        Method::StartsWith => own(text.starts_with(wanted()?)),
        Method::EndsWith => own(text.ends_with(wanted()?)),
        Method::IndexOf => own(text.find(wanted()?).map_or(-1.0, |at| js::length(&text[..at]) as f64)),
    }
}

/// The text, if all its letters have had their case mappings since long before any engine: Latin, Greek,
/// Cyrillic. Elsewhere an engine may know another version of Unicode.
fn known_case(text: &str) -> std::result::Result<&str, Trouble> {
    if text.is_ascii() || text.chars().all(|c| c < '\u{530}') { Ok(text) } else { Err(Trouble::Ask) }
}

fn call_on_list<'a>(items: &[Value], method: Method, argument: &Value) -> Result<'a> {
    // Undefined differs between the two methods where a list has holes; NaN differs always.
    if matches!(argument, Value::Array(_) | Value::Object(_) | Value::Undefined) {
        return Err(Trouble::Ask);
    }
    let found = items.iter().position(|item| js::strict_equal(item, argument) == Some(true));
    match method {
        Method::Includes => {
            let nan = |value: &Value| matches!(value, Value::Number(number) if number.is_nan());
            own(found.is_some() || (nan(argument) && items.iter().any(nan)))
        }
        Method::IndexOf => own(found.map_or(-1.0, |at| at as f64)),
        // Lists don't have the others.
        _ => Err(Trouble::Type),
    }
}

fn convert<'a>(conversion: Conversion, argument: Option<&'a Expr>, variables: &Variables<'a>) -> Result<'a> {
    let value = argument.map(|argument| eval(argument, variables)).transpose()?;
    match (conversion, value) {
        (Conversion::Number, None) => own(0.0),
        (Conversion::String, None) => own(""),
        (Conversion::Boolean, None) => own(false),
        (Conversion::Number, Some(value)) => own(js::to_number(&value).ok_or(Trouble::Ask)?),
        (Conversion::String, Some(value)) => own(js::primitive_to_string(&value).ok_or(Trouble::Ask)?),
        (Conversion::Boolean, Some(value)) => own(value.truthy()),
    }
}

fn binary<'a>(operator: Operator, a: &Value, b: &Value) -> Result<'a> {
    let number = |value: &Value| js::to_number(value).ok_or(Trouble::Ask);
    let ordered = |holds: fn(Ordering) -> bool| match js::compare(a, b) {
        Some(order) => own(order.is_some_and(holds)),
        None => Err(Trouble::Ask),
    };
    match operator {
        Operator::StrictEqual => own(js::strict_equal(a, b).ok_or(Trouble::Ask)?),
        Operator::StrictUnequal => own(!js::strict_equal(a, b).ok_or(Trouble::Ask)?),
        Operator::Equal => own(js::loose_equal(a, b).ok_or(Trouble::Ask)?),
        Operator::Unequal => own(!js::loose_equal(a, b).ok_or(Trouble::Ask)?),
        Operator::Less => ordered(Ordering::is_lt),
        Operator::LessEqual => ordered(Ordering::is_le),
        Operator::Greater => ordered(Ordering::is_gt),
        Operator::GreaterEqual => ordered(Ordering::is_ge),
        Operator::Add => match (a, b) {
            (Value::String(_), _) | (_, Value::String(_)) => {
                let (a, b) = (js::primitive_to_string(a), js::primitive_to_string(b));
                own(a.ok_or(Trouble::Ask)? + &b.ok_or(Trouble::Ask)?)
            }
            _ => own(number(a)? + number(b)?),
        },
        Operator::Subtract => own(number(a)? - number(b)?),
        Operator::Multiply => own(number(a)? * number(b)?),
        Operator::Divide => own(number(a)? / number(b)?),
        Operator::Remainder => own(number(a)? % number(b)?),
    }
}
