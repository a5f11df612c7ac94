//! The values that bots compute with: JSON plus `undefined`, members in JavaScript's order.
//!
//! `serde_json::Value` would not do. Replies have to keep the order of their members, and turning that
//! on in `serde_json` changes the type for every crate of the workspace; a number here is always a
//! double, as a script sees it; and `undefined` matters, because a member that is undefined keeps its
//! place and hides an argument of the same name, yet isn't written (`content.md` § 4.1).
//!
//! Texts are shared (`Arc<str>`), so a value that comes out of a bot's files is never copied.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq},
};

use crate::js;

/// A shared text.
pub type Text = Arc<str>;

/// A JavaScript value without functions.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Absent. Not written as a member of an object, `null` elsewhere.
    #[default]
    Undefined,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A double, as all numbers of scripts are.
    Number(f64),
    /// A text.
    String(Text),
    /// A list.
    Array(Vec<Value>),
    /// Named members in order.
    Object(Object),
}

/// The members of an object, in JavaScript's order: names that are array indexes first, ascending, then
/// the others as they came.
///
/// A list that is searched from its start while it is short, as nearly all are; longer ones have an index.
#[derive(Clone, Debug, Default)]
pub struct Object {
    members: Vec<(Text, Value)>,
    // Boxed, as nearly no object has one: it makes every value 16 bytes shorter.
    #[allow(clippy::box_collection)]
    index: Option<Box<HashMap<Text, usize>>>,
}

/// Objects with more members than this have an index.
const SHORT: usize = 16;

impl Object {
    /// An object without members.
    pub fn new() -> Self {
        Object::default()
    }

    /// The same, with room for so many.
    pub fn with_capacity(members: usize) -> Self {
        Object { members: Vec::with_capacity(members), index: None }
    }

    fn place(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => self.members.iter().position(|(key, _)| &**key == name),
        }
    }

    fn rebuild_index(&mut self) {
        self.index = (self.members.len() > SHORT)
            .then(|| Box::new(self.members.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect()));
    }

    /// Adds a member or replaces one, without regard to array indexes. [`Object::sort_indexes`] must follow.
    fn put(&mut self, name: Text, value: Value) {
        if let Some(at) = self.place(&name) {
            self.members[at].1 = value;
            return;
        }
        if let Some(index) = &mut self.index {
            index.insert(name.clone(), self.members.len());
        }
        self.members.push((name, value));
        if self.index.is_none() && self.members.len() > SHORT {
            self.rebuild_index();
        }
    }

    /// Brings array indexes to the front, ascending.
    fn sort_indexes(&mut self) {
        if self.members.iter().any(|(key, _)| array_index(key).is_some()) {
            // Stable, so other names keep their order behind the indexes.
            self.members.sort_by_key(|(key, _)| array_index(key).map_or(u64::MAX, u64::from));
            self.rebuild_index();
        }
    }

    /// The member called `name`; `None` also if it is there and undefined.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.place(name).map(|at| &self.members[at].1).filter(|value| !value.is_undefined())
    }

    /// The member called `name`, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.place(name).map(|at| &mut self.members[at].1)
    }

    /// Whether there is a member of this name, be it undefined (`name in object`).
    pub fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// Sets a member. One that exists keeps its place.
    pub fn set(&mut self, name: impl Into<Text> + AsRef<str>, value: impl Into<Value>) {
        let value = value.into();
        match self.place(name.as_ref()) {
            Some(at) => self.members[at].1 = value,
            None => {
                let name = name.into();
                let number = array_index(&name).is_some();
                self.put(name, value);
                if number {
                    self.sort_indexes();
                }
            }
        }
    }

    /// The same, for building: `Object::new().with("a", 1.0)`.
    #[must_use]
    pub fn with(mut self, name: impl Into<Text> + AsRef<str>, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Removes a member; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.place(name)?;
        let (_, value) = self.members.remove(at);
        if self.index.is_some() {
            self.rebuild_index();
        }
        Some(value)
    }

    /// The member as an object; made one if it is anything else.
    pub fn object_mut(&mut self, name: &str) -> &mut Object {
        let at = match self.place(name) {
            Some(at) => at,
            None => {
                self.set(name, Value::Undefined);
                // An array index lies somewhere else than at the end.
                self.place(name).unwrap_or(self.members.len() - 1)
            }
        };
        self.members[at].1.make_object()
    }

    /// Members in order, undefined ones included.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Value)> {
        self.members.iter().map(|(name, value)| (name, value))
    }

    /// Members in order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Text, &mut Value)> {
        self.members.iter_mut().map(|(name, value)| (&*name, value))
    }

    /// How many members there are, undefined ones included.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member that would be written.
    pub fn is_empty(&self) -> bool {
        self.members.iter().all(|(_, value)| value.is_undefined())
    }

    /// Keeps the members for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Value) -> bool) {
        self.members.retain(|(name, value)| keep(name, value));
        self.rebuild_index();
    }
}

