//! Our own JavaScript, compiled once in a worker's life. Every run has a fresh context; loading
//! bytecode into it takes a fifth of compiling the text again.

use std::cell::RefCell;
use std::collections::HashMap;

use rquickjs::{Ctx, Function, Module, Result, WriteOptions};

/// The environment of a run: takes the native functions, returns the driver.
pub const CORE: &str = "core";

/// Our texts by name. All but the core are bodies of functions, as in CommonJS.
const TEXTS: &[(&str, &str)] = &[
    (CORE, include_str!("../js/core.js")),
    ("assert", include_str!("../js/assert.js")),
    ("axios", include_str!("../js/axios.js")),
    ("bp", include_str!("../js/bp.js")),
    ("buffer", include_str!("../js/buffer.js")),
    ("crypto", include_str!("../js/crypto.js")),
    ("events", include_str!("../js/events.js")),
    ("lodash", include_str!("../js/lodash.js")),
    ("moment", include_str!("../js/moment.js")),
    ("ms", include_str!("../js/ms.js")),
    ("path", include_str!("../js/path.js")),
    ("querystring", include_str!("../js/querystring.js")),
    ("url", include_str!("../js/url.js")),
    ("util", include_str!("../js/util.js")),
    ("uuid", include_str!("../js/uuid.js")),
];

/// Whether scripts have a module without bringing it.
pub fn provides(name: &str) -> bool {
    let name = name.strip_prefix("node:").unwrap_or(name);
    let package = name.split('/').next().unwrap_or(name);
    let is_whole = package == name || package == "lodash" || ["uuid/v4", "util/types"].contains(&name);
    name == "timers" || is_whole && !["bp", CORE].contains(&package) && TEXTS.iter().any(|(known, _)| *known == package)
}

thread_local! {
    static COMPILED: RefCell<HashMap<&'static str, &'static [u8]>> = RefCell::default();
}

/// The function that one of our texts is, in this context; none for another name.
pub fn function<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Option<Function<'js>>> {
    let Some((name, text)) = TEXTS.iter().find(|(known, _)| *known == name) else { return Ok(None) };
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(bytes) = compiled.get(name) {
            return load(ctx, bytes).map(Some);
        }
        let module = if *name == CORE {
            format!("export default {text}")
        } else {
            format!("export default (function(exports,module,require,native,call){{{text}\n}})")
        };
        let module = Module::declare(ctx.clone(), format!("duologue:{name}"), module)?;
        let options = WriteOptions { strip_source: true, ..WriteOptions::default() };
        // Kept for good, so that nothing that the engine makes of it can outlive it.
        compiled.insert(name, module.write(options)?.leak());
        let (module, _) = module.eval()?;
        module.get("default").map(Some)
    })
}

#[allow(unsafe_code)]
fn load<'js>(ctx: &Ctx<'js>, bytes: &'static [u8]) -> Result<Function<'js>> {
    // SAFETY: the bytes must be what this version of the engine wrote. `function` put them into the map right
    // after the same engine, in this process, wrote them from our own text, and nothing else writes there. They
    // are never freed.
    let module = unsafe { Module::load(ctx.clone(), bytes)? };
    let (module, _) = module.eval()?;
    module.get("default")
}
