//! Which Node runs the bundles, and with which flags.

use std::{
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{process::Command, sync::Mutex};

use crate::{Error, folder::Home};

/// The oldest major version that runs bundles.
const OLDEST: u32 = 18;
/// How long a Node that wasn't there isn't looked for again.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long it may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// A Node that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    path: PathBuf,
    version: (u32, u32),
}

/// Looks for Node once it is needed, and again as long as there is none.
pub struct Finder {
    given: PathBuf,
    found: Mutex<Option<(Result<Node, Error>, Instant)>>,
}

impl Finder {
    /// `given` is a path, or a name to look for in `PATH`.
    pub fn new(given: PathBuf) -> Self {
        Finder { given, found: Mutex::new(None) }
    }

    pub async fn find(&self) -> Result<Node, Error> {
        let mut found = self.found.lock().await;
        match &*found {
            Some((Ok(node), _)) => return Ok(node.clone()),
            Some((Err(error), at)) if at.elapsed() < LOOK_EVERY => return Err(error.clone()),
            _ => {}
        }
        let result = look(&self.given).await;
        match &result {
            Ok(node) => {
                tracing::info!(path = %node.path.display(), version = ?node.version, "hosted code runs in Node")
            }
            Err(error) => tracing::warn!(%error, "hosted code can't run"),
        }
        *found = Some((result.clone(), Instant::now()));
        result
    }
}

async fn look(given: &Path) -> Result<Node, Error> {
    let advice = "Install Node 18 or later, or name it with --node.";
    let missing =
        || Error::NoNode(format!("There is no Node to run uploaded code: {} was not found. {advice}", given.display()));
    let path = resolve(given).ok_or_else(missing)?;
    let asked =
        Command::new(&path).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).output();
    let unusable = |what: &str| Error::NoNode(format!("{} can't run uploaded code: {what}. {advice}", path.display()));
    let output = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(unusable(&error.to_string())),
        Err(_) => return Err(unusable("it doesn't say its version")),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let version = parse_version(&text).ok_or_else(|| unusable("it doesn't say its version"))?;
    if version.0 < OLDEST {
        return Err(unusable(&format!("it is of version {}", text.trim())));
    }
    Ok(Node { path, version })
}

fn resolve(given: &Path) -> Option<PathBuf> {
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    if given.components().count() > 1 {
        return Some(given.to_owned()).filter(is_program);
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(given)).find(is_program)
}

/// `v20.1.2`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl Node {
    /// The program and its arguments: `heap` is how many MiB of objects, `confined` whether the bundle may
    /// touch files outside its folder, and start processes and threads.
    pub fn command(&self, runner: &Path, home: &Home, heap: u64, confined: bool) -> Vec<OsString> {
        // Node would make the space of new objects smaller for a small heap, and collect garbage all the time.
        let young = (heap / 16).clamp(1, 16);
        let mut command: Vec<OsString> = vec![
            self.path.clone().into(),
            format!("--max-old-space-size={heap}").into(),
            format!("--max-semi-space-size={young}").into(),
        ];
        if confined {
            self.confine(runner, home, &mut command);
        }
        command.push(runner.into());
        command
    }

    fn confine(&self, runner: &Path, home: &Home, command: &mut Vec<OsString>) {
        let (major, minor) = self.version;
        if major < 20 {
            return;
        }
        let stable = major >= 24 || (major == 23 && minor >= 5) || (major == 22 && minor >= 13);
        if stable {
            command.push("--permission".into());
        } else {
            command.push("--experimental-permission".into());
            let quiet =
                if (major, minor) >= (20, 11) { "--disable-warning=ExperimentalWarning" } else { "--no-warnings" };
            command.push(quiet.into());
        }
        // From here on the network has a permission of its own.
        if major >= 25 {
            command.push("--allow-net".into());
        }
        let flag = |name: &str, path: &Path, tail: &str| {
            let mut flag = OsString::from(name);
            flag.push(path);
            flag.push(tail);
            flag
        };
        command.push(flag("--allow-fs-read=", runner, ""));
        command.push(flag("--allow-fs-read=", home.path(), "/*"));
        command.push(flag("--allow-fs-write=", &home.temporary(), "/*"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_version("v20.11.1\n"), Some((20, 11)));
        assert_eq!(parse_version("v22.0.0-nightly"), Some((22, 0)));
        assert_eq!(parse_version("Python 3"), None);
    }

    #[test]
    fn flags_are_as_each_version_wants_them() {
        let folder = tempfile::tempdir().unwrap();
        let folder = crate::folder::Folder::create(folder.path()).unwrap();
        let home = folder.home(&duologue_bridge::Code::Bot("bot_1".into()), "").unwrap();
        let flags = |version| {
            let node = Node { path: "node".into(), version };
            let command = node.command(&folder.runner(), &home, 64, true);
            command.iter().map(|part| part.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert!(flags((18, 20)).starts_with("node --max-old-space-size=64 --max-semi-space-size=4 /"));
        assert!(!flags((18, 20)).contains("permission"));
        assert!(flags((20, 5)).contains(" --experimental-permission --no-warnings --allow-fs-read="));
        assert!(flags((22, 12)).contains(" --experimental-permission --disable-warning=ExperimentalWarning "));
        assert!(flags((22, 13)).contains(" --permission --allow-fs-read="));
        assert!(flags((25, 0)).contains(" --permission --allow-net --allow-fs-read="));
    }

    #[tokio::test]
    async fn what_is_missing_is_said_plainly() {
        let error = Finder::new("/nowhere/node".into()).find().await.unwrap_err().to_string();
        assert_eq!(
            error,
            "There is no Node to run uploaded code: /nowhere/node was not found. Install Node 18 or later, or name it with --node."
        );
        let error = Finder::new("/bin/true".into()).find().await.unwrap_err().to_string();
        assert!(error.contains("/bin/true can't run uploaded code: it doesn't say its version"), "{error}");
    }
}
