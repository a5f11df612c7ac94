//! The frames between a slot and its worker: a length (4 bytes, little endian, of what follows), a
//! letter, and JSON. The parent trusts nothing in a frame but its form.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::Class;
use crate::{Kind, Limits, Log};

/// Letters of the frames to a worker.
pub mod to_worker {
    /// [`super::Hello`]: once, first.
    pub const HELLO: u8 = b'H';
    /// [`super::RunFrame`].
    pub const RUN: u8 = b'R';
    /// [`super::Answer`] to a call.
    pub const ANSWER: u8 = b'A';
    /// [`super::FileAnswer`].
    pub const FILE: u8 = b'F';
}

/// Letters of the frames from a worker.
pub mod to_parent {
    /// [`super::Welcome`]: once, when the worker has locked itself in.
    pub const WELCOME: u8 = b'w';
    /// [`super::Call`]: a host call.
    pub const CALL: u8 = b'c';
    /// [`super::FileRequest`]: the worker stands still until it is answered.
    pub const FILE: u8 = b'f';
    /// [`super::Idle`]: nothing to compute until an answer comes or a timer is due.
    pub const IDLE: u8 = b'i';
    /// [`super::DoneFrame`].
    pub const DONE: u8 = b'd';
}

/// Bytes of a frame at most, in either direction.
pub const MAX_FRAME: usize = 64 << 20;

/// What a worker must know before it locks itself in.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Bytes of address space for the process.
    pub address_space: u64,
    /// Runs after which the worker should be replaced are counted by the parent; conditions' contexts kept by the worker.
    pub contexts: usize,
}

/// The worker is ready.
#[derive(Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The protections in force, e.g. `seccomp`.
    pub protections: Vec<String>,
    /// Those that the system refused, with its reason.
    pub missing: Vec<String>,
    /// Processor time of the process so far.
    pub cpu: Duration,
}

/// A script to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunFrame<'a> {
    pub kind: Cow<'a, Kind>,
    #[serde(borrow)]
    pub owner: Cow<'a, str>,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// Whether asking the parent for files makes sense.
    pub has_files: bool,
    pub variables: Cow<'a, RawValue>,
    pub flags: Vec<String>,
    pub process: Value,
    pub limits: Limits,
}

/// A host call.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    pub id: u32,
    pub method: String,
    pub args: Vec<Value>,
}

/// What a host call came to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    pub id: u32,
    pub result: Result<Value, String>,
}

/// `require` of a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileRequest {
    pub from: String,
    pub request: String,
}

/// A file, if there is one.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileAnswer<'a> {
    #[serde(borrow)]
    pub found: Option<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Nothing to compute.
#[derive(Debug, Serialize, Deserialize)]
pub struct Idle {
    /// Milliseconds until the script's next timer.
    pub timer: Option<u64>,
}

/// The end of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct DoneFrame {
    pub failure: Option<Failure>,
    pub result: Option<Box<RawValue>>,
    pub promise: bool,
    /// The variables, if they changed.
    pub variables: Option<Box<RawValue>>,
    pub flags: Vec<String>,
    pub logs: Vec<Log>,
    /// The worker should be replaced.
    pub worn: bool,
    /// Processor time of the process so far.
    pub cpu: Duration,
}

/// Why a run failed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    pub class: Class,
    pub message: String,
    pub stack: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub column: Option<u32>,
}

/// Appends a frame to `out`.
pub fn append(out: &mut Vec<u8>, letter: u8, body: &impl Serialize) -> serde_json::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(letter);
    if let Err(error) = serde_json::to_writer(&mut *out, body) {
        out.truncate(start);
        return Err(error);
    }
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Bytes that came in, cut into frames.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    read: usize,
}

/// What the next bytes are.
pub enum Next {
    /// A letter and its JSON.
    Frame(u8, Vec<u8>),
    /// Not all of it is here yet.
    Incomplete,
    /// Longer than a frame may be, or empty.
    Malformed,
}

impl Inbox {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next frame out, if it is complete.
    pub fn next(&mut self) -> Next {
        let rest = &self.bytes[self.read..];
        let Some(head) = rest.first_chunk::<4>() else { return Next::Incomplete };
        let length = u32::from_le_bytes(*head) as usize;
        if length == 0 || length > MAX_FRAME {
            return Next::Malformed;
        }
        if rest.len() < 4 + length {
            return Next::Incomplete;
        }
        let frame = Next::Frame(rest[4], rest[5..4 + length].to_vec());
        self.read += 4 + length;
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(1 << 20);
            self.read = 0;
        }
        frame
    }
}

/// Variables of a run as one JSON text.
pub fn raw(variables: &Map<String, Value>) -> serde_json::Result<Box<RawValue>> {
    serde_json::value::to_raw_value(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let mut bytes = Vec::new();
        append(&mut bytes, b'a', &"one").unwrap();
        append(&mut bytes, b'b', &vec![1, 2]).unwrap();
        for cut in 0..bytes.len() {
            let mut inbox = Inbox::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                inbox.push(part);
                while let Next::Frame(letter, body) = inbox.next() {
                    seen.push((letter, body));
                }
            }
            assert_eq!(seen, [(b'a', b"\"one\"".to_vec()), (b'b', b"[1,2]".to_vec())]);
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused() {
        let mut inbox = Inbox::default();
        inbox.push(&[0xff; 5]);
        assert!(matches!(inbox.next(), Next::Malformed));
    }
}
