//! Patterns: regular expressions as they stand in a script, compiled when it is read.

use regex::{Regex, RegexBuilder};

use crate::Error;

/// Most patterns of a script.
pub(crate) const MOST: usize = 32;
/// How large compiled patterns may be, in KiB. Looking costs as much as the pattern is large, so what looking at a byte
/// counts is its size.
const SIZES: [usize; 4] = [8, 32, 128, 512];

#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) regex: Regex,
    /// What looking at a byte costs.
    pub(crate) cost: usize,
}

impl Pattern {
    /// Of the text between `r'` and `'`.
    pub(crate) fn new(text: &str) -> Result<Self, Error> {
        let mut failed = None;
        for size in SIZES {
            match RegexBuilder::new(text).size_limit(size << 10).dfa_size_limit(1 << 20).nest_limit(32).build() {
                Ok(regex) => return Ok(Pattern { regex, cost: size }),
                Err(error @ regex::Error::CompiledTooBig(_)) => failed = Some(error),
                Err(error) => return Err(Error::failed(format!("r'{text}' is no pattern: {error}"))),
            }
        }
        Err(Error::failed(failed.map_or_else(String::new, |_| format!("the pattern r'{text}' is too large"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_patterns_cost_little() {
        for text in [r"^/events/(?P<id>[a-z0-9]+)$", r"\d+", r"(?i)post", r"\s*,\s*"] {
            let cost = Pattern::new(text).unwrap().cost;
            assert!(cost <= 8, "{text} costs {cost}");
        }
        let cost = Pattern::new(r"(?P<name>\w+)@(?P<host>\w+)").unwrap().cost;
        assert!(cost <= 128, "{cost}");
        assert!(Pattern::new(r"(\w{200}){200}").is_err());
    }
}
