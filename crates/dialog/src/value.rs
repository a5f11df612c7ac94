//! The values that bots compute with: JSON plus `undefined`, members in JavaScript's order.
//!
//! `serde_json::Value` would not do. Replies have to keep the order of their members, and turning that
//! on in `serde_json` changes the type for every crate of the workspace; a number here is always a
//! double, as a script sees it; and `undefined` matters, because a member that is undefined keeps its
//! place and hides an argument of the same name, yet isn't written (`content.md` § 4.1).
//!
//! Texts are shared (`Arc<str>`), and so are the members of objects until one of those who share them changes
//! his: a copy of an event or a memory costs nothing, and a value that comes out of a bot's files is never
//! copied.

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
/// A copy shares them until one of the two is changed.
#[derive(Clone, Debug, Default)]
pub struct Object(Option<Arc<Members>>);

/// A list that is searched from its start while it is short, as nearly all are; longer ones have an index.
#[derive(Clone, Debug, Default)]
struct Members {
    list: Vec<(Text, Value)>,
    // Boxed, as nearly no object has one.
    #[allow(clippy::box_collection)]
    index: Option<Box<HashMap<Text, usize>>>,
}

/// Objects with more members than this have an index.
const SHORT: usize = 16;

impl Members {
    fn place(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => self.list.iter().position(|(key, _)| &**key == name),
        }
    }

    fn rebuild_index(&mut self) {
        self.index = (self.list.len() > SHORT)
            .then(|| Box::new(self.list.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect()));
    }

    /// Adds a member or replaces one, without regard to array indexes. [`Members::sort_indexes`] must follow.
    fn put(&mut self, name: Text, value: Value) {
        match self.place(&name) {
            Some(at) => self.list[at].1 = value,
            None => self.add(name, value),
        }
    }

    /// Adds a member that isn't there. For array indexes as [`Members::put`].
    fn add(&mut self, name: Text, value: Value) {
        if let Some(index) = &mut self.index {
            index.insert(name.clone(), self.list.len());
        }
        self.list.push((name, value));
        if self.index.is_none() && self.list.len() > SHORT {
            self.rebuild_index();
        }
    }

    /// Brings array indexes to the front, ascending.
    fn sort_indexes(&mut self) {
        if self.list.iter().any(|(key, _)| array_index(key).is_some()) {
            // Stable, so other names keep their order behind the indexes.
            self.list.sort_by_key(|(key, _)| array_index(key).map_or(u64::MAX, u64::from));
            self.rebuild_index();
        }
    }
}

impl Object {
    /// An object without members.
    pub fn new() -> Self {
        Object::default()
    }

    /// The same, with room for so many.
    pub fn with_capacity(members: usize) -> Self {
        Object::from(Members { list: Vec::with_capacity(members), index: None })
    }

    fn list(&self) -> &[(Text, Value)] {
        self.0.as_ref().map_or(&[], |members| &members.list)
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.0.as_ref()?.place(name)
    }

    /// The members, nobody else's from now on.
    fn own(&mut self) -> &mut Members {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    /// Whether the two share their members: then they are the same, undefined ones included.
    pub fn is_shared_with(&self, other: &Object) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }

    /// The member called `name`; `None` also if it is there and undefined.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.place(name).map(|at| &self.list()[at].1).filter(|value| !value.is_undefined())
    }

    /// The member called `name`, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.place(name).map(|at| &mut self.own().list[at].1)
    }

    /// Whether there is a member of this name, be it undefined (`name in object`).
    pub fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// Sets a member. One that exists keeps its place.
    pub fn set(&mut self, name: impl Into<Text> + AsRef<str>, value: impl Into<Value>) {
        let value = value.into();
        let place = self.place(name.as_ref());
        let members = self.own();
        match place {
            Some(at) => members.list[at].1 = value,
            None => {
                let name = name.into();
                let number = array_index(&name).is_some();
                members.add(name, value);
                if number {
                    members.sort_indexes();
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
        let members = self.own();
        let (_, value) = members.list.remove(at);
        if members.index.is_some() {
            members.rebuild_index();
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
                self.place(name).unwrap_or(self.len() - 1)
            }
        };
        self.own().list[at].1.make_object()
    }

    /// Members in order, undefined ones included.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Value)> {
        self.list().iter().map(|(name, value)| (name, value))
    }

    /// Members in order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Text, &mut Value)> {
        let list = if self.0.is_some() { &mut self.own().list[..] } else { &mut [] };
        list.iter_mut().map(|(name, value)| (&*name, value))
    }

    /// How many members there are, undefined ones included.
    pub fn len(&self) -> usize {
        self.list().len()
    }

    /// Whether there is no member that would be written.
    pub fn is_empty(&self) -> bool {
        self.list().iter().all(|(_, value)| value.is_undefined())
    }

    /// Keeps the members for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Value) -> bool) {
        if self.list().iter().all(|(name, value)| keep(name, value)) {
            return;
        }
        let members = self.own();
        members.list.retain(|(name, value)| keep(name, value));
        members.rebuild_index();
    }
}

impl From<Members> for Object {
    fn from(members: Members) -> Self {
        Object(Some(Arc::new(members)))
    }
}

impl PartialEq for Object {
    /// Members in the same order, undefined ones included.
    fn eq(&self, other: &Self) -> bool {
        self.is_shared_with(other) || self.list() == other.list()
    }
}

impl IntoIterator for Object {
    type Item = (Text, Value);
    type IntoIter = std::vec::IntoIter<(Text, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map(Arc::unwrap_or_clone).unwrap_or_default().list.into_iter()
    }
}

impl FromIterator<(Text, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (Text, Value)>>(all: I) -> Self {
        let mut members = Members::default();
        for (name, value) in all {
            members.put(name, value);
        }
        members.sort_indexes();
        members.into()
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
        let mut members = Members::default();
        while let Some(name) = map.next_key_seed(Name(self))? {
            members.put(name, map.next_value_seed(self)?);
        }
        if members.list.is_empty() {
            return Ok(Value::object());
        }
        members.sort_indexes();
        Ok(Value::Object(members.into()))
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
    fn copies_share_until_one_changes() {
        let mut a = Object::new().with("x", Object::new().with("y", 1.0)).with("z", Object::new());
        let b = a.clone();
        assert!(a.is_shared_with(&b));
        a.object_mut("x").set("y", 2.0);
        assert!(!a.is_shared_with(&b));
        assert_eq!(
            (Value::from(a.clone()).to_json(), Value::from(b.clone()).to_json()),
            (r#"{"x":{"y":2},"z":{}}"#.to_owned(), r#"{"x":{"y":1},"z":{}}"#.to_owned())
        );
        let mut c = b.clone();
        c.retain(|_, _| true);
        assert!(c.is_shared_with(&b), "nothing changed");
        c.iter_mut().for_each(|(_, value)| *value = Value::Null);
        assert_eq!((c.len(), b.get("z").and_then(Value::as_object).map(Object::len)), (2, Some(0)));
        assert_eq!(b.into_iter().count(), 2);
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
