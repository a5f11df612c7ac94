//! Conditions of transitions: compiled when a bot is loaded, evaluated in well under a microsecond
//! (`flows.md` § 6).
//!
//! The usual expressions (literals, paths, comparisons, logic, sums, a few pure methods, a regular
//! expression's `test`) are evaluated here, with JavaScript's semantics to the letter. Whatever isn't, or
//! isn't provably the same, is the script engine's: the compiler says so for an expression
//! ([`Condition::Script`]), the evaluator for a value that it meets ([`Verdict::Ask`]). All that is
//! evaluated here is pure, so asking after half an evaluation does no harm.

mod eval;
mod parse;
mod regexp;

pub use self::regexp::Regexp;

use crate::value::{Text, Value};

/// A condition's text, compiled.
#[derive(Clone, Debug)]
pub enum Condition {
    /// Always this.
    Constant(bool),
    /// `lastNode=<name>`: whether the node before the current one has this name. `None` never holds.
    LastNode(Option<Text>),
    /// Evaluated natively.
    Native(Expression),
    /// The script engine's.
    Script,
}

/// A natively compiled expression.
#[derive(Clone, Debug)]
pub struct Expression(parse::Expr);

/// What came of a native evaluation.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// True or false, by JavaScript's truthiness. A `TypeError` is false.
    Is(bool),
    /// A name that doesn't exist: an engine error.
    ReferenceError(Text),
    /// Not decided here: the script engine has to be asked.
    Ask,
}

/// The variables of a condition. Memories that are unset count as empty objects.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// The incoming event.
    pub event: &'a Value,
    /// `event.state.user`.
    pub user: &'a Value,
    /// `event.state.session`.
    pub session: &'a Value,
    /// `event.state.temp`.
    pub temp: &'a Value,
    /// `event.state.bot`.
    pub bot: &'a Value,
}

impl Condition {
    /// Compiles a condition's text. Every text compiles; what isn't understood is the script engine's.
    pub fn compile(text: &str) -> Condition {
        if text == "true" {
            return Condition::Constant(true);
        }
        if text.starts_with("lastNode") {
            return Condition::LastNode(text.strip_prefix("lastNode=").map(Into::into));
        }
        if text.trim_matches(crate::js::is_space).is_empty() {
            return Condition::Constant(false);
        }
        match parse::parse(text) {
            Some(expr) => Condition::Native(Expression(expr)),
            None => Condition::Script,
        }
    }
}

impl Expression {
    /// Names in the expression that don't exist. Reaching one is an engine error.
    pub fn unknown_names(&self) -> Vec<Text> {
        let mut names = Vec::new();
        self.0.visit(&mut |expr| {
            if let parse::Expr::Unknown(name) = expr {
                names.push(name.clone());
            }
        });
        names
    }

    /// Evaluates the expression.
    pub fn evaluate(&self, variables: Variables<'_>) -> Verdict {
        eval::verdict(&self.0, variables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Option<Verdict> {
        let event = Value::parse(
            r#"{"preview":"Ok 12","type":"text","payload":{"text":"ping","n":5},"nlu":{"intent":{"name":"travel"}},
                "list":["a",1],"uni":"ÀÉ","state":{}}"#,
        )
        .unwrap();
        let temp =
            Value::parse(r#"{"a":0,"s":"","yes":"true","skill-choice-ret-x":"red","nil":null,"ok":true}"#).unwrap();
        let session = Value::parse(r#"{"slots":{"city":{"value":"Oslo"}}}"#).unwrap();
        let empty = Value::object();
        match Condition::compile(text) {
            Condition::Constant(value) => Some(Verdict::Is(value)),
            Condition::Native(expression) => Some(expression.evaluate(Variables {
                event: &event,
                user: &empty,
                session: &session,
                temp: &temp,
                bot: &Value::Undefined,
            })),
            Condition::LastNode(_) | Condition::Script => None,
        }
    }

    #[test]
    fn ordinary_conditions_are_native() {
        for text in [
            "true",
            "event.nlu.intent.name === 'travel'",
            "event.payload.text && event.payload.text.startsWith('pi')",
            "temp['skill-choice-ret-x'] == \"red\"",
            "session.slots['city'] && (temp.valid === undefined || temp.valid == \"true\")",
            " (temp.valid === undefined || temp.valid == \"true\")",
            "Number(event.payload.n) > 0 && Number(event.payload.text) !== 1",
            "!temp.valid_x",
            "event.preview.toLowerCase() === 'ok 12'",
            "/\\d+/.test(event.preview)",
            "event.type === 'quick_reply' || event.type === 'text'",
            "typeof temp.gone === 'undefined' && typeof nothing == 'undefined'",
            "temp.a == false && temp.s == 0 && temp.nil == undefined && temp.nil !== undefined",
            "(temp.ok ? 'a' : 'b') + 1 === 'a1'",
            "event.list.includes('a') && event.list[1] === 1 && event.list.length == 2",
            "'b' > 'a' && 2 < 10 && !('2' < '10') && '2' < 10",
            "event.preview.indexOf('12') === 3 && event.preview.trim().endsWith('2')",
            "event.uni.toLowerCase() === 'àé'",
        ] {
            assert_eq!(verdict(text), Some(Verdict::Is(true)), "{text}");
        }
    }

    #[test]
    fn type_errors_are_false_and_unknown_names_errors() {
        assert_eq!(verdict("event.nope.deep === 1"), Some(Verdict::Is(false)));
        assert_eq!(verdict("event.nope.trim() === 1"), Some(Verdict::Is(false)));
        assert_eq!(verdict("event.payload.n.trim() === ''"), Some(Verdict::Is(false)));
        assert_eq!(verdict("bot.x"), Some(Verdict::Is(false)));
        assert_eq!(verdict("undefinedVariable === 1"), Some(Verdict::ReferenceError("undefinedVariable".into())));
        assert_eq!(verdict("false && undefinedVariable"), Some(Verdict::Is(false)));
        assert_eq!(verdict(""), Some(Verdict::Is(false)));
    }

    #[test]
    fn the_rest_is_left_to_the_engine() {
        for text in [
            "this is not js",
            "temp.x = 1",
            "temp.x++",
            "event.list.map(x => x)",
            "`a`",
            "Math.random() > 1",
            "new Date()",
            "state.x",
            "event.hasFlag(1)",
            "event.createdOn > 1",
            "/(?=a)/.test('a')",
            "a?.b",
            "'a' in temp",
            "true;",
            "01 === 1",
        ] {
            let asked = match verdict(text) {
                None | Some(Verdict::Ask) => true,
                Some(Verdict::ReferenceError(_)) => text == "state.x",
                Some(_) => false,
            };
            assert!(asked, "{text}: {:?}", verdict(text));
        }
        for text in [
            "!".repeat(10_000) + "1",
            vec!["1"; 10_000].join(" + "),
            "(".repeat(10_000),
            "a".to_owned() + &".b".repeat(9_999),
        ] {
            assert!(matches!(Condition::compile(&text), Condition::Script));
        }
        // Objects would have to be converted, members come from a prototype.
        for text in ["event.payload == 'x'", "event.payload + ''", "temp.constructor", "'a'.foo", "event.list == 'a,1'"]
        {
            assert_eq!(verdict(text), Some(Verdict::Ask), "{text}");
        }
    }
}
