//! The parser of native conditions: a small, side-effect free part of JavaScript. Anything else, `None`.

use super::regexp::Regexp;
use crate::{
    js,
    value::{Text, Value},
};

/// How deep expressions may nest; deeper ones are the script engine's.
const MAX_DEPTH: usize = 48;
/// How many operators an expression may have: a chain of them is evaluated by recursion.
const MAX_OPERATORS: usize = 200;

#[derive(Clone, Debug)]
pub(super) enum Expr {
    Literal(Value),
    Root(Root),
    /// A name that doesn't exist.
    Unknown(Text),
    Member(Box<Expr>, Text),
    Index(Box<Expr>, Box<Expr>),
    Method(Box<Expr>, Method, Vec<Expr>),
    Convert(Conversion, Option<Box<Expr>>),
    Test(Regexp, Box<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Plus(Box<Expr>),
    TypeOf(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Choose(Box<Expr>, Box<Expr>, Box<Expr>),
}

impl Expr {
    /// Visits this expression and all in it, but not what `typeof` may ask about.
    pub(super) fn visit(&self, seen: &mut impl FnMut(&Expr)) {
        seen(self);
        match self {
            Expr::Literal(_) | Expr::Root(_) | Expr::Unknown(_) | Expr::Convert(_, None) => {}
            Expr::TypeOf(inner) if matches!(**inner, Expr::Unknown(_)) => {}
            Expr::Member(inner, _)
            | Expr::Convert(_, Some(inner))
            | Expr::Test(_, inner)
            | Expr::Not(inner)
            | Expr::Negate(inner)
            | Expr::Plus(inner)
            | Expr::TypeOf(inner) => inner.visit(seen),
            Expr::Index(a, b) | Expr::Binary(_, a, b) | Expr::And(a, b) | Expr::Or(a, b) => {
                a.visit(seen);
                b.visit(seen);
            }
            Expr::Choose(a, b, c) => {
                a.visit(seen);
                b.visit(seen);
                c.visit(seen);
            }
            Expr::Method(receiver, _, arguments) => {
                receiver.visit(seen);
                arguments.iter().for_each(|argument| argument.visit(seen));
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Root {
    Event,
    User,
    Session,
    Temp,
    Bot,
    Workflow,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Method {
    ToLowerCase,
    ToUpperCase,
    Trim,
    Includes,
    StartsWith,
    EndsWith,
    IndexOf,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Conversion {
    Number,
    String,
    Boolean,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operator {
    StrictEqual,
    StrictUnequal,
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Names that mean something to an engine, or can't be names: never an unknown variable.
#[rustfmt::skip]
const ENGINE_NAMES: &[&str] = &[
    "globalThis", "global", "window", "self", "Infinity", "NaN", "Object", "Array", "Function", "Symbol", "BigInt",
    "Math", "JSON", "Date", "RegExp", "Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError",
    "TypeError", "URIError", "AggregateError", "InternalError", "Map", "Set", "WeakMap", "WeakSet", "WeakRef",
    "FinalizationRegistry", "Promise", "Proxy", "Reflect", "Intl", "Atomics", "SharedArrayBuffer", "ArrayBuffer",
    "DataView", "Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array", "Int32Array",
    "Uint32Array", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array", "WebAssembly", "Iterator",
    "Generator", "parseInt", "parseFloat", "isNaN", "isFinite", "eval", "escape", "unescape", "encodeURI",
    "encodeURIComponent", "decodeURI", "decodeURIComponent", "console", "Buffer", "process", "require", "module",
    "exports", "setTimeout", "setInterval", "setImmediate", "clearTimeout", "clearInterval", "clearImmediate",
    "queueMicrotask", "structuredClone", "performance", "URL", "URLSearchParams", "TextEncoder", "TextDecoder",
    "AbortController", "Event", "EventTarget", "fetch", "arguments", "undefined", "print", "std", "os", "bjson",
    "navigator", "VMError", "Float16Array", "gc", "atob", "btoa",
];

#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "await", "async", "break", "case", "catch", "class", "const", "continue", "debugger", "default", "delete", "do",
    "else", "enum", "export", "extends", "finally", "for", "function", "if", "implements", "import", "in",
    "instanceof", "interface", "let", "new", "of", "package", "private", "protected", "public", "return", "static",
    "super", "switch", "this", "throw", "try", "typeof", "var", "void", "while", "with", "yield", "get", "set",
];

/// Parses a whole expression; `None` if it isn't in the native part of the language.
pub(super) fn parse(text: &str) -> Option<Expr> {
    let mut parser = Parser { text, at: 0, depth: 0, operators: 0 };
    let expr = parser.ternary()?;
    parser.space();
    (parser.at == text.len()).then_some(expr)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    operators: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(js::is_space).len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn count(&mut self) -> Option<()> {
        self.operators += 1;
        (self.operators <= MAX_OPERATORS).then_some(())
    }

    fn ternary(&mut self) -> Option<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let condition = self.or()?;
        self.space();
        let expr = if self.rest().starts_with('?') && !self.rest().starts_with("??") && !self.rest().starts_with("?.") {
            self.at += 1;
            let yes = self.ternary()?;
            if !self.eat(":") {
                return None;
            }
            let no = self.ternary()?;
            Expr::Choose(condition.into(), yes.into(), no.into())
        } else {
            condition
        };
        self.depth -= 1;
        Some(expr)
    }

    fn or(&mut self) -> Option<Expr> {
        let mut left = self.and()?;
        while self.eat("||") {
            self.count()?;
            left = Expr::Or(left.into(), self.and()?.into());
        }
        Some(left)
    }

    fn and(&mut self) -> Option<Expr> {
        let mut left = self.equality()?;
        while self.eat("&&") {
            self.count()?;
            left = Expr::And(left.into(), self.equality()?.into());
        }
        Some(left)
    }

    fn binary(&mut self, operators: &[(&str, Operator)], operand: fn(&mut Self) -> Option<Expr>) -> Option<Expr> {
        let mut left = operand(self)?;
        'more: loop {
            self.space();
            for (token, operator) in operators {
                // `a =- b`, `a << b`, `a -= b`, `a ++ b` and the like aren't ours.
                let after = self.rest().strip_prefix(token).map(|rest| rest.chars().next().unwrap_or(' '));
                match after {
                    None => continue,
                    Some('=' | '<' | '>' | '+' | '*') => return None,
                    Some('-') if *operator == Operator::Subtract => return None,
                    Some(_) => {}
                }
                self.at += token.len();
                self.count()?;
                left = Expr::Binary(*operator, left.into(), operand(self)?.into());
                continue 'more;
            }
            return Some(left);
        }
    }

    fn equality(&mut self) -> Option<Expr> {
        let operators = [
            ("===", Operator::StrictEqual),
            ("!==", Operator::StrictUnequal),
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
        ];
        self.binary(&operators, Self::relation)
    }

    fn relation(&mut self) -> Option<Expr> {
        let operators = [
            ("<=", Operator::LessEqual),
            (">=", Operator::GreaterEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        self.binary(&operators, Self::sum)
    }

    fn sum(&mut self) -> Option<Expr> {
        self.binary(&[("+", Operator::Add), ("-", Operator::Subtract)], Self::product)
    }

    fn product(&mut self) -> Option<Expr> {
        let operators = [("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)];
        self.binary(&operators, Self::unary)
    }

    fn unary(&mut self) -> Option<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.space();
        let rest = self.rest();
        let expr = if rest.starts_with("++") || rest.starts_with("--") {
            return None;
        } else if self.eat("!") {
            Expr::Not(self.unary()?.into())
        } else if self.eat("-") {
            Expr::Negate(self.unary()?.into())
        } else if self.eat("+") {
            Expr::Plus(self.unary()?.into())
        } else if self.word("typeof") {
            Expr::TypeOf(self.unary()?.into())
        } else {
            self.postfix()?
        };
        self.depth -= 1;
        Some(expr)
    }

    /// Eats a word that ends here.
    fn word(&mut self, word: &str) -> bool {
        self.space();
        let found = self.rest().strip_prefix(word).is_some_and(|rest| !rest.starts_with(is_name_part));
        if found {
            self.at += word.len();
        }
        found
    }

    fn name(&mut self) -> Option<&str> {
        self.space();
        let start = self.at;
        let rest = self.rest();
        if !rest.starts_with(|c: char| is_name_part(c) && !c.is_ascii_digit()) {
            return None;
        }
        let end = rest.find(|c| !is_name_part(c)).unwrap_or(rest.len());
        // Names beyond ASCII and escapes in names are left to the engine.
        if !rest[..end].is_ascii() || rest[end..].starts_with('\\') {
            return None;
        }
        self.at += end;
        Some(&self.text[start..start + end])
    }

    fn postfix(&mut self) -> Option<Expr> {
        let mut expr = self.primary()?;
        // A chain of members is parsed in a loop but evaluated by recursion.
        for _ in 0..MAX_DEPTH {
            self.space();
            if self.rest().starts_with("?.") {
                return None;
            }
            if self.eat(".") {
                let name = self.name()?.to_owned();
                self.space();
                expr = if self.rest().starts_with('(') { self.method(expr, &name)? } else { member(expr, &name)? };
            } else if self.eat("[") {
                let index = self.ternary()?;
                if !self.eat("]") {
                    return None;
                }
                expr = match index {
                    Expr::Literal(Value::String(name)) => member(expr, &name)?,
                    // A computed member of the event could be one that only the engine knows.
                    _ if matches!(expr, Expr::Root(Root::Event)) => return None,
                    index => Expr::Index(expr.into(), index.into()),
                };
            } else {
                let rest = self.rest();
                let foreign = rest.starts_with('(') || rest.starts_with('`');
                return if foreign || rest.starts_with("++") || rest.starts_with("--") { None } else { Some(expr) };
            }
        }
        None
    }

    fn arguments(&mut self) -> Option<Vec<Expr>> {
        let mut arguments = Vec::new();
        if !self.eat("(") {
            return None;
        }
        if self.eat(")") {
            return Some(arguments);
        }
        loop {
            arguments.push(self.ternary()?);
            if self.eat(")") {
                return Some(arguments);
            }
            if !self.eat(",") {
                return None;
            }
        }
    }

    fn method(&mut self, receiver: Expr, name: &str) -> Option<Expr> {
        let arguments = self.arguments()?;
        let (method, count) = match name {
            "toLowerCase" => (Method::ToLowerCase, 0),
            "toUpperCase" => (Method::ToUpperCase, 0),
            "trim" => (Method::Trim, 0),
            "includes" => (Method::Includes, 1),
            "startsWith" => (Method::StartsWith, 1),
            "endsWith" => (Method::EndsWith, 1),
            "indexOf" => (Method::IndexOf, 1),
            _ => return None,
        };
        (arguments.len() == count).then(|| Expr::Method(receiver.into(), method, arguments))
    }

    fn primary(&mut self) -> Option<Expr> {
        self.space();
        match self.rest().chars().next()? {
            '(' => {
                self.at += 1;
                let expr = self.ternary()?;
                self.eat(")").then_some(expr)
            }
            quote @ ('\'' | '"') => self.string(quote),
            '0'..='9' | '.' => self.number(),
            '/' => self.regexp(),
            _ => self.identifier(),
        }
    }

    fn identifier(&mut self) -> Option<Expr> {
        let name = self.name()?.to_owned();
        Some(match name.as_str() {
            "event" => Expr::Root(Root::Event),
            "user" => Expr::Root(Root::User),
            "session" => Expr::Root(Root::Session),
            "temp" => Expr::Root(Root::Temp),
            "bot" => Expr::Root(Root::Bot),
            "workflow" => Expr::Root(Root::Workflow),
            "true" => Expr::Literal(Value::Bool(true)),
            "false" => Expr::Literal(Value::Bool(false)),
            "null" => Expr::Literal(Value::Null),
            "undefined" => Expr::Literal(Value::Undefined),
            "NaN" => Expr::Literal(Value::Number(f64::NAN)),
            "Infinity" => Expr::Literal(Value::Number(f64::INFINITY)),
            "Number" | "String" | "Boolean" => return self.conversion(&name),
            name if RESERVED.contains(&name) || ENGINE_NAMES.contains(&name) => return None,
            name => Expr::Unknown(name.into()),
        })
    }

    fn conversion(&mut self, name: &str) -> Option<Expr> {
        let conversion = match name {
            "Number" => Conversion::Number,
            "String" => Conversion::String,
            _ => Conversion::Boolean,
        };
        let mut arguments = self.arguments()?.into_iter();
        let argument = arguments.next().map(Box::new);
        arguments.next().is_none().then_some(Expr::Convert(conversion, argument))
    }

    fn string(&mut self, quote: char) -> Option<Expr> {
        let mut text = String::new();
        let source = self.text;
        let mut chars = source[self.at + 1..].char_indices();
        let start = self.at + 1;
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    self.at = start + at + 1;
                    return Some(Expr::Literal(Value::text(text)));
                }
                '\n' | '\r' => return None,
                '\\' => text.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    plain @ ('\\' | '\'' | '"' | '/' | '.' | ' ' | '-' | '$') => plain,
                    'u' => {
                        let digits: Option<String> = (0..4).map(|_| chars.next().map(|(_, c)| c)).collect();
                        let digits = digits?;
                        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                            return None;
                        }
                        // Half of a pair isn't a character: the engine's.
                        char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                    }
                    _ => return None,
                }),
                c => text.push(c),
            }
        }
        None
    }

    fn number(&mut self) -> Option<Expr> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut end = 0;
        while end < bytes.len() {
            let sign = matches!(bytes[end], b'+' | b'-') && end > 0 && matches!(bytes[end - 1], b'e' | b'E');
            if !(bytes[end].is_ascii_digit() || matches!(bytes[end], b'.' | b'e' | b'E') || sign) {
                break;
            }
            end += 1;
        }
        let text = &rest[..end];
        let legacy = text.len() > 1 && text.starts_with('0') && text.as_bytes()[1].is_ascii_digit();
        if legacy || rest[end..].starts_with(is_name_part) {
            return None;
        }
        let number = js::string_to_number(text);
        if number.is_nan() {
            return None;
        }
        self.at += end;
        Some(Expr::Literal(Value::Number(number)))
    }

    /// `/…/flags.test(x)`, nothing else of a regular expression.
    fn regexp(&mut self) -> Option<Expr> {
        let body = &self.rest()[1..];
        let (mut in_class, mut escaped) = (false, false);
        let end = body.char_indices().find_map(|(at, c)| {
            let ends = c == '/' && !in_class && !escaped;
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '[' => in_class = true,
                ']' => in_class = false,
                _ => {}
            }
            ends.then_some(at)
        })?;
        let source = body[..end].to_owned();
        let flags: String = body[end + 1..].chars().take_while(|&c| is_name_part(c)).collect();
        self.at += 1 + end + 1 + flags.len();
        if !self.eat(".") || self.name()? != "test" {
            return None;
        }
        let mut arguments = self.arguments()?;
        let argument = arguments.pop().filter(|_| arguments.is_empty())?;
        Some(Expr::Test(Regexp::compile(&source, &flags)?, argument.into()))
    }
}

fn is_name_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || (!c.is_ascii() && !js::is_space(c))
}

/// A member by a known name. Members that live in the engine's event object only are the engine's.
fn member(object: Expr, name: &str) -> Option<Expr> {
    let engine_only = match &object {
        Expr::Root(Root::Event) => matches!(name, "setFlag" | "hasFlag" | "flags" | "createdOn" | "processing"),
        Expr::Member(inner, state) => {
            &**state == "state" && matches!(**inner, Expr::Root(Root::Event)) && matches!(name, "workflow" | "context")
        }
        _ => false,
    };
    (!engine_only).then(|| Expr::Member(object.into(), name.into()))
}
