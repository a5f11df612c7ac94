//! Understanding, as far as it needs no statistics: list and pattern entities (`qna-nlu.md` § 2, § 4),
//! and the shape of `event.nlu` (`converse-api.md` § 4.2).

use std::{collections::HashSet, sync::LazyLock};

use crate::{
    condition::Regexp,
    js,
    value::{Object, Text, Value},
};

/// A custom entity.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Its name.
    pub name: Text,
    /// How it is found.
    pub kind: EntityKind,
}

/// How an entity is found.
#[derive(Clone, Debug)]
pub enum EntityKind {
    /// One of a list of values, or something like it.
    List {
        /// How alike a text has to be: 1 is strict, 0.8 medium, 0.65 loose.
        fuzzy: f64,
        /// Values with their synonyms, the value's own name among them.
        values: Vec<(Text, Vec<Text>)>,
    },
    /// A regular expression.
    Pattern {
        /// JavaScript's notation.
        source: Text,
        /// `i` or nothing.
        flags: &'static str,
        /// Translated, unless only the script engine understands it.
        regexp: Option<Regexp>,
    },
}

impl Entity {
    /// Checks an entity's file, also in the shapes of older versions. `None` for system entities.
    ///
    /// # Errors
    /// What is wrong with it, for an operator.
    pub fn parse(file: &Value) -> Result<Option<Entity>, String> {
        let name: Text = file.str("name").or(file.str("id")).ok_or("an entity needs a name")?.into();
        let kind = match file.str("type") {
            Some("list") => list(file),
            Some("pattern") => {
                let source: Text = file.str("pattern").unwrap_or_default().into();
                let flags = if file.get("matchCase").truthy() { "" } else { "i" };
                EntityKind::Pattern { regexp: Regexp::compile(&source, flags), source, flags }
            }
            Some("system") => return Ok(None),
            other => return Err(format!("entity {name} has the unknown type {other:?}")),
        };
        Ok(Some(Entity { name, kind }))
    }
}

fn list(file: &Value) -> EntityKind {
    let fuzzy = match file.get("fuzzy") {
        Value::Bool(true) => 0.8,
        Value::Number(number) => *number,
        _ => 1.0,
    };
    // Once misspelled in the files themselves.
    let occurrences = file.get("occurrences").as_array().or(file.get("occurences").as_array()).unwrap_or_default();
    let values = occurrences.iter().filter_map(|occurrence| {
        let Value::String(name) = occurrence.get("name") else { return None };
        let synonyms = occurrence.get("synonyms").as_array().unwrap_or_default().iter();
        let synonyms = synonyms.filter_map(|synonym| synonym.as_str().map(Into::into));
        Some((name.clone(), synonyms.chain([name.clone()]).collect()))
    });
    EntityKind::List { fuzzy, values: values.collect() }
}

/// An entity found in a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// 0 to 1.
    pub confidence: f64,
    /// Where, in bytes.
    pub start: usize,
    /// Where it ends, in bytes, exclusive.
    pub end: usize,
    /// The canonical value.
    pub value: Text,
}

impl Found {
    /// The entity as it stands in `event.nlu.entities`; offsets in UTF-16 units.
    pub fn to_value(&self, entity: &Entity, text: &str) -> Value {
        let kind = match entity.kind {
            EntityKind::List { .. } => "list",
            EntityKind::Pattern { .. } => "pattern",
        };
        let meta = Object::new()
            .with("confidence", self.confidence)
            .with("start", js::length(&text[..self.start]) as f64)
            .with("end", js::length(&text[..self.end]) as f64)
            .with("sensitive", false)
            .with("source", &text[self.start..self.end]);
        let data = Object::new().with("unit", "").with("value", &self.value);
        Object::new()
            .with("name", &entity.name)
            .with("type", format!("custom.{kind}.{}", entity.name))
            .with("meta", meta)
            .with("data", data)
            .into()
    }
}

