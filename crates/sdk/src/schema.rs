//! JSON Schemas (draft 7) of Rust types, for definitions. What a type's documentation says becomes
//! the schema's descriptions.

use duologue_model::Json;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The schema of `T`, self-contained: nothing is referred to that could be written in place.
///
/// Payloads, inputs and outputs are objects. A type that isn't one (`()`, `Value`) gets a schema that
/// takes any.
///
/// ```
/// # use duologue_sdk::{schema_of, JsonSchema};
/// #[derive(JsonSchema)]
/// struct Point {
///     x: f64,
/// }
/// assert_eq!(schema_of::<Point>().value()["properties"]["x"]["type"], "number");
/// ```
pub fn schema_of<T: JsonSchema>() -> Json {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    let Some(object) = schema.as_object_mut().filter(|object| is_object(object)) else {
        return Json::of(&json!({ "type": "object", "additionalProperties": true }));
    };
    // Names of Rust's own number types: validators warn about formats that they don't know.
    strip_formats(object);
    Json::of(&schema)
}

fn is_object(schema: &Map<String, Value>) -> bool {
    let kinds = ["oneOf", "anyOf", "allOf"].iter().any(|name| schema.contains_key(*name));
    schema.get("type").map_or(kinds, |kind| kind == "object")
}

const RUST_FORMATS: &[&str] = &[
    "int8", "int16", "int32", "int64", "int128", "int", "uint8", "uint16", "uint32", "uint64", "uint128", "uint",
    "float", "double",
];

fn strip_formats(object: &mut Map<String, Value>) {
    if object.get("format").and_then(Value::as_str).is_some_and(|format| RUST_FORMATS.contains(&format)) {
        object.shift_remove("format");
    }
    for value in object.values_mut() {
        strip_formats_within(value);
    }
}

fn strip_formats_within(value: &mut Value) {
    match value {
        Value::Object(object) => strip_formats(object),
        Value::Array(items) => items.iter_mut().for_each(strip_formats_within),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Inner {
        /// How many.
        count: u32,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Outer {
        inner: Inner,
        again: Option<Inner>,
        format: String,
    }

    #[test]
    fn schemas_are_draft_7_and_self_contained() {
        let schema = schema_of::<Outer>().value();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        assert_eq!(schema["properties"]["inner"]["properties"]["count"]["description"], "How many.");
        assert_eq!(schema["properties"]["inner"]["properties"]["count"]["type"], "integer");
        assert_eq!(schema["properties"]["format"]["type"], "string");
        assert_eq!(schema["required"], json!(["inner", "format"]));
        let text = schema.to_string();
        assert!(!text.contains("$ref") && !text.contains("uint32"), "{text}");
    }

    #[test]
    fn what_is_no_object_takes_any() {
        for schema in [schema_of::<()>(), schema_of::<String>(), schema_of::<Value>()] {
            assert_eq!(schema.value()["type"], "object", "{}", schema.text());
        }
    }
}
