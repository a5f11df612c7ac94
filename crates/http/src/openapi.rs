//! The OpenAPI document of what is really served.
//!
//! The shapes are those of the dialect's own description (`spec/cloud/*.openapi.json`), against
//! which the tests validate the answers; operations that aren't in the table of routes are left
//! out, and ours are added.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::route;

const RUNTIME: &str = include_str!("../../../spec/cloud/runtime.openapi.json");
const ADMIN: &str = include_str!("../../../spec/cloud/admin.openapi.json");
const OURS: &str = include_str!("../../../spec/duologue.openapi.json");

/// The document, made on first use.
pub(crate) fn document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| assemble().to_string())
}

fn assemble() -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for (source, text) in [("runtime", RUNTIME), ("admin", ADMIN), ("ours", OURS)] {
        // The documents are part of the binary; a test parses them.
        let mut document: Value = serde_json::from_str(text).unwrap_or_default();
        // Schemas of the same name differ between the documents.
        rename(&mut document, source);
        if let Some(Value::Object(of)) = document.pointer_mut("/components/schemas").map(Value::take) {
            schemas.extend(of.into_iter().map(|(name, schema)| (format!("{source}.{name}"), schema)));
        }
        let Some(Value::Object(of)) = document.get_mut("paths").map(Value::take) else { continue };
        for (path, item) in of {
            let Value::Object(mut item) = item else { continue };
            item.retain(|method, operation| method == "parameters" || is_served(method, &path, operation));
            if item.keys().any(|key| key != "parameters") {
                paths.insert(path, Value::Object(item));
            }
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": {
            "title": "Duologue",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Operations that this server serves.",
        },
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": { "schemas": schemas, "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } } },
    })
}

fn is_served(method: &str, path: &str, operation: &Value) -> bool {
    let id = operation.get("operationId").and_then(Value::as_str);
    route::all().any(|route| {
        route.method.as_str().eq_ignore_ascii_case(method) && shape(route.path) == shape(path) && Some(route.id) == id
    })
}

/// A path without the names of its parameters.
fn shape(path: &str) -> Vec<&str> {
    path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment }).collect()
}

/// Points references at the schemas' new names.
fn rename(value: &mut Value, source: &str) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                match inner {
                    Value::String(target) if key == "$ref" => {
                        *target = target.replace("#/components/schemas/", &format!("#/components/schemas/{source}."));
                    }
                    other => rename(other, source),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, source)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document: Value = serde_json::from_str(document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        for route in route::all() {
            let found = paths
                .iter()
                .filter(|(path, _)| shape(path) == shape(route.path))
                .any(|(_, item)| item[route.method.as_str().to_lowercase()]["operationId"] == route.id);
            assert!(found, "{} {} ({}) is not described", route.method, route.path, route.id);
        }
        let described: usize = paths
            .values()
            .map(|item| item.as_object().unwrap().keys().filter(|key| *key != "parameters").count())
            .sum();
        assert_eq!(described, route::all().count());
    }
}