/// Finds an entity in a text; `None` if only the script engine can.
pub fn extract(entity: &Entity, text: &str) -> Option<Vec<Found>> {
    match &entity.kind {
        EntityKind::List { fuzzy, values } => Some(extract_list(text, *fuzzy, values)),
        EntityKind::Pattern { source, .. } if source.is_empty() || text.is_empty() => Some(Vec::new()),
        EntityKind::Pattern { regexp, .. } => extract_pattern(text, regexp.as_ref()?),
    }
}

fn extract_pattern(text: &str, regexp: &Regexp) -> Option<Vec<Found>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some((start, end)) = regexp.find(&text[from..])? {
        // An empty match would repeat for ever.
        if start == end {
            break;
        }
        let (start, end) = (from + start, from + end);
        found.push(Found { confidence: 1.0, start, end, value: text[start..end].into() });
        from = end;
    }
    Some(found)
}

/// A token: where it lies, and whether it is white space.
struct Token {
    start: usize,
    end: usize,
    space: bool,
}

fn tokens(text: &str) -> Vec<Token> {
    #[derive(PartialEq)]
    enum Class {
        Word,
        Space,
        Other,
    }
    let mut tokens: Vec<Token> = Vec::new();
    let mut last = Class::Other;
    for (start, c) in text.char_indices() {
        let class = match c {
            c if c.is_alphanumeric() => Class::Word,
            c if js::is_space(c) => Class::Space,
            _ => Class::Other,
        };
        let end = start + c.len_utf8();
        match tokens.last_mut() {
            Some(token) if class == last && class != Class::Other => token.end = end,
            _ => tokens.push(Token { start, end, space: class == Class::Space }),
        }
        last = class;
    }
    tokens
}

/// A possible hit: tokens `first..=last`.
struct Candidate<'a> {
    first: usize,
    last: usize,
    score: f64,
    weight: f64,
    value: &'a Text,
}

/// Texts longer than this aren't searched for list entities: the work grows with the square.
const MAX_LIST_TEXT: usize = 4096;
/// How many synonyms may be compared roughly with how many tokens, multiplied. Beyond this only exact
/// occurrences are found.
const MAX_ROUGH: usize = 200_000;

fn extract_list(text: &str, fuzzy: f64, values: &[(Text, Vec<Text>)]) -> Vec<Found> {
    if text.len() > MAX_LIST_TEXT {
        return Vec::new();
    }
    let tokens = tokens(text);
    let longest = values.iter().flat_map(|(_, synonyms)| synonyms).map(|s| s.chars().count()).max().unwrap_or(0);
    let synonyms: usize = values.iter().map(|(_, synonyms)| synonyms.len()).sum();
    let fuzzy = if synonyms.saturating_mul(tokens.len()) > MAX_ROUGH { 1.0 } else { fuzzy };
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for (value, synonyms) in values {
        for synonym in synonyms.iter().filter(|synonym| !synonym.is_empty()) {
            if fuzzy >= 1.0 && !text.contains(&**synonym) {
                continue;
            }
            for first in (0..tokens.len()).filter(|&at| !tokens[at].space) {
                let last = best_end(text, &tokens, first, synonym.chars().count());
                let taken = &text[tokens[first].start..tokens[last].end];
                let score = similarity(taken, synonym, fuzzy);
                if score > 0.0 {
                    let length = taken.chars().count().min(longest) as f64;
                    candidates.push(Candidate { first, last, score, weight: score * length.powf(0.2), value });
                }
            }
        }
    }
    // At each token only the heaviest candidate survives, the first of equals.
    let mut winner: Vec<Option<usize>> = vec![None; tokens.len()];
    for (at, candidate) in candidates.iter().enumerate() {
        for slot in &mut winner[candidate.first..=candidate.last] {
            if slot.is_none_or(|best| candidates[best].weight < candidate.weight) {
                *slot = Some(at);
            }
        }
    }
    let survives = |at: usize| {
        let candidate = &candidates[at];
        candidate.score >= 0.6 && winner[candidate.first..=candidate.last].iter().all(|&best| best == Some(at))
    };
    (0..candidates.len())
        .filter(|&at| survives(at))
        .map(|at| Found {
            confidence: candidates[at].score,
            start: tokens[candidates[at].first].start,
            end: tokens[candidates[at].last].end,
            value: candidates[at].value.clone(),
        })
        .collect()
}

