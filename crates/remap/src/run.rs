//! Runs a program.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use crate::{
    Error,
    parse::{Expr, Path, Root, Step},
};

/// Most expressions that are evaluated.
const MOST_STEPS: usize = 20_000;
/// Most bytes of all values that are made.
const MOST_BYTES: usize = 64 << 20;

struct State {
    data: Value,
    variables: HashMap<String, Value>,
    steps: usize,
    bytes: usize,
}

/// What ends an expression before its value is there.
enum Exit {
    Error(Error),
    Return(Value),
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Exit::Error(error)
    }
}

pub(crate) fn run(program: &[Expr], data: Value) -> Result<(Value, Value), Error> {
    let mut state = State { data, variables: HashMap::new(), steps: MOST_STEPS, bytes: MOST_BYTES };
    let result = match state.all(program) {
        Ok(value) | Err(Exit::Return(value)) => value,
        Err(Exit::Error(error)) => return Err(error),
    };
    Ok((result, state.data))
}

impl State {
    fn all(&mut self, expressions: &[Expr]) -> Result<Value, Exit> {
        let mut last = Value::Null;
        for expression in expressions {
            last = self.value(expression)?;
        }
        Ok(last)
    }

    fn value(&mut self, expression: &Expr) -> Result<Value, Exit> {
        self.steps = self.steps.checked_sub(1).ok_or(Error::TooMuch)?;
        let value = self.evaluated(expression)?;
        self.bytes = self.bytes.checked_sub(size(&value)).ok_or(Error::TooMuch)?;
        Ok(value)
    }

    fn evaluated(&mut self, expression: &Expr) -> Result<Value, Exit> {
        Ok(match expression {
            Expr::Literal(value) => value.clone(),
            Expr::Template(pieces) => self.text(pieces)?.into(),
            Expr::Path(path) => self.get(path)?,
            Expr::Of(inner, steps) => descend(&self.value(inner)?, steps).cloned().unwrap_or(Value::Null),
            Expr::Array(items) => Value::Array(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?),
            Expr::Object(members) => {
                let mut object = Map::new();
                for (name, value) in members {
                    object.insert(name.clone(), self.value(value)?);
                }
                Value::Object(object)
            }
            Expr::Block(expressions) => self.all(expressions)?,
            Expr::If(test, then, otherwise) => match (self.value(test)?, otherwise) {
                (Value::Bool(true), _) => self.value(then)?,
                (Value::Bool(false), Some(otherwise)) => self.value(otherwise)?,
                (Value::Bool(false), None) => Value::Null,
                _ => return Err(Error::failed("a condition must be true or false").into()),
            },
            Expr::Not(inner) => match self.value(inner)? {
                Value::Bool(yes) => (!yes).into(),
                _ => return Err(Error::failed("\"!\" takes true or false").into()),
            },
            Expr::Negative(inner) => match self.value(inner)? {
                Value::Number(number) => number_of(-number.as_f64().unwrap_or_default(), number.is_i64()),
                _ => return Err(Error::failed("\"-\" takes a number").into()),
            },
            Expr::Binary(sign, left, right) => self.binary(sign, left, right)?,
            Expr::Assign(path, value) => {
                let value = self.value(value)?;
                self.set(path, value.clone())?;
                value
            }
            Expr::Try(to, failure, attempt) => match self.value(attempt) {
                Ok(value) => {
                    self.set_some(to.as_ref(), value.clone())?;
                    self.set_some(failure.as_ref(), Value::Null)?;
                    value
                }
                Err(Exit::Error(Error::Failed(reason))) => {
                    self.set_some(to.as_ref(), Value::Null)?;
                    self.set_some(failure.as_ref(), reason.clone().into())?;
                    reason.into()
                }
                Err(other) => return Err(other),
            },
            Expr::Call(function, arguments) => {
                let arguments = arguments.iter().map(|argument| self.value(argument)).collect::<Result<Vec<_>, _>>()?;
                (function.run)(&arguments)?
            }
            Expr::Delete(path) => self.delete(path),
            Expr::Exists(path) => self.find(path).is_some().into(),
            Expr::Abort => return Err(Error::Aborted.into()),
            Expr::Return(value) => return Err(Exit::Return(self.value(value)?)),
        })
    }

    fn text(&mut self, pieces: &[(String, Option<Path>)]) -> Result<String, Exit> {
        let mut out = String::new();
        for (text, path) in pieces {
            out.push_str(text);
            if let Some(path) = path {
                match self.get(path)? {
                    Value::String(text) => out.push_str(&text),
                    _ => return Err(Error::failed("a template in a text holds a text").into()),
                }
            }
        }
        Ok(out)
    }

    fn binary(&mut self, sign: &'static str, left: &Expr, right: &Expr) -> Result<Value, Exit> {
        if sign == "??" {
            return match self.value(left) {
                Err(Exit::Error(Error::Failed(_))) => self.value(right),
                value => value,
            };
        }
        let left = self.value(left)?;
        if matches!((sign, &left), ("||", Value::Null | Value::Bool(false)) | ("&&", Value::Bool(true))) {
            return self.value(right);
        }
        match (sign, &left) {
            ("||", _) => return Ok(left),
            ("&&", Value::Bool(false) | Value::Null) => return Ok(false.into()),
            ("&&", _) => return Err(Error::failed("\"&&\" takes true or false").into()),
            _ => {}
        }
        let right = self.value(right)?;
        Ok(match sign {
            "==" => (left == right).into(),
            "!=" => (left != right).into(),
            "<" | ">" | "<=" | ">=" => compared(sign, &left, &right)?.into(),
            "|" => match (left, right) {
                (Value::Object(mut left), Value::Object(right)) => {
                    left.extend(right);
                    Value::Object(left)
                }
                _ => return Err(Error::failed("\"|\" takes two objects").into()),
            },
            sign => calculated(sign, &left, &right)?,
        })
    }

