//! Query parameters; `include` as the original's framework read it.

use duologue_v12::ApiError;
use percent_encoding::percent_decode_str;

/// The parameter's text; empty if it is missing.
///
/// # Errors
/// 400 if it is given more than once or as an array.
pub(super) fn include(query: &str) -> Result<String, ApiError> {
    let mut found = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name);
        if name.starts_with("include[") || (name == "include" && found.is_some()) {
            return Err(ApiError::include_is_no_text());
        }
        if name == "include" {
            found = Some(decoded(value));
        }
    }
    Ok(found.unwrap_or_default())
}

/// The text of a parameter, the last if it is given more than once.
pub(super) fn last(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.rfind(|(key, _)| decoded(key) == name).map(|(_, value)| decoded(value))
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_or_none() {
        for (query, expected) in [
            ("", Ok("")),
            ("a=1&include=nlu,state", Ok("nlu,state")),
            ("include=nlu,+state", Ok("nlu, state")),
            ("include=nlu%2Cstate", Ok("nlu,state")),
            ("include=a&include=b", Err(())),
            ("include[]=a", Err(())),
            ("include%5B%5D=a", Err(())),
        ] {
            assert_eq!(include(query).map_err(|_| ()), expected.map(str::to_owned), "{query}");
        }
    }
}