/// The token with which the text from `first` on comes closest to `length` characters.
fn best_end(text: &str, tokens: &[Token], first: usize, length: usize) -> usize {
    let mut best = (first, usize::MAX);
    for (at, token) in tokens.iter().enumerate().skip(first) {
        let count = text[tokens[first].start..token.end].chars().count();
        let distance = count.abs_diff(length);
        if !token.space && distance < best.1 {
            best = (at, distance);
        }
        if count > length {
            break;
        }
    }
    best.0
}

fn similarity(taken: &str, synonym: &str, fuzzy: f64) -> f64 {
    let a: Vec<char> = taken.chars().collect();
    let b: Vec<char> = synonym.chars().collect();
    let alike = if fuzzy >= 1.0 || a.len() < 4 {
        f64::from(u8::from(a == b))
    } else {
        let lower = |text: &str| text.to_lowercase().chars().collect::<Vec<char>>();
        let (a, b) = (lower(taken), lower(synonym));
        let alike = f64::midpoint(levenshtein(&a, &b), jaro_winkler(&a, &b));
        if alike < fuzzy { 0.0 } else { alike }
    };
    if alike == 0.0 {
        return 0.0;
    }
    (alike * structure(taken, synonym) * 100.0).round() / 100.0
}

/// How alike the two are in the characters they use and in their lengths.
fn structure(a: &str, b: &str) -> f64 {
    let jaccard = |a: &str, b: &str| {
        let (a, b): (HashSet<char>, HashSet<char>) = (a.chars().collect(), b.chars().collect());
        a.intersection(&b).count() as f64 / a.union(&b).count().max(1) as f64
    };
    let charset = f64::midpoint(jaccard(a, b), jaccard(&a.to_lowercase(), &b.to_lowercase()));
    let (long, short) = (a.chars().count().max(b.chars().count()), a.chars().count().min(b.chars().count()));
    (charset * short as f64 / long.max(1) as f64).sqrt()
}

/// 1 minus the edit distance relative to the longer text.
fn levenshtein(a: &[char], b: &[char]) -> f64 {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    1.0 - row[b.len()] as f64 / a.len().max(b.len()).max(1) as f64
}

/// Jaro's similarity with Winkler's bonus for a common prefix of up to four characters.
fn jaro_winkler(a: &[char], b: &[char]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return f64::from(u8::from(a == b));
    }
    let window = (a.len().max(b.len()) / 2).saturating_sub(1);
    let mut taken = vec![false; b.len()];
    let mut matched = Vec::new();
    for (i, x) in a.iter().enumerate() {
        let range = i.saturating_sub(window)..b.len().min(i + window + 1);
        for j in range {
            if !taken[j] && b[j] == *x {
                taken[j] = true;
                matched.push(*x);
                break;
            }
        }
    }
    if matched.is_empty() {
        return 0.0;
    }
    let others = b.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(y, _)| y);
    let transposed = matched.iter().zip(others).filter(|(x, y)| x != y).count() as f64 / 2.0;
    let m = matched.len() as f64;
    let jaro = (m / a.len() as f64 + m / b.len() as f64 + (m - transposed) / m) / 3.0;
    let prefix = a.iter().zip(b).take(4).take_while(|(x, y)| x == y).count() as f64;
    jaro + prefix * 0.1 * (1.0 - jaro)
}

