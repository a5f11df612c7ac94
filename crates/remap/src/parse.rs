//! From words to a program.

use serde_json::{Number, Value};

use crate::{
    Error,
    functions::{self, Function},
    pattern::{self, Pattern},
    special,
    token::{Placed, Token, tokens},
};

/// How deep expressions may nest.
const DEEPEST: usize = 64;

/// Most steps of a path.
const LONGEST_PATH: usize = 64;

/// What a path begins with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Root {
    /// What the script works on: `.`.
    Data,
    /// A variable.
    Variable(String),
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Field(String),
    Index(i64),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path {
    pub(crate) root: Root,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Literal(Value),
    /// Texts and what stands between them.
    Template(Vec<(String, Option<Path>)>),
    Path(Path),
    /// Something of what an expression answers.
    Of(Box<Expr>, Vec<Step>),
    Array(Vec<Expr>),
    Object(Vec<(String, Expr)>),
    Block(Vec<Expr>),
    If(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Assign(Path, Box<Expr>),
    /// `value, error = …`.
    Try(Option<Path>, Option<Path>, Box<Expr>),
    Call(Function, Vec<Expr>),
    /// A function that runs a block for each entry of a collection.
    Each(Each, Box<Expr>, Block),
    Delete(Path),
    Exists(Path),
    Abort,
    Return(Box<Expr>),
}

/// What becomes of what a block answers for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Each {
    /// Nothing.
    Visit,
    /// It takes the place of the value.
    MapValues,
    /// It takes the place of the name.
    MapKeys,
    /// It says whether the entry stays.
    Filter,
}

impl Each {
    fn find(name: &str) -> Option<Self> {
        Some(match name {
            "for_each" => Each::Visit,
            "map_values" => Each::MapValues,
            "map_keys" => Each::MapKeys,
            "filter" => Each::Filter,
            _ => return None,
        })
    }

    /// How many names its block has for what it is given.
    fn parameters(self) -> usize {
        match self {
            Each::Visit | Each::Filter => 2,
            Each::MapValues | Each::MapKeys => 1,
        }
    }
}

/// A block and the names under which it gets an entry; `None` is `_`.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) parameters: Vec<Option<String>>,
    pub(crate) body: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) body: Vec<Expr>,
    pub(crate) patterns: Vec<Pattern>,
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
    patterns: Vec<Pattern>,
}

