//! Counting: what the test runners say at the end.

use std::ops::AddAssign;

/// Tests that passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Tally {
    /// What nextest (`120 passed, 3 failed`), the test harness (`ok. 3 passed; 0 failed`) and the
    /// interop runner (`400 passed, 0 failed`) print, summed over all lines that speak of it. A
    /// runner that failed without saying of what counts as one failure.
    pub fn of(output: &str, succeeded: bool) -> Self {
        let mut tally = Tally::default();
        for line in output.lines().map(plain).filter(|line| is_summary(line)) {
            tally.passed += before(&line, "passed");
            tally.failed += before(&line, "failed") + before(&line, "timed out");
        }
        if !succeeded && tally.failed == 0 {
            tally.failed = 1;
        }
        tally
    }
}

/// What is indented is the output of a test that failed; only nextest indents its own summary.
fn is_summary(line: &str) -> bool {
    line.trim_start().starts_with("Summary [")
        || line.starts_with("test result:")
        || (line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(" passed, ") && line.ends_with(" failed"))
}

/// The number before `word`; 0 if there is none.
fn before(line: &str, word: &str) -> u64 {
    let Some(at) = line.find(&format!(" {word}")) else { return 0 };
    line[..at].rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Without terminal colours.
fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runner_is_understood() {
        let nextest = "    PASS x\n\u{1b}[32;1m     Summary\u{1b}[0m [   1.234s] \u{1b}[1m123\u{1b}[0m tests run: \
                       \u{1b}[1m119\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m (2 slow), \u{1b}[1m3\u{1b}[0m failed, 1 timed out, 2 skipped\n";
        assert_eq!(Tally::of(nextest, false), Tally { passed: 119, failed: 4 });
        let with_output = "    test result: FAILED. 0 passed; 1 failed; 0 ignored\n     Summary [  2s] 2 tests run: 1 passed, 1 failed\n";
        assert_eq!(Tally::of(with_output, false), Tally { passed: 1, failed: 1 });
        let doc =
            "test result: ok. 3 passed; 0 failed; 1 ignored\n\ntest result: FAILED. 4 passed; 2 failed; 0 ignored\n";
        assert_eq!(Tally::of(doc, false), Tally { passed: 7, failed: 2 });
        assert_eq!(Tally::of("…\n400 passed, 0 failed\n", true), Tally { passed: 400, failed: 0 });
    }

    #[test]
    fn silence_is_a_failure_if_the_runner_failed() {
        assert_eq!(Tally::of("error: could not compile", false), Tally { passed: 0, failed: 1 });
        assert_eq!(Tally::of("", true), Tally::default());
    }
}
