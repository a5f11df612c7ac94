//! Native conditions against a JavaScript engine: the same verdict, on random expressions and values.
//!
//! The engine is Node.js, if `node` is on the path; else the test says so and passes.

#![allow(clippy::unwrap_used)] // Helpers of tests, too, fail by panicking.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use duologue_dialog::{
    Object, Value,
    condition::{Condition, Variables, Verdict},
};

const EVALUATOR: &str = r#"
const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const out = cases.map(({ text, event, temp }) => {
  try {
    const run = new Function('event', 'user', 'session', 'temp', 'bot', 'workflow', 'return (' + text + '\n)')
    return run(event, {}, {}, temp, {}, {}) ? 'true' : 'false'
  } catch (e) { return e.name }
})
process.stdout.write(JSON.stringify(out))
"#;

/// A small generator of random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.leaf().to_owned();
        }
        let operators = [
            "===", "!==", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "&&", "||", "&&", "||", "===",
            "==",
        ];
        let methods = ["toLowerCase()", "toUpperCase()", "trim()", "length"];
        let searches = ["includes", "startsWith", "endsWith", "indexOf"];
        match self.below(15) {
            0..=5 => {
                let (a, b) = (self.expression(depth - 1), self.expression(depth - 1));
                format!("{a} {} {b}", self.pick(&operators))
            }
            6 => format!("({})", self.expression(depth - 1)),
            7 => format!("!{}", self.expression(depth - 1)),
            8 => format!("typeof {}", self.leaf()),
            9 => format!("{}.{}", self.leaf(), self.pick(&methods)),
            10 => format!("{}.{}({})", self.leaf(), self.pick(&searches), self.leaf()),
            11 => format!("{}({})", self.pick(&["Number", "String", "Boolean"]), self.expression(depth - 1)),
            12 => {
                let (a, b, c) = (self.expression(depth - 1), self.expression(depth - 1), self.expression(depth - 1));
                format!("{a} ? {b} : {c}")
            }
            13 => {
                let pattern =
                    ["/\\d+/", "/^a.c$/i", "/[a-f]+\\b/", "/^$|x/", "/\\s(o|e)?/", "/^\\W*$/", "/[^\\d]{2,}/g"];
                format!("{}.test({})", self.pick(&pattern), self.expression(depth - 1))
            }
            _ => format!("{} {}", self.pick(&["-", "+"]), self.leaf()),
        }
    }

    fn leaf(&mut self) -> &'static str {
        self.pick(&[
            "event.preview",
            "event.payload.text",
            "event.nope.deep",
            "event.gone",
            "event.list",
            "event.list[0]",
            "event.list[event.n]",
            "event.payload",
            "event['preview']",
            "temp.x",
            "temp['y']",
            "temp.z",
            "temp.s.length",
            "temp[temp.x]",
            "undefinedName",
            "undefined",
            "null",
            "true",
            "false",
            "NaN",
            "Infinity",
            "0",
            "1",
            "2.5",
            "1e3",
            ".5",
            "''",
            "'a'",
            "\"ABC\"",
            "'10'",
            "' 7 '",
            "'0x1f'",
            "'\\n'",
            "event.n",
            "event.list.length",
            "session.slots",
            "bot.b",
            "workflow.w",
            "temp.o.toString",
            "'abc'[1]",
            "event.state.temp",
        ])
    }
}

fn values(random: &mut Random) -> (Value, Value) {
    let text = |random: &mut Random| {
        Value::from(random.pick(&[
            "",
            "a",
            "ABC",
            "abc",
            "10",
            "9",
            " x ",
            "ÀÉ",
            "Hello there",
            "aXc\n",
            "true",
            "null",
        ]))
    };
    let any = |random: &mut Random| match random.below(8) {
        0 => Value::Null,
        1 => Value::Bool(random.below(2) == 0),
        2 => Value::Number(random.below(20) as f64 / 2.0 - 3.0),
        3 => Value::parse(r#"["a",1,null,"10"]"#).unwrap(),
        4 => Value::object(),
        _ => text(random),
    };
    let payload = Object::new().with("text", any(random));
    let list: Vec<Value> = (0..random.below(4)).map(|_| any(random)).collect();
    let event = Object::new()
        .with("preview", text(random))
        .with("payload", payload)
        .with("list", list)
        .with("n", random.below(3) as f64)
        .with("state", Object::new().with("temp", Object::new()));
    let temp =
        Object::new().with("x", any(random)).with("y", any(random)).with("s", text(random)).with("o", Object::new());
    (event.into(), temp.into())
}

#[test]
fn verdicts_are_the_engines() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let cases: Vec<(String, Value, Value)> = (0..30_000)
        .map(|at| {
            let (event, temp) = values(&mut random);
            (random.expression(1 + at % 3), event, temp)
        })
        .collect();
    let Some(expected) = ask_node(&cases) else {
        println!("passed over: there is no node to compare with");
        return;
    };
    let (mut native, mut asked) = (0, 0);
    for ((text, event, temp), expected) in cases.iter().zip(&expected) {
        let Condition::Native(expression) = Condition::compile(text) else {
            // Compiled to a constant, or the engine's anyway.
            continue;
        };
        let empty = Value::object();
        let variables = Variables { event, user: &empty, session: &empty, temp, bot: &empty };
        let verdict = match expression.evaluate(variables) {
            Verdict::Ask => {
                asked += 1;
                continue;
            }
            Verdict::Is(true) => "true",
            Verdict::Is(false) if expected == "TypeError" => "TypeError",
            Verdict::Is(false) => "false",
            Verdict::ReferenceError(_) => "ReferenceError",
        };
        assert_eq!(verdict, expected, "{text}\nevent: {event}\ntemp: {temp}");
        native += 1;
    }
    println!("{native} decided natively, {asked} left to the engine");
    assert!(native > 20_000, "{native}");
}

fn ask_node(cases: &[(String, Value, Value)]) -> Option<Vec<String>> {
    let cases = cases.iter().map(|(text, event, temp)| {
        Object::new().with("text", text.as_str()).with("event", event.clone()).with("temp", temp.clone()).into()
    });
    let input = Value::Array(cases.collect()).to_json();
    let mut node = Command::new("node")
        .args(["-e", EVALUATOR])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .ok()?;
    let mut stdin = node.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = node.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let verdicts = Value::parse(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
    Some(verdicts.as_array().unwrap().iter().map(|verdict| verdict.as_str().unwrap().to_owned()).collect())
}
