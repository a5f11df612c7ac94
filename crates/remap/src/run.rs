//! Runs a program.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use crate::{
    Error,
    functions::{Context, Run},
    parse::{Block, Each, Expr, Path, Program, Root, Step},
    special,
};

/// Most expressions that are evaluated.
const MOST_STEPS: usize = 20_000;
/// Most bytes of all values that are made.
const MOST_BYTES: usize = 64 << 20;

/// How deep values may nest: what looks at them calls itself.
const DEEPEST: usize = 200;

struct State<'p> {
    context: Context<'p>,
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

/// `now` is in nanoseconds since 1970.
pub(crate) fn run(program: &Program, data: Value, now: i64) -> Result<(Value, Value), Error> {
    if measure(&data).1 > DEEPEST {
        return Err(Error::TooMuch);
    }
    let context = Context::new(now, &program.patterns);
    let mut state = State { context, data, variables: HashMap::new(), steps: MOST_STEPS, bytes: MOST_BYTES };
    let result = match state.all(&program.body) {
        Ok(value) | Err(Exit::Return(value)) => value,
        Err(Exit::Error(error)) => return Err(error),
    };
    Ok((special::plain(result), special::plain(state.data)))
}

impl State<'_> {
    fn all(&mut self, expressions: &[Expr]) -> Result<Value, Exit> {
        let mut last = Value::Null;
        for expression in expressions {
            last = self.value(expression)?;
        }
        Ok(last)
    }

    fn value(&mut self, expression: &Expr) -> Result<Value, Exit> {
        self.steps = self.steps.checked_sub(1).ok_or(Error::TooMuch)?;
        self.context.check_time()?;
        let value = self.evaluated(expression)?;
        self.charge(&value)?;
        Ok(value)
    }

    /// Counts a value that was made.
    fn charge(&mut self, value: &Value) -> Result<(), Error> {
        let (bytes, depth) = measure(value);
        if depth > DEEPEST {
            return Err(Error::TooMuch);
        }
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Error::TooMuch)?;
        Ok(())
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
                match function.run {
                    Run::Pure(run) => run(&arguments)?,
                    Run::Bound(run) => run(&mut self.context, &arguments)?,
                }
            }
            Expr::Each(each, over, block) => {
                let over = self.value(over)?;
                self.each(*each, over, block)?
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
                let value = self.get(path)?;
                self.charge(&value)?;
                match special::plain(value) {
                    Value::String(text) => out.push_str(&text),
                    _ => return Err(Error::failed("a template in a text holds a text").into()),
                }
            }
        }
        Ok(out)
    }

    /// Runs a block for each entry of an array or an object.
    fn each(&mut self, each: Each, over: Value, block: &Block) -> Result<Value, Exit> {
        // Names of the block hide variables of the same name.
        let names = block.parameters.iter().flatten();
        let hidden: Vec<_> = names.map(|name| (name.clone(), self.variables.remove(name))).collect();
        let result = match over {
            Value::Array(items) if each != Each::MapKeys => self.each_item(each, items, block),
            Value::Object(members) if !special::is_one(&members) => self.each_member(each, members, block),
            _ => Err(Error::failed("a block is run for the entries of an array or an object").into()),
        };
        for (name, value) in hidden {
            match value {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
        result
    }

    fn each_item(&mut self, each: Each, items: Vec<Value>, block: &Block) -> Result<Value, Exit> {
        let mut kept = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let answer = self.block(each, block, index.into(), item.clone())?;
            match (each, answer) {
                (Each::MapValues, answer) => kept.push(answer),
                (Each::Filter, Value::Bool(true)) => kept.push(item),
                (Each::Filter, Value::Bool(false)) | (Each::Visit | Each::MapKeys, _) => {}
                (Each::Filter, _) => return Err(Error::failed("a filter's block says true or false").into()),
            }
        }
        Ok(if each == Each::Visit { Value::Null } else { kept.into() })
    }

    fn each_member(&mut self, each: Each, members: Map<String, Value>, block: &Block) -> Result<Value, Exit> {
        let mut kept = Map::new();
        for (name, value) in members {
            let answer = self.block(each, block, name.as_str().into(), value.clone())?;
            match (each, answer) {
                (Each::MapValues, answer) => kept.insert(name, answer),
                (Each::MapKeys, Value::String(name)) => kept.insert(name, value),
                (Each::Filter, Value::Bool(true)) => kept.insert(name, value),
                (Each::Filter, Value::Bool(false)) | (Each::Visit, _) => None,
                (Each::MapKeys, _) => return Err(Error::failed("a name is a text").into()),
                (Each::Filter, _) => return Err(Error::failed("a filter's block says true or false").into()),
            };
        }
        Ok(if each == Each::Visit { Value::Null } else { kept.into() })
    }

    fn block(&mut self, each: Each, block: &Block, name: Value, value: Value) -> Result<Value, Exit> {
        self.steps = self.steps.checked_sub(1).ok_or(Error::TooMuch)?;
        self.charge(&value)?;
        let given = match each {
            Each::Visit | Each::Filter => vec![name, value],
            Each::MapValues => vec![value],
            Each::MapKeys => vec![name],
        };
        for (parameter, value) in block.parameters.iter().zip(given) {
            if let Some(parameter) = parameter {
                self.variables.insert(parameter.clone(), value);
            }
        }
        self.all(&block.body)
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
        if path.steps.len() + measure(&value).1 > DEEPEST {
            return Err(Error::TooMuch);
        }
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
        (a, b) => special::instant(a).zip(special::instant(b)).map(|(a, b)| a.cmp(&b)),
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

/// Roughly how many bytes a value takes, and how deep it nests.
fn measure(value: &Value) -> (usize, usize) {
    let all = |bytes: usize, (inner, deep): (usize, usize), depth: usize| (bytes + inner, depth.max(deep + 1));
    match value {
        Value::String(text) => (text.len() + 16, 0),
        Value::Array(items) => items.iter().fold((16, 1), |(bytes, depth), item| all(bytes, measure(item), depth)),
        Value::Object(members) => {
            members.iter().fold((16, 1), |(bytes, depth), (name, value)| all(bytes + name.len(), measure(value), depth))
        }
        _ => (16, 0),
    }
}
