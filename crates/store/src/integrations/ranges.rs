//! Versions and ranges of versions, as npm writes them (`spec/cloud/cli-protocol.md` § 1).

use semver::{Version, VersionReq};

/// Which version of an integration is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    Exact(Version),
    /// The highest that is no pre-release, or the highest if all are.
    Latest,
    /// The highest that satisfies any of these.
    Range(Vec<VersionReq>),
}

impl Wanted {
    /// `latest`, a version, or a range; `None` for anything else.
    pub fn parse(text: &str) -> Option<Wanted> {
        let text = text.trim();
        if text == "latest" {
            return Some(Wanted::Latest);
        }
        if let Ok(version) = Version::parse(text) {
            return Some(Wanted::Exact(version));
        }
        text.split("||").map(range).collect::<Option<Vec<_>>>().map(Wanted::Range)
    }

    /// The position of the best of these versions.
    pub fn choose(&self, versions: &[Version]) -> Option<usize> {
        let highest = |fits: &dyn Fn(&Version) -> bool| {
            let fitting = versions.iter().enumerate().filter(|(_, version)| fits(version));
            fitting.max_by(|a, b| a.1.cmp(b.1)).map(|(index, _)| index)
        };
        match self {
            Wanted::Exact(wanted) => versions.iter().position(|version| version == wanted),
            Wanted::Latest => highest(&|version| version.pre.is_empty()).or_else(|| highest(&|_| true)),
            Wanted::Range(any) => highest(&|version| any.iter().any(|range| range.matches(version))),
        }
    }
}

/// One alternative of a range: comparators that blanks separate, or `a - b`.
fn range(text: &str) -> Option<VersionReq> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [low, "-", high] = words[..] {
        return VersionReq::parse(&format!(">={low}, <={high}")).ok();
    }
    let mut comparators: Vec<String> = Vec::new();
    for word in words {
        // "> 1.0" is ">1.0".
        let glued = comparators.last_mut().filter(|last| last.ends_with(['<', '>', '=', '^', '~']));
        match glued {
            Some(operator) => operator.push_str(word),
            None => comparators.push(word.to_owned()),
        }
    }
    for comparator in &mut comparators {
        let bare = comparator.trim_start_matches('v');
        let bare_digit = bare.starts_with(|c: char| c.is_ascii_digit());
        // A partial version means all that begin so; npm's "1.2" is "1.2.x".
        if bare_digit && !bare.contains(['x', 'X', '*']) {
            *comparator = format!("={bare}");
        } else if matches!(comparator.as_str(), "x" | "X" | "") {
            "*".clone_into(comparator);
        }
    }
    let text = if comparators.is_empty() { "*".to_owned() } else { comparators.join(", ") };
    if text == "*" { Some(VersionReq::STAR) } else { VersionReq::parse(&text).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best<'v>(wanted: &str, versions: &[&'v str]) -> Option<&'v str> {
        let parsed: Vec<Version> = versions.iter().map(|v| Version::parse(v).unwrap()).collect();
        Wanted::parse(wanted).and_then(|wanted| wanted.choose(&parsed)).map(|index| versions[index])
    }

    #[test]
    fn ranges_choose_the_highest_that_fits() {
        let versions = ["0.9.0", "1.0.0", "1.2.3", "1.10.0", "2.0.0-rc.1", "2.0.0"];
        for (wanted, expected) in [
            ("latest", Some("2.0.0")),
            ("1.2.3", Some("1.2.3")),
            ("1.2.4", None),
            ("<1.0.0", Some("0.9.0")),
            (">=1.0.0 <2.0.0-0", Some("1.10.0")),
            ("> 1.0.0 < 1.10.0", Some("1.2.3")),
            ("1.x", Some("1.10.0")),
            ("1", Some("1.10.0")),
            ("1.2", Some("1.2.3")),
            ("^1.0.0", Some("1.10.0")),
            ("~1.2.0", Some("1.2.3")),
            ("*", Some("2.0.0")),
            ("0.x || 1.2.x", Some("1.2.3")),
            ("0.9.0 - 1.2.3", Some("1.2.3")),
            (">=3", None),
            ("nonsense", None),
        ] {
            assert_eq!(best(wanted, &versions), expected, "{wanted}");
        }
    }

    #[test]
    fn latest_prefers_releases() {
        assert_eq!(best("latest", &["1.0.0", "2.0.0-rc.1"]), Some("1.0.0"));
        assert_eq!(best("latest", &["1.0.0-a", "2.0.0-rc.1"]), Some("2.0.0-rc.1"));
    }
}