impl PartialEq for Object {
    /// Members in the same order, undefined ones included.
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl IntoIterator for Object {
    type Item = (Text, Value);
    type IntoIter = std::vec::IntoIter<(Text, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

impl FromIterator<(Text, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (Text, Value)>>(members: I) -> Self {
        let mut object = Object::new();
        for (name, value) in members {
            object.put(name, value);
        }
        object.sort_indexes();
        object
    }
}

/// `name` as an array index (0 to 2³²−2, no leading zero), which JavaScript orders before other names.
fn array_index(name: &str) -> Option<u32> {
    let bytes = name.as_bytes();
    let plain = matches!(bytes, [b'0'] | [b'1'..=b'9', ..]) && bytes.iter().all(u8::is_ascii_digit);
    if plain && bytes.len() <= 10 { name.parse().ok().filter(|&index| index != u32::MAX) } else { None }
}

static NOTHING: Value = Value::Undefined;

impl Value {
    /// Parses a JSON text.
    ///
    /// # Errors
    /// What the parser says, with line and column.
    pub fn parse(text: &str) -> Result<Value, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// An empty object.
    pub fn object() -> Value {
        Value::Object(Object::new())
    }

    /// A text.
    pub fn text(text: impl Into<Text>) -> Value {
        Value::String(text.into())
    }

    /// Whether this is `undefined`.
    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined)
    }

    /// Whether this is `undefined` or `null`.
    pub fn is_nullish(&self) -> bool {
        matches!(self, Value::Undefined | Value::Null)
    }

    /// JavaScript's truthiness (`flows.md` § 6.3).
    pub fn truthy(&self) -> bool {
        js::truthy(self)
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The members, if this is an object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The members, if this is an object.
    pub fn as_object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The member `name` of an object, else `undefined`. Never fails.
    pub fn get(&self, name: &str) -> &Value {
        match self {
            Value::Object(object) => object.get(name).unwrap_or(&NOTHING),
            _ => &NOTHING,
        }
    }

    /// The value at a path of member names, else `undefined`.
    pub fn at(&self, path: &[&str]) -> &Value {
        path.iter().fold(self, |value, name| value.get(name))
    }

    /// The text of the member `name`, if it is one.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name).as_str()
    }

    /// This value as an object; made one if it is anything else.
    pub fn make_object(&mut self) -> &mut Object {
        if !matches!(self, Value::Object(_)) {
            *self = Value::object();
        }
        match self {
            Value::Object(object) => object,
            // It was made an object above.
            _ => unreachable!(),
        }
    }

    /// The JSON text, members that are undefined left out.
    pub fn to_json(&self) -> String {
        // Serialising this type to a text fails on nothing: no map key but texts, no I/O.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Drops members that are `null` or undefined, as user attributes are stored (`flows.md` § 10.1).
    pub fn without_nulls(mut self) -> Value {
        if let Value::Object(object) = &mut self {
            object.retain(|_, value| !value.is_nullish());
        }
        self
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Number(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Number(f64::from(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::String(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::String(value.into())
    }
}

impl From<Text> for Value {
    fn from(value: Text) -> Self {
        Value::String(value)
    }
}

impl From<&Text> for Value {
    fn from(value: &Text) -> Self {
        Value::String(value.clone())
    }
}

impl From<Object> for Value {
    fn from(value: Object) -> Self {
        Value::Object(value)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Value::Array(items.into_iter().map(Into::into).collect())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Undefined | Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => serialize_number(*number, serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Value::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.iter().filter(|(_, value)| !value.is_undefined()) {
            map.serialize_entry(&**name, value)?;
        }
        map.end()
    }
}

fn serialize_number<S: Serializer>(number: f64, serializer: S) -> Result<S::Ok, S::Error> {
    const SAFE: f64 = 9_007_199_254_740_992.0;
    if !number.is_finite() {
        serializer.serialize_unit()
    } else if number.fract() == 0.0 && number.abs() <= SAFE {
        // Exact: within ±2⁵³ and whole.
        serializer.serialize_i64(number as i64)
    } else {
        serializer.serialize_f64(number)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Seed(None).deserialize(deserializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(object) => Ok(object),
            _ => Err(serde::de::Error::custom("expected an object")),
        }
    }
}

/// Texts that several values share.
#[derive(Debug, Default)]
pub struct Pool(RefCell<HashSet<Text>>);

/// Longer texts are seldom the same.
const POOLED: usize = 64;

impl Pool {
    /// Parses a JSON text whose names and short texts come from this pool.
    ///
    /// # Errors
    /// What the parser says, with line and column.
    pub fn parse(&self, text: &str) -> Result<Value, serde_json::Error> {
        let mut parser = serde_json::Deserializer::from_str(text);
        let value = Seed(Some(self)).deserialize(&mut parser)?;
        parser.end()?;
        Ok(value)
    }

    fn text(&self, text: &str) -> Text {
        if text.len() > POOLED {
            return text.into();
        }
        let mut pool = self.0.borrow_mut();
        if let Some(known) = pool.get(text) {
            return known.clone();
        }
        let new: Text = text.into();
        pool.insert(new.clone());
        new
    }
}

/// Reads a value, with a pool of texts or without.
#[derive(Clone, Copy)]
struct Seed<'p>(Option<&'p Pool>);

impl Seed<'_> {
    fn text(self, text: &str) -> Text {
        self.0.map_or_else(|| text.into(), |pool| pool.text(text))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Reads the name of a member.
struct Name<'p>(Seed<'p>);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Text;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Text, E> {
        Ok(self.0.text(name))
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(self.text(value)))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(name) = map.next_key_seed(Name(self))? {
            object.put(name, map.next_value_seed(self)?);
        }
        object.sort_indexes();
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_indexes_come_first() {
        let value = Value::parse(r#"{"b":1,"10":2,"a":3,"2":4,"01":5}"#).unwrap();
        assert_eq!(value.to_json(), r#"{"2":4,"10":2,"b":1,"a":3,"01":5}"#);
    }

    #[test]
    fn many_members_are_found() {
        let mut object: Object = (0..100).map(|at| (format!("k{at}").into(), Value::from(at))).collect();
        object.set("7", true);
        assert_eq!(object.remove("k50"), Some(50.into()));
        object.set("k3", "three");
        assert_eq!((object.len(), object.get("k50"), object.get("k99")), (100, None, Some(&99.into())));
        assert_eq!(object.iter().next().map(|(name, _)| &**name), Some("7"));
        object.retain(|name, _| name == "k3");
        assert_eq!(Value::from(object).to_json(), r#"{"k3":"three"}"#);
    }

    #[test]
    fn a_pool_shares_texts() {
        let pool = Pool::default();
        let a = pool.parse(r#"{"name":"x"}"#).unwrap();
        let b = pool.parse(r#"["x", "name"]"#).unwrap();
        let (Value::String(a), Value::String(b)) = (a.get("name"), &b.as_array().unwrap()[0]) else { panic!() };
        assert!(Arc::ptr_eq(a, b));
        assert!(pool.parse("{} x").is_err());
    }

    #[test]
    fn undefined_keeps_its_place_and_is_not_written() {
        let mut object = Object::new().with("a", 1.0).with("gone", Value::Undefined).with("b", "x");
        assert_eq!(Value::from(object.clone()).to_json(), r#"{"a":1,"b":"x"}"#);
        object.set("gone", true);
        assert_eq!(Value::from(object).to_json(), r#"{"a":1,"gone":true,"b":"x"}"#);
        assert_eq!(Value::Array(vec![Value::Undefined]).to_json(), "[null]");
    }

    #[test]
    fn numbers_are_written_as_scripts_write_them() {
        for (text, written) in [("1.0", "1"), ("-0.5", "-0.5"), ("1795184096280", "1795184096280"), ("-0.0", "0")] {
            assert_eq!(Value::parse(text).unwrap().to_json(), written);
        }
        assert_eq!(Value::Number(f64::NAN).to_json(), "null");
    }
}