pub(crate) fn parse(script: &str) -> Result<Program, Error> {
    let mut parser = Parser { tokens: tokens(script)?, at: 0, depth: 0, patterns: Vec::new() };
    let body = parser.statements()?;
    if *parser.peek() == Token::End {
        Ok(Program { body, patterns: parser.patterns })
    } else {
        Err(parser.unexpected())
    }
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].token
    }

    fn peek_at(&self, more: usize) -> &Token {
        self.tokens.get(self.at + more).map_or(&Token::End, |placed| &placed.token)
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].token.clone();
        // The end stays.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn error(&self, text: impl Into<String>) -> Error {
        Error::Syntax { line: self.tokens[self.at].line, text: text.into() }
    }

    fn unexpected(&self) -> Error {
        let what = match self.peek() {
            Token::Word(word) => format!("\"{word}\""),
            Token::Sign(sign) => format!("\"{sign}\""),
            Token::Line => "the end of the line".to_owned(),
            Token::End => "the end of the script".to_owned(),
            _ => "this value".to_owned(),
        };
        self.error(format!("{what} is not expected here"))
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Error> {
        if self.takes(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn skip_lines(&mut self) {
        while matches!(self.peek(), Token::Line) || self.peek() == &Token::Sign(";") {
            self.next();
        }
    }

    /// Expressions up to something that ends them.
    fn statements(&mut self) -> Result<Vec<Expr>, Error> {
        let mut all = Vec::new();
        loop {
            self.skip_lines();
            if matches!(self.peek(), Token::End | Token::Sign("}")) {
                return Ok(all);
            }
            all.push(self.statement()?);
            if !matches!(self.peek(), Token::Line | Token::Sign(";" | "}") | Token::End) {
                return Err(self.unexpected());
            }
        }
    }

    fn statement(&mut self) -> Result<Expr, Error> {
        let start = self.at;
        if let Some(first) = self.target()? {
            if self.takes(",") {
                if let Some(second) = self.target()?
                    && self.takes("=")
                {
                    self.skip_lines();
                    return Ok(Expr::Try(first, second, Box::new(self.expression()?)));
                }
            } else if let Some(path) = first {
                if self.takes("=") {
                    self.skip_lines();
                    return Ok(Expr::Assign(path, Box::new(self.statement()?)));
                }
                for (sign, operator) in [("??=", "??"), ("|=", "|")] {
                    if self.takes(sign) {
                        self.skip_lines();
                        let value =
                            Expr::Binary(operator, Box::new(Expr::Path(path.clone())), Box::new(self.expression()?));
                        return Ok(Expr::Assign(path, Box::new(value)));
                    }
                }
            }
        }
        self.at = start;
        self.expression()
    }

    /// Something that can be assigned to; `Some(None)` is `_`.
    fn target(&mut self) -> Result<Option<Option<Path>>, Error> {
        match self.peek() {
            Token::Word(word) if word == "_" => {
                self.next();
                Ok(Some(None))
            }
            Token::Word(word) if is_keyword(word) || *self.peek_at(1) == Token::Sign("(") => Ok(None),
            Token::Word(_) | Token::Sign(".") => Ok(Some(Some(self.path()?))),
            _ => Ok(None),
        }
    }

    fn path(&mut self) -> Result<Path, Error> {
        let root = match self.next() {
            Token::Word(word) => Root::Variable(word),
            // The first field follows the dot of the root itself.
            _ => {
                let mut steps = Vec::new();
                if let Some(field) = self.field_word() {
                    steps.push(Step::Field(field));
                }
                steps.extend(self.steps()?);
                return Ok(Path { root: Root::Data, steps });
            }
        };
        Ok(Path { root, steps: self.steps()? })
    }

    /// The name of a field, if it follows at once.
    fn field_word(&mut self) -> Option<String> {
        if self.tokens[self.at].spaced {
            return None;
        }
        let name = match self.peek() {
            Token::Word(word) => word.clone(),
            Token::Template(text) | Token::Raw(text) => text.clone(),
            _ => return None,
        };
        self.next();
        Some(name)
    }

    fn steps(&mut self) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        loop {
            let spaced = self.tokens[self.at].spaced;
            if steps.len() > LONGEST_PATH {
                return Err(self.error(format!("a path has at most {LONGEST_PATH} steps")));
            }
            match self.peek() {
                Token::Sign(".") if !spaced => {
                    self.next();
                    let field = self.field_word().ok_or_else(|| self.unexpected())?;
                    steps.push(Step::Field(field));
                }
                Token::Sign("[") if !spaced => {
                    self.next();
                    let negative = self.takes("-");
                    let step = match self.next() {
                        Token::Int(index) => Step::Index(if negative { -index } else { index }),
                        Token::Template(text) | Token::Raw(text) if !negative => Step::Field(text),
                        _ => return Err(self.error("an index is a number or a text")),
                    };
                    self.expect("]")?;
                    steps.push(step);
                }
                _ => return Ok(steps),
            }
        }
    }

    fn expression(&mut self) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error(format!("expressions nest deeper than {DEEPEST}")));
        }
        let expression = self.binary(0);
        self.depth -= 1;
        expression
    }

    /// Operators by rank, the weakest first. A line may break before and after one.
    fn binary(&mut self, rank: usize) -> Result<Expr, Error> {
        const RANKS: [&[&str]; 6] =
            [&["??"], &["||"], &["&&"], &["==", "!="], &["<=", ">=", "<", ">"], &["+", "-", "|"]];
        const PRODUCTS: &[&str] = &["*", "/", "%"];
        if rank > RANKS.len() {
            return self.unary();
        }
        let signs = RANKS.get(rank).copied().unwrap_or(PRODUCTS);
        let mut left = self.binary(rank + 1)?;
        loop {
            let mut ahead = 0;
            while *self.peek_at(ahead) == Token::Line {
                ahead += 1;
            }
            let Token::Sign(sign) = *self.peek_at(ahead) else { return Ok(left) };
            // A minus on a line of its own begins another expression.
            if !signs.contains(&sign) || (ahead > 0 && sign == "-") {
                return Ok(left);
            }
            self.at += ahead + 1;
            self.skip_lines();
            let right = self.binary(rank + 1)?;
            left = Expr::Binary(sign, Box::new(left), Box::new(right));
        }
    }

    fn unary(&mut self) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error(format!("expressions nest deeper than {DEEPEST}")));
        }
        let expression = if self.takes("!") {
            Expr::Not(Box::new(self.unary()?))
        } else if self.takes("-") {
            Expr::Negative(Box::new(self.unary()?))
        } else {
            let value = self.primary()?;
            match self.steps()? {
                steps if steps.is_empty() => value,
                steps => Expr::Of(Box::new(value), steps),
            }
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn primary(&mut self) -> Result<Expr, Error> {
        match self.peek().clone() {
            Token::Int(int) => {
                self.next();
                Ok(Expr::Literal(int.into()))
            }
            Token::Float(float) => {
                self.next();
                Ok(Expr::Literal(Number::from_f64(float).map_or(Value::Null, Value::Number)))
            }
            Token::Raw(text) => {
                self.next();
                Ok(Expr::Literal(text.into()))
            }
            Token::Template(text) => {
                let pieces = self.template(&text)?;
                self.next();
                Ok(Expr::Template(pieces))
            }
            Token::Pattern(text) => {
                if self.patterns.len() == pattern::MOST {
                    return Err(self.error(format!("a script has at most {} patterns", pattern::MOST)));
                }
                let compiled = Pattern::new(&text).map_err(|error| self.error(error.to_string()))?;
                self.patterns.push(compiled);
                self.next();
                Ok(Expr::Literal(special::of_pattern(self.patterns.len() - 1)))
            }
            Token::Sign("(") => {
                self.next();
                self.skip_lines();
                let inner = self.statement()?;
                self.skip_lines();
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                self.next();
                let items = self.list("]", Parser::expression)?;
                Ok(Expr::Array(items))
            }
            Token::Sign("{") => self.braces(),
            Token::Sign(".") => Ok(Expr::Path(self.path()?)),
            Token::Word(word) => self.word(&word),
            _ => Err(self.unexpected()),
        }
    }

    /// Items up to `end`, whose opening was taken.
    fn list<T>(&mut self, end: &str, item: impl Fn(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        loop {
            self.skip_lines();
            if self.takes(end) {
                return Ok(items);
            }
            items.push(item(self)?);
            self.skip_lines();
            if !self.takes(",") {
                self.expect(end)?;
                return Ok(items);
            }
        }
    }

    /// An object or a block.
    fn braces(&mut self) -> Result<Expr, Error> {
        let mut ahead = 1;
        while *self.peek_at(ahead) == Token::Line {
            ahead += 1;
        }
        let is_object = match self.peek_at(ahead) {
            Token::Sign("}") => true,
            Token::Template(_) | Token::Raw(_) | Token::Word(_) => *self.peek_at(ahead + 1) == Token::Sign(":"),
            _ => false,
        };
        if !is_object {
            return self.block();
        }
        self.next();
        let members = self.list("}", |parser| {
            let name = match parser.next() {
                Token::Template(text) | Token::Raw(text) | Token::Word(text) => text,
                _ => return Err(parser.error("a member has a name")),
            };
            parser.expect(":")?;
            parser.skip_lines();
            Ok((name, parser.expression()?))
        })?;
        Ok(Expr::Object(members))
    }

    fn block(&mut self) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error(format!("blocks nest deeper than {DEEPEST}")));
        }
        self.expect("{")?;
        let statements = self.statements()?;
        self.expect("}")?;
        self.depth -= 1;
        Ok(Expr::Block(statements))
    }

    fn word(&mut self, word: &str) -> Result<Expr, Error> {
        match word {
            "true" | "false" => {
                self.next();
                Ok(Expr::Literal((word == "true").into()))
            }
            "null" => {
                self.next();
                Ok(Expr::Literal(Value::Null))
            }
            "if" => self.condition(),
            "abort" => {
                self.next();
                if matches!(self.peek(), Token::Template(_) | Token::Raw(_)) {
                    self.next();
                }
                Ok(Expr::Abort)
            }
            "return" => {
                self.next();
                if matches!(self.peek(), Token::Line | Token::Sign("}") | Token::End) {
                    return Ok(Expr::Return(Box::new(Expr::Literal(Value::Null))));
                }
                Ok(Expr::Return(Box::new(self.expression()?)))
            }
            _ if *self.peek_at(1) == Token::Sign("(")
                || (*self.peek_at(1) == Token::Sign("!") && *self.peek_at(2) == Token::Sign("(")) =>
            {
                self.call(word)
            }
            _ => Ok(Expr::Path(self.path()?)),
        }
    }

    fn condition(&mut self) -> Result<Expr, Error> {
        self.next();
        let test = self.expression()?;
        self.skip_lines();
        let then = self.block()?;
        let mut ahead = 0;
        while *self.peek_at(ahead) == Token::Line {
            ahead += 1;
        }
        if *self.peek_at(ahead) != Token::Word("else".to_owned()) {
            return Ok(Expr::If(Box::new(test), Box::new(then), None));
        }
        self.at += ahead + 1;
        self.skip_lines();
        let otherwise = if *self.peek() == Token::Word("if".to_owned()) { self.condition()? } else { self.block()? };
        Ok(Expr::If(Box::new(test), Box::new(then), Some(Box::new(otherwise))))
    }

    fn call(&mut self, name: &str) -> Result<Expr, Error> {
        self.next();
        self.takes("!");
        self.expect("(")?;
        if matches!(name, "del" | "exists") {
            self.skip_lines();
            if !matches!(self.peek(), Token::Word(_) | Token::Sign(".")) {
                return Err(self.unexpected());
            }
            let path = self.path()?;
            self.skip_lines();
            self.expect(")")?;
            return Ok(if name == "del" { Expr::Delete(path) } else { Expr::Exists(path) });
        }
        if let Some(each) = Each::find(name) {
            return self.each(each);
        }
        let function = functions::find(name);
        let function = function.ok_or_else(|| self.error(format!("there is no function \"{name}\" here")))?;
        let arguments = self.list(")", |parser| {
            let named = match (parser.peek(), parser.peek_at(1)) {
                (Token::Word(word), Token::Sign(":")) => Some(word.clone()),
                _ => None,
            };
            if named.is_some() {
                parser.at += 2;
                parser.skip_lines();
            }
            Ok((named, parser.expression()?))
        })?;
        Ok(Expr::Call(function, self.arranged(function, arguments)?))
    }

    /// The rest of a call with a block: `value) -> |name, …| { … }`.
    fn each(&mut self, each: Each) -> Result<Expr, Error> {
        let mut arguments = self.list(")", |parser| {
            if matches!((parser.peek(), parser.peek_at(1)), (Token::Word(_), Token::Sign(":"))) {
                if *parser.peek() != Token::Word("value".to_owned()) {
                    return Err(parser.error("there is no such argument here"));
                }
                parser.at += 2;
                parser.skip_lines();
            }
            parser.expression()
        })?;
        let (Some(value), true) = (arguments.pop(), arguments.is_empty()) else {
            return Err(self.error("a value is expected, and a block behind it"));
        };
        self.expect("->")?;
        self.expect("|")?;
        let parameters = self.list("|", |parser| match parser.next() {
            Token::Word(word) if word == "_" => Ok(None),
            Token::Word(word) if !is_keyword(&word) => Ok(Some(word)),
            _ => Err(parser.error("a block has names for what it gets")),
        })?;
        if parameters.len() != each.parameters() {
            return Err(self.error(format!("this block gets {} values", each.parameters())));
        }
        self.skip_lines();
        let Expr::Block(body) = self.block()? else { return Err(self.unexpected()) };
        Ok(Expr::Each(each, Box::new(value), Block { parameters, body }))
    }

    /// Arguments in the order of the function's parameters; those that are absent are null.
    fn arranged(&self, function: Function, given: Vec<(Option<String>, Expr)>) -> Result<Vec<Expr>, Error> {
        let mut places: Vec<Option<Expr>> = function.parameters.iter().map(|_| None).collect();
        for (name, value) in given {
            let place = match &name {
                Some(name) => function.parameters.iter().position(|known| known == name),
                None => places.iter().position(Option::is_none),
            };
            let place = place.and_then(|place| places.get_mut(place));
            let place = place.ok_or_else(|| self.error(format!("{} takes no such argument", function.name)))?;
            *place = Some(value);
        }
        if places.iter().take(function.required).any(Option::is_none) {
            return Err(self.error(format!("{} needs {} arguments", function.name, function.required)));
        }
        Ok(places.into_iter().map(|place| place.unwrap_or(Expr::Literal(Value::Null))).collect())
    }

    /// The pieces of a text: what precedes a template, and the path in it.
    fn template(&self, text: &str) -> Result<Vec<(String, Option<Path>)>, Error> {
        let plain = |text: &str| text.replace('\u{1}', "{").replace('\u{2}', "}");
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            let Some(length) = rest[start..].find("}}") else { break };
            let inner = rest[start + 2..start + length].trim();
            let mut parser = Parser { tokens: tokens(inner)?, at: 0, depth: 0, patterns: Vec::new() };
            let path = parser.path()?;
            if *parser.peek() != Token::Line {
                return Err(self.error("a template in a text holds a name"));
            }
            pieces.push((plain(&rest[..start]), Some(path)));
            rest = &rest[start + length + 2..];
        }
        pieces.push((plain(rest), None));
        Ok(pieces)
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "if" | "else" | "true" | "false" | "null" | "abort" | "return")
}