    fn find(&self, path: &Path) -> Option<&Value> {
        let root = match &path.root {
            Root::Data => &self.data,
            Root::Variable(name) => self.variables.get(name)?,
        };
        descend(root, &path.steps)
    }

    fn get(&self, path: &Path) -> Result<Value, Error> {
        if let Root::Variable(name) = &path.root
            && !self.variables.contains_key(name)
        {
            return Err(Error::failed(format!("the variable \"{name}\" is not set")));
        }
        Ok(self.find(path).cloned().unwrap_or(Value::Null))
    }

    fn set_some(&mut self, path: Option<&Path>, value: Value) -> Result<(), Error> {
        path.map_or(Ok(()), |path| self.set(path, value))
    }

    fn set(&mut self, path: &Path, value: Value) -> Result<(), Error> {
        let mut place = match &path.root {
            Root::Data => &mut self.data,
            Root::Variable(name) => self.variables.entry(name.clone()).or_insert(Value::Null),
        };
        for step in &path.steps {
            place = match step {
                Step::Field(name) => {
                    if !place.is_object() {
                        *place = Value::Object(Map::new());
                    }
                    let Value::Object(members) = place else { return Err(Error::TooMuch) };
                    members.entry(name.clone()).or_insert(Value::Null)
                }
                Step::Index(index) => {
                    let Value::Array(items) = place else {
                        return Err(Error::failed("only what is in an array already is set by its index"));
                    };
                    let index = position(*index, items.len());
                    index
                        .and_then(|index| items.get_mut(index))
                        .ok_or_else(|| Error::failed("only what is in an array already is set by its index"))?
                }
            };
        }
        *place = value;
        Ok(())
    }

    fn delete(&mut self, path: &Path) -> Value {
        let root = match &path.root {
            Root::Data => &mut self.data,
            Root::Variable(name) => match self.variables.get_mut(name) {
                Some(value) => value,
                None => return Value::Null,
            },
        };
        let Some((last, before)) = path.steps.split_last() else {
            return std::mem::replace(root, Value::Null);
        };
        let mut place = root;
        for step in before {
            let next = match (step, place) {
                (Step::Field(name), Value::Object(members)) => members.get_mut(name),
                (Step::Index(index), Value::Array(items)) => {
                    position(*index, items.len()).and_then(|index| items.get_mut(index))
                }
                _ => None,
            };
            match next {
                Some(next) => place = next,
                None => return Value::Null,
            }
        }
        match (last, place) {
            (Step::Field(name), Value::Object(members)) => members.shift_remove(name).unwrap_or(Value::Null),
            (Step::Index(index), Value::Array(items)) => {
                position(*index, items.len()).map_or(Value::Null, |index| items.remove(index))
            }
            _ => Value::Null,
        }
    }
}

fn descend<'v>(mut value: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    for step in steps {
        value = match (step, value) {
            (Step::Field(name), Value::Object(members)) => members.get(name)?,
            (Step::Index(index), Value::Array(items)) => items.get(position(*index, items.len())?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// Of an index that counts from the end if it is negative.
fn position(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index + length as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index < length)
}

fn compared(sign: &str, left: &Value, right: &Value) -> Result<bool, Error> {
    let order = match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    let order = order.ok_or_else(|| Error::failed(format!("\"{sign}\" takes two numbers or two texts")))?;
    Ok(match sign {
        "<" => order.is_lt(),
        ">" => order.is_gt(),
        "<=" => order.is_le(),
        _ => order.is_ge(),
    })
}

fn calculated(sign: &str, left: &Value, right: &Value) -> Result<Value, Error> {
    let wrong = || Error::failed(format!("\"{sign}\" can't be done with these values"));
    if sign == "+" && (left.is_string() || right.is_string()) {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Null => Some(String::new()),
            _ => None,
        };
        return Ok(format!("{}{}", text(left).ok_or_else(wrong)?, text(right).ok_or_else(wrong)?).into());
    }
    if let (Some(a), Some(b)) = (left.as_i64(), right.as_i64()) {
        let whole = match sign {
            "+" => a.checked_add(b),
            "-" => a.checked_sub(b),
            "*" => a.checked_mul(b),
            "%" => a.checked_rem(b),
            _ => None,
        };
        if let Some(whole) = whole {
            return Ok(whole.into());
        }
    }
    let (Some(a), Some(b)) = (left.as_f64(), right.as_f64()) else { return Err(wrong()) };
    let result = match sign {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "%" => a % b,
        _ => a / b,
    };
    if result.is_finite() { Ok(number_of(result, false)) } else { Err(wrong()) }
}

fn number_of(number: f64, whole: bool) -> Value {
    if whole {
        return (number as i64).into();
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// Roughly how many bytes a value takes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 16,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 16,
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>() + 16,
        _ => 16,
    }
}