/// `event.nlu` before any prediction (`converse-api.md` § 4.2).
pub fn unknown(included_contexts: Value) -> Value {
    let mut nlu = UNKNOWN.clone();
    nlu.set("includedContexts", included_contexts);
    nlu.into()
}

static UNKNOWN: LazyLock<Object> = LazyLock::new(|| {
    let intent = Object::new().with("name", "none").with("confidence", 1.0).with("context", "global");
    Object::new()
        .with("entities", Value::Array(Vec::new()))
        .with("language", "n/a")
        .with("ambiguous", false)
        .with("slots", Object::new())
        .with("intent", intent)
        .with("intents", Value::Array(Vec::new()))
        .with("errored", false)
        .with("includedContexts", Value::Undefined)
        .with("ms", 0.0)
});

/// Merges a prediction into `event.nlu`: objects member by member, anything else replaces.
pub fn merge(into: &mut Value, prediction: Value) {
    match (into, prediction) {
        (Value::Object(into), Value::Object(prediction)) => {
            for (name, value) in prediction {
                match into.get_mut(&name) {
                    Some(member) => merge(member, value),
                    None => into.set(name, value),
                }
            }
        }
        (into, prediction) if !prediction.is_undefined() => *into = prediction,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, text: &str) -> Vec<(String, String, f64)> {
        let entity = Entity::parse(&Value::parse(file).unwrap()).unwrap().unwrap();
        let found = extract(&entity, text).unwrap();
        found.into_iter().map(|f| (f.value.to_string(), text[f.start..f.end].to_owned(), f.confidence)).collect()
    }

    const SIZE: &str = r#"{"name":"size","type":"list","fuzzy":0.8,"occurrences":[
        {"name":"small","synonyms":["tiny","little"]},{"name":"large","synonyms":["big","huge size"]}]}"#;

    #[test]
    fn lists_are_found_exactly_and_roughly() {
        assert_eq!(found(SIZE, "can I get a big pizza"), [("large".into(), "big".into(), 1.0)]);
        // Shorter than four characters: only as written.
        assert_eq!(found(SIZE, "a BIG pizza"), []);
        assert_eq!(found(SIZE, "a huge size, please"), [("large".into(), "huge size".into(), 1.0)]);
        let rough = found(SIZE, "a litle one");
        assert_eq!((rough[0].0.as_str(), rough[0].1.as_str()), ("small", "litle"));
        assert!(rough[0].2 > 0.6 && rough[0].2 < 1.0);
    }

    #[test]
    fn patterns_are_found_again_and_again() {
        let file = r#"{"name":"ref","type":"pattern","pattern":"[A-Z]{2}\\d{4}","matchCase":false}"#;
        let refs: Vec<_> = found(file, "ab1234 and CD5678x").into_iter().map(|f| f.1).collect();
        assert_eq!(refs, ["ab1234", "CD5678"]);
        assert_eq!(found(r#"{"name":"e","type":"pattern","pattern":"x*"}"#, "abc"), []);
    }

    #[test]
    fn old_shapes() {
        let file = r#"{"name":"e","type":"list","fuzzy":true,"occurences":[{"name":"yes","synonyms":[]}]}"#;
        let entity = Entity::parse(&Value::parse(file).unwrap()).unwrap().unwrap();
        assert!(matches!(entity.kind, EntityKind::List { fuzzy: 0.8, ref values } if values.len() == 1));
        assert!(Entity::parse(&Value::parse(r#"{"name":"n","type":"system"}"#).unwrap()).unwrap().is_none());
    }

    #[test]
    fn offsets_are_utf16() {
        let entity = Entity::parse(&Value::parse(SIZE).unwrap()).unwrap().unwrap();
        let text = "😀 big";
        let value = extract(&entity, text).unwrap()[0].to_value(&entity, text);
        assert_eq!(value.at(&["meta", "start"]).as_f64(), Some(3.0));
    }
}
