//! What an import took, what it didn't, and why.

use std::fmt;

/// An account of every file, in the order of bots and paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A line for each file, or for each thing that was left out as a whole.
    pub entries: Vec<Entry>,
}

/// What happened to a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The bot; `None` for what all bots share.
    pub bot: Option<String>,
    /// The path in the bot's folder, or in the global one.
    pub path: String,
    /// What happened.
    pub verdict: Verdict,
    /// Why, or what to know. May be empty.
    pub reason: String,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Used.
    Taken,
    /// Not used, but kept with the bot's files.
    Kept,
    /// Not taken.
    Left,
    /// Should have been used, but can't be.
    Broken,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        bot: Option<&str>,
        path: impl Into<String>,
        verdict: Verdict,
        reason: impl Into<String>,
    ) {
        self.entries.push(Entry { bot: bot.map(str::to_owned), path: path.into(), verdict, reason: reason.into() });
    }

    /// How many files had this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.entries.iter().filter(|entry| entry.verdict == verdict).count()
    }

    /// The files that should have been used, but can't be.
    pub fn broken(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.verdict == Verdict::Broken)
    }
}

impl Entry {
    /// The file, below the data folder.
    pub fn place(&self) -> String {
        match &self.bot {
            Some(bot) => format!("bots/{bot}/{}", self.path),
            None => format!("global/{}", self.path),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Taken => "taken",
            Verdict::Kept => "kept",
            Verdict::Left => "left",
            Verdict::Broken => "broken",
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6} {}", self.verdict.to_string(), self.place())?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

/// Everything that isn't simply taken, and the sums.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            if entry.verdict != Verdict::Taken || !entry.reason.is_empty() {
                writeln!(f, "{entry}")?;
            }
        }
        let count = |verdict| self.count(verdict);
        write!(
            f,
            "{} files taken, {} kept unused, {} left, {} broken",
            count(Verdict::Taken),
            count(Verdict::Kept),
            count(Verdict::Left),
            count(Verdict::Broken)
        )
    }
}
