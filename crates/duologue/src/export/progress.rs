//! Says on standard error how it goes: a line that changes on a terminal, else a line now and then.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line is written where lines can't change.
const EVERY: Duration = Duration::from_secs(5);
/// How often the changing line changes.
const REFRESH: Duration = Duration::from_millis(200);

/// Counts conversations and messages, and shows the count.
pub(crate) struct Progress {
    /// What happens to them: `exported`, `imported`.
    verb: &'static str,
    started: Instant,
    shown: Instant,
    bar: Option<ProgressBar>,
    quiet: bool,
    pub conversations: u64,
    pub messages: u64,
}

impl Progress {
    /// Begins counting. `total` is what the measure of [`Progress::tick`] will reach, if known.
    pub fn new(verb: &'static str, quiet: bool, total: Option<u64>) -> Self {
        let now = Instant::now();
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| bar(total));
        Progress { verb, started: now, shown: now, bar, quiet, conversations: 0, messages: 0 }
    }

    /// Shows the count if it is time. `measure` goes towards the total.
    pub fn tick(&mut self, measure: u64) {
        let pause = if self.bar.is_some() { REFRESH } else { EVERY };
        if self.quiet || self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        match &self.bar {
            Some(bar) => {
                bar.set_position(measure);
                bar.set_message(self.count());
                bar.tick();
            }
            None => eprintln!("{}: {}", self.verb, self.count()),
        }
    }

    /// Takes the changing line away.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Writes a closing line, unless quiet.
    pub fn say(&self, line: &str) {
        self.clear();
        if !self.quiet {
            eprintln!("{line}");
        }
    }

    /// `12 conversations, 345 messages in 1.2 s (288 messages/s)`.
    pub fn summary(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        format!(
            "{} in {seconds:.1} s ({:.0} messages/s)",
            counted(self.conversations, self.messages),
            self.messages as f64 / seconds.max(0.001)
        )
    }

    fn count(&self) -> String {
        let rate = self.messages as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        format!("{} ({rate:.0} messages/s)", counted(self.conversations, self.messages))
    }
}

/// `1 conversation, 2 messages`.
pub(crate) fn counted(conversations: u64, messages: u64) -> String {
    let plural = |n: u64| if n == 1 { "" } else { "s" };
    format!("{conversations} conversation{}, {messages} message{}", plural(conversations), plural(messages))
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:30} {percent:>3} %  {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    // A mistake in the template would only cost its looks.
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
