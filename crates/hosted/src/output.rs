//! What a process writes, read into lines: bounded in length and in number, so that a process that floods
//! its output slows down itself and nobody else.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::Instant,
};

/// Bytes of a line; the rest is left out.
const LONGEST: usize = 8 * 1024;
/// Lines that may come at once.
const BURST: f64 = 1000.0;
/// Lines a second in the long run.
const RATE: f64 = 100.0;
/// How often the number of lines that were left out is told.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// After so many bytes reading pauses, which bounds what a flood costs.
const STRIDE: usize = 1 << 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Reads to the end and hands on each line. `report` is told how many were left out because they came too
/// fast.
pub async fn read(mut from: impl AsyncRead + Unpin, mut take: impl FnMut(String), mut report: impl FnMut(u64)) {
    let mut lines = Lines::default();
    let mut budget = Budget::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut since_pause = 0;
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        lines.push(&chunk[..count], &mut |line| {
            if budget.spend() {
                take(line);
            } else {
                budget.left_out += 1;
            }
            if let Some(count) = budget.due() {
                report(count);
            }
        });
        since_pause += count;
        if since_pause >= STRIDE {
            since_pause = 0;
            tokio::time::sleep(PAUSE).await;
        }
    }
    lines.finish(&mut take);
    if budget.left_out > 0 {
        report(budget.left_out);
    }
}

struct Budget {
    lines: f64,
    at: Instant,
    left_out: u64,
    /// When it was last told how many were left out.
    told_at: Option<Instant>,
}

impl Budget {
    fn new() -> Self {
        Budget { lines: BURST, at: Instant::now(), left_out: 0, told_at: None }
    }

    fn spend(&mut self) -> bool {
        let now = Instant::now();
        self.lines = (self.lines + (now - self.at).as_secs_f64() * RATE).min(BURST);
        self.at = now;
        let enough = self.lines >= 1.0;
        if enough {
            self.lines -= 1.0;
        }
        enough
    }

    /// How many lines were left out, if it is time to tell.
    fn due(&mut self) -> Option<u64> {
        let due = self.left_out > 0 && self.told_at.is_none_or(|told| self.at - told >= TELL_EVERY);
        due.then(|| {
            self.told_at = Some(self.at);
            std::mem::take(&mut self.left_out)
        })
    }
}

/// Bytes become lines. A line that begins with a space belongs to the one before it, if both came at once:
/// a stack trace is one entry.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    cut: usize,
}

impl Lines {
    fn push(&mut self, mut bytes: &[u8], take: &mut impl FnMut(String)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = (&bytes[..end], &bytes[end + 1..]);
            self.add(head);
            bytes = rest;
            if matches!(bytes.first(), Some(b' ' | b'\t')) && bytes.contains(&b'\n') {
                self.add(b"\n");
                continue;
            }
            self.finish(take);
        }
        self.add(bytes);
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = (LONGEST - self.line.len()).min(bytes.len());
        self.line.extend_from_slice(&bytes[..room]);
        self.cut += bytes.len() - room;
    }

    fn finish(&mut self, take: &mut impl FnMut(String)) {
        let mut text = String::from_utf8_lossy(&self.line).trim_end().to_owned();
        if self.cut > 0 {
            text.push_str(&format!("… ({} bytes more)", self.cut));
        }
        self.line.clear();
        self.cut = 0;
        if !text.is_empty() {
            // The store has no room for NUL.
            take(text.replace('\0', "\u{fffd}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8]) -> (Vec<String>, u64) {
        let (mut found, mut left_out) = (Vec::new(), 0);
        read(text, |line| found.push(line), |count| left_out += count).await;
        (found, left_out)
    }

    #[tokio::test]
    async fn stack_traces_stay_together() {
        let (found, _) = lines(b"one\r\nError: no\n    at a\n    at b\n\ntwo\nthree").await;
        assert_eq!(found, ["one", "Error: no\n    at a\n    at b", "two", "three"]);
    }

    #[tokio::test]
    async fn long_lines_are_cut() {
        let (found, _) = lines(&[b"x".repeat(20_000), b"\nnext\n".to_vec()].concat()).await;
        assert_eq!(found[0].len(), LONGEST + "… (11808 bytes more)".len());
        assert!(found[0].ends_with("x… (11808 bytes more)"));
        assert_eq!(found[1], "next");
    }

    #[tokio::test]
    async fn floods_are_counted_not_kept() {
        let (found, left_out) = lines("line\n".repeat(5000).as_bytes()).await;
        assert!((1000..1100).contains(&found.len()), "{}", found.len());
        assert_eq!(found.len() as u64 + left_out, 5000);
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_replaced() {
        let (found, _) = lines(b"a\xffb\0c\n").await;
        assert_eq!(found, ["a\u{fffd}b\u{fffd}c"]);
    }
}
