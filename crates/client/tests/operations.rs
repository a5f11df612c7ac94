//! Every operation of the runtime API has a function of its name.

// Test code that runs outside `#[test]` functions.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

/// `createMessage` → `create_message`.
fn snake_case(name: &str) -> String {
    name.chars().fold(String::new(), |mut text, letter| {
        if letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
        text
    })
}

fn functions(folder: &Path) -> String {
    fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn the_runtime_api_is_covered() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let description = fs::read_to_string(root.join("../../spec/cloud/runtime.openapi.json")).unwrap();
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    let source = functions(&root.join("src/runtime"));
    let mut operations = 0;
    for path in description["paths"].as_object().unwrap().values() {
        for operation in path.as_object().unwrap().values().filter_map(|o| o["operationId"].as_str()) {
            operations += 1;
            assert!(source.contains(&format!("fn {}(", snake_case(operation))), "{operation} is missing");
        }
    }
    assert!(operations >= 51, "{operations}");
}
