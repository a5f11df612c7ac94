//! The note beside an export that isn't finished: how far it came, and with which options.
//!
//! It is replaced as a whole, and only after the export's own bytes are on the disk. Whenever the
//! process or the machine stops, the export is therefore right up to the length noted here.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Error, filter::Position};

/// The version of the note's form.
const VERSION: u32 = 1;

/// How far an export came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Done {
    /// The last conversation written.
    pub after: Option<Position>,
    /// How many were written, in all runs.
    pub conversations: u64,
    /// How many messages.
    pub messages: u64,
    /// The length of the file at the end of the last conversation, in bytes.
    pub bytes: u64,
}

/// The options of an export that must be the same in every run, by name.
pub(crate) type Options = BTreeMap<String, String>;

#[derive(Serialize, Deserialize)]
struct Note {
    /// `export-state`.
    duologue: String,
    version: u32,
    options: Options,
    done: Done,
}

/// Where the note is kept, and the options it holds.
#[derive(Clone, Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    options: Options,
}

impl StateFile {
    /// The note beside `output`, a file or folder.
    pub fn beside(output: &Path, options: Options) -> Self {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(".state");
        StateFile { path: output.with_file_name(name), options }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// What it says. Refuses a note of an export with other options.
    pub fn load(&self) -> Result<Done, Error> {
        let text = fs::read(&self.path).map_err(Error::file("can't read", &self.path))?;
        let note: Note = serde_json::from_slice(&text)
            .ok()
            .filter(|note: &Note| note.duologue == "export-state" && note.version == VERSION)
            .ok_or_else(|| {
                Error::Usage(format!(
                    "{} isn't the state of an export that this version can continue; begin anew with --force",
                    self.path.display()
                ))
            })?;
        self.compare(&note.options)?;
        Ok(note.done)
    }

    fn compare(&self, noted: &Options) -> Result<(), Error> {
        let names: std::collections::BTreeSet<&String> = noted.keys().chain(self.options.keys()).collect();
        let show = |options: &Options, name: &String| match options.get(name).map(String::as_str) {
            None | Some("") => "not set".to_owned(),
            Some(value) => format!("\"{value}\""),
        };
        let differences: Vec<String> = names
            .into_iter()
            .filter(|name| noted.get(*name) != self.options.get(*name))
            .map(|name| format!("{name} was {}, now it is {}", show(noted, name), show(&self.options, name)))
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "this isn't the export that {} continues: {}. Use the options of the first run, another output, \
             or begin anew with --force",
            self.path.display(),
            differences.join("; ")
        )))
    }

    /// Notes that the export came this far. What was written must be on the disk already.
    pub fn save(&self, done: &Done) -> Result<(), Error> {
        let note = Note {
            duologue: "export-state".to_owned(),
            version: VERSION,
            options: self.options.clone(),
            done: done.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&note).map_err(duologue_transcript::Error::from)?;
        text.push(b'\n');
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = self.path.with_file_name(name);
        write_durably(&new, &text)
            .and_then(|()| fs::rename(&new, &self.path))
            .and_then(|()| sync_folder_of(&self.path))
            .map_err(Error::file("can't write", &self.path))
    }

    /// Takes the note away: the export is finished.
    pub fn remove(&self) -> Result<(), Error> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::file("can't remove", &self.path)(e)),
            _ => Ok(()),
        }
    }
}

fn write_durably(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Makes the names in the folder that holds `path` durable, where the system can.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_note_is_read_back_and_bound_to_its_options() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("all.jsonl");
        let state = StateFile::beside(&output, options(&[("format", "jsonl"), ("channel", "")]));
        assert_eq!(state.path(), folder.path().join("all.jsonl.state"));
        assert!(!state.exists());
        let done = Done {
            after: Some(Position { created_at: "2026-01-31".parse().unwrap(), id: "conv_1".into() }),
            conversations: 3,
            messages: 4,
            bytes: 5,
        };
        state.save(&done).unwrap();
        assert_eq!(state.load().unwrap(), done);

        let other = StateFile::beside(&output, options(&[("format", "jsonl"), ("channel", "web")]));
        let refused = other.load().unwrap_err().to_string();
        assert!(refused.contains("channel was not set, now it is \"web\"") && !refused.contains("format"), "{refused}");

        fs::write(state.path(), "{}").unwrap();
        assert!(matches!(state.load(), Err(Error::Usage(_))));
        state.remove().unwrap();
        state.remove().unwrap();
        assert!(!state.exists());
    }
}
