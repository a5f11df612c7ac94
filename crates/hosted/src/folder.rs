//! The files of hosted code: the runner, and a folder for every process with its bundle and room for its
//! temporary files.
//!
//! Each server has a folder of its own, locked while it runs; what servers that were killed left behind
//! is removed by the next one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use duologue_bridge::Code;

use crate::{Error, random_hex};

const RUNNER: &str = include_str!("runner.cjs");
const LOCK: &str = "lock";

/// A server's folder. Removed at the end.
pub struct Folder {
    path: PathBuf,
    next: AtomicU64,
    _lock: File,
}

/// A process's folder. Removed at the end.
pub struct Home {
    path: PathBuf,
}

impl Folder {
    /// Makes a folder inside `parent`, and removes those that nobody uses any more.
    pub fn create(parent: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::Folder(parent.to_owned(), error.to_string());
        make(parent, true).map_err(failed)?;
        // Held while this one is being made, so that no other server takes it for a dead one's.
        let _making = making(parent).map_err(failed)?;
        sweep(parent).map_err(failed)?;
        // Node's permissions compare absolute paths without links.
        let name = random_hex::<8>().map_err(failed)?;
        let path = parent.canonicalize().map_err(failed)?.join(name);
        make(&path, false).map_err(failed)?;
        let lock = write(&path.join(LOCK), "").map_err(failed)?;
        lock.try_lock().map_err(|error| failed(error.into()))?;
        write(&path.join("runner.cjs"), RUNNER).map_err(failed)?;
        Ok(Folder { path, next: AtomicU64::new(1), _lock: lock })
    }

    /// Named so that a `package.json` in a folder above can't make an ES module of it.
    pub fn runner(&self) -> PathBuf {
        self.path.join("runner.cjs")
    }

    /// A folder for a process of this code.
    pub fn home(&self, code: &Code, bundle: &str) -> io::Result<Home> {
        let (Code::Bot(id) | Code::Integration(id)) = code;
        let name: String =
            id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).take(64).collect();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let home = Home { path: self.path.join(format!("{name}.{number}")) };
        make(&home.path, false)?;
        make(&home.temporary(), false)?;
        write(&home.bundle(), bundle)?;
        Ok(home)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed now is by the next server.
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Home {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn bundle(&self) -> PathBuf {
        self.path.join("bundle.cjs")
    }

    /// What the process may write to.
    pub fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// For nobody but the user of the server.
fn make(path: &Path, parents: bool) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(parents).create(path)
}

fn write(path: &Path, text: &str) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn making(parent: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(parent.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

fn sweep(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        // What has no lock inside isn't a server's.
        if let Ok(lock) = File::open(path.join(LOCK))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_server_left_is_removed_and_what_runs_stays() {
        let parent = tempfile::tempdir().unwrap();
        let running = Folder::create(parent.path()).unwrap();
        let dead = Folder::create(parent.path()).unwrap();
        let left = dead.path.clone();
        dead._lock.unlock().unwrap();
        std::mem::forget(dead);
        let third = Folder::create(parent.path()).unwrap();
        assert!(!left.exists());
        assert!(running.path.exists() && third.path.exists());
    }

    #[test]
    fn only_the_server_can_look_into_it() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::create(parent.path()).unwrap();
        let home = folder.home(&Code::Bot("../bot_1".into()), "code").unwrap();
        assert!(home.path().starts_with(&folder.path));
        assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(home.bundle()).unwrap().permissions().mode() & 0o777, 0o600);
        let path = home.path().to_owned();
        drop(home);
        assert!(!path.exists());
    }
}
