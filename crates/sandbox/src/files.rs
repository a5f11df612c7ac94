//! The virtual files that `require` sees: a bot's actions, libraries and packages, by path. Nothing
//! here touches a real file.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

/// Folders in which a bare name is looked for, after the requiring file's own (actions-skills.md 1.2).
const ROOTS: [&str; 5] =
    ["libraries", "libraries/node_modules", "shared_libs", "shared_libs/node_modules", "node_modules"];

/// Files by path, with `/` between folders and none in front: `actions/orders/util.js`.
#[derive(Debug, Default)]
pub struct Files {
    by_path: HashMap<String, Arc<str>>,
}

/// A file that a `require` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its path.
    pub path: String,
    /// Its text.
    pub source: Arc<str>,
}

impl Files {
    /// No files.
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Files>> = LazyLock::new(Arc::default);
        NONE.clone()
    }

    /// Files by path. Of two with the same path the later stays.
    pub fn new<P: Into<String>, S: Into<Arc<str>>>(files: impl IntoIterator<Item = (P, S)>) -> Arc<Self> {
        let by_path = files.into_iter().map(|(path, source)| (path.into(), source.into())).collect();
        Arc::new(Self { by_path })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// The file that `request` means in the file `from`, by the rules of CommonJS: the exact path, with
    /// `.js` or `.json`, a folder's `package.json` (`main`, or `exports` for `require`), a folder's
    /// `index.js`. Bare names are looked for in the file's own folder, the `node_modules` above
    /// it, `libraries` and `shared_libs`; a relative path that isn't there, in the last two as well.
    pub fn resolve(&self, from: &str, request: &str) -> Option<Resolved> {
        let own = folder(from);
        if request.starts_with("./") || request.starts_with("../") || request == "." || request == ".." {
            return self.at(&join(own, request)?).or_else(|| {
                let request = request.trim_start_matches("./").trim_start_matches("../");
                ["libraries", "shared_libs"].iter().find_map(|root| self.at(&join(root, request)?))
            });
        }
        if request.starts_with('/') {
            return self.at(&join("", request.trim_start_matches('/'))?);
        }
        self.at(&join(own, request)?)
            .or_else(|| self.in_packages_above(own, request))
            .or_else(|| ROOTS.iter().find_map(|root| self.at(&join(root, request)?)))
    }

    fn in_packages_above(&self, own: &str, request: &str) -> Option<Resolved> {
        let mut above = own;
        while !above.is_empty() {
            if let Some(found) = self.at(&join(&format!("{above}/node_modules"), request)?) {
                return Some(found);
            }
            above = folder(above);
        }
        None
    }

    fn at(&self, path: &str) -> Option<Resolved> {
        self.file(path).or_else(|| self.package(path)).or_else(|| self.exact(&format!("{path}/index.js")))
    }

    fn file(&self, path: &str) -> Option<Resolved> {
        self.exact(path)
            .or_else(|| self.exact(&format!("{path}.js")))
            .or_else(|| self.exact(&format!("{path}.json")))
            .or_else(|| self.exact(&format!("{path}.cjs")))
    }

    fn exact(&self, path: &str) -> Option<Resolved> {
        self.by_path.get(path).map(|source| Resolved { path: path.to_owned(), source: source.clone() })
    }

    fn package(&self, path: &str) -> Option<Resolved> {
        let description: Value = serde_json::from_str(self.by_path.get(&format!("{path}/package.json"))?).ok()?;
        let main = exported(&description["exports"]).or_else(|| description["main"].as_str())?;
        let main = join(path, main)?;
        self.file(&main).or_else(|| self.exact(&format!("{main}/index.js")))
    }
}

/// What `require` gets by a package's `exports`.
fn exported(exports: &Value) -> Option<&str> {
    match exports {
        Value::String(path) => Some(path),
        Value::Object(conditions) => {
            [".", "require", "node", "default"].iter().find_map(|key| exported(conditions.get(*key)?))
        }
        _ => None,
    }
}

fn folder(path: &str) -> &str {
    path.rfind('/').map_or("", |end| &path[..end])
}

/// `path` seen from `folder`, without `.` and `..`; none if it leaves the tree.
fn join(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(from: &str, request: &str) -> Option<String> {
        let files = Files::new([
            ("actions/a.js", ""),
            ("actions/helper.js", ""),
            ("actions/deep/b.js", ""),
            ("actions/data.json", "{}"),
            ("libraries/lib.js", ""),
            ("libraries/folder/index.js", ""),
            ("libraries/node_modules/pkg/package.json", r#"{"main":"lib/main"}"#),
            ("libraries/node_modules/pkg/lib/main.js", ""),
            ("node_modules/modern/package.json", r#"{"exports":{".":{"import":"./m.mjs","require":"./c.cjs"}}}"#),
            ("node_modules/modern/c.cjs", ""),
            ("shared_libs/shared.js", ""),
        ]);
        files.resolve(from, request).map(|found| found.path)
    }

    #[test]
    fn finds_what_node_would_find() {
        for (from, request, expected) in [
            ("actions/a.js", "./helper", Some("actions/helper.js")),
            ("actions/a.js", "helper", Some("actions/helper.js")),
            ("actions/deep/b.js", "../helper.js", Some("actions/helper.js")),
            ("actions/a.js", "./data", Some("actions/data.json")),
            ("actions/a.js", "lib", Some("libraries/lib.js")),
            ("actions/a.js", "./lib", Some("libraries/lib.js")),
            ("actions/a.js", "folder", Some("libraries/folder/index.js")),
            ("actions/a.js", "pkg", Some("libraries/node_modules/pkg/lib/main.js")),
            ("actions/a.js", "pkg/lib/main", Some("libraries/node_modules/pkg/lib/main.js")),
            ("actions/a.js", "modern", Some("node_modules/modern/c.cjs")),
            ("actions/a.js", "shared", Some("shared_libs/shared.js")),
            ("actions/a.js", "absent", None),
            ("actions/a.js", "../../../etc/passwd", None),
            ("actions/a.js", "/etc/passwd", None),
        ] {
            assert_eq!(found(from, request).as_deref(), expected, "{request} in {from}");
        }
    }
}
