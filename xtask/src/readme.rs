//! The commands that people are told to type: those that the server prints on its first start, and
//! those of README.md in code blocks that begin with ```` ```sh run ````.
//!
//! They run as they stand, in a scratch folder, with the server's binary on the path. Only the port
//! differs: the default one may be taken on this machine.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    interop,
    process::{Background, Failure, recorded, say},
    scratch::{self, Scratch},
    server,
    tally::Tally,
    tools,
};

/// Where a server listens that isn't told, as people write it.
const DEFAULT_ADDRESSES: [&str; 2] = ["127.0.0.1:3000", "localhost:3000"];
/// For one command of the banner.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// For all blocks of the README together.
const README_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Runs them all.
pub fn run(binary: &Path) -> Result<Tally, Failure> {
    tools::curl()?;
    tools::node_packages(&interop::directory())?;
    let mut tally = banner(binary)?;
    tally += readme(binary)?;
    Ok(tally)
}

/// Starts a server on a fresh folder, as a newcomer does, and types what it says.
fn banner(binary: &Path) -> Result<Tally, Failure> {
    say("the commands that the server prints on its first start");
    let place = Place::new("banner", binary)?;
    let address = format!("127.0.0.1:{}", scratch::free_port()?);
    let log = place.path().join("log");
    let output = File::create(&log)?;
    let mut serve = place.command("duologue");
    serve.env("DUOLOGUE_LISTEN", &address).stdout(output.try_clone()?).stderr(output);
    let mut process = Background::start("the server", "TERM", &mut serve)?;
    process
        .await_ready(Duration::from_secs(60), || server::is_ready(&address))
        .map_err(|error| format!("{error}\n{}", scratch::tail(&log)))?;
    let printed = fs::read_to_string(&log)?;
    let commands = commands_of(&printed);
    // What shows that each did what it says.
    let proofs = ["\"conversation\":", "", "Hello from your own server"];
    let mut tally = Tally::default();
    if commands.len() != proofs.len() {
        eprintln!("FAIL: the server printed {} commands instead of {}:\n{printed}", commands.len(), proofs.len());
        tally.failed += 1;
    }
    for (command, proof) in commands.iter().zip(proofs) {
        let ran = recorded(place.command("sh").args(["-ec", command]), COMMAND_LIMIT)?;
        let passed = ran.succeeded() && ran.output.contains(proof);
        println!("\n{}: {}", if passed { "ok" } else { "FAIL" }, command.lines().next().unwrap_or_default());
        tally += Tally { passed: passed.into(), failed: (!passed).into() };
    }
    Ok(tally)
}

/// The commands in what the server prints: after "Try it", the indented groups of lines.
fn commands_of(printed: &str) -> Vec<String> {
    let Some((_, after)) = printed.split_once("\nTry it") else { return Vec::new() };
    let mut commands: Vec<Vec<&str>> = vec![Vec::new()];
    for line in after.lines() {
        match line.strip_prefix("  ") {
            Some(text) => commands.last_mut().into_iter().for_each(|command| command.push(text)),
            None => commands.push(Vec::new()),
        }
    }
    commands.iter().filter(|lines| !lines.is_empty()).map(|lines| lines.join("\n")).collect()
}

/// Runs the marked blocks of the README, in order, in one shell: what one block sets up, the next
/// ones see. Each block counts as one test.
fn readme(binary: &Path) -> Result<Tally, Failure> {
    let text = fs::read_to_string(scratch::root().join("README.md")).unwrap_or_default();
    let blocks = blocks_of(&text);
    if blocks.is_empty() {
        return Ok(Tally::default());
    }
    say("the commands of README.md");
    let place = Place::new("readme", binary)?;
    copy(scratch::root(), place.path())?;
    let address = format!("127.0.0.1:{}", scratch::free_port()?);
    let script = DEFAULT_ADDRESSES.iter().fold(script_of(&blocks), |script, default| script.replace(default, &address));
    let ran = recorded(place.command("sh").args(["-ec", &script]).env("DUOLOGUE_LISTEN", &address), README_LIMIT)?;
    let begun = blocks.iter().filter(|block| ran.output.contains(&block.headline())).count();
    let failed = if ran.succeeded() { 0 } else { blocks.len().saturating_sub(begun.saturating_sub(1)).max(1) };
    if failed > 0 {
        let at = begun.checked_sub(1).and_then(|last| blocks.get(last)).map(Block::headline).unwrap_or_default();
        eprintln!("FAIL {at}");
    }
    Ok(Tally { passed: (blocks.len().saturating_sub(failed)) as u64, failed: failed as u64 })
}

/// A marked block.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Line of its fence, from 1.
    line: usize,
    text: String,
}

impl Block {
    fn headline(&self) -> String {
        format!("── README.md, line {}", self.line)
    }
}

fn blocks_of(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.starts_with("```"));
        let text = inside.map(|line| format!("{line}\n")).collect();
        if info.trim() == "sh run" {
            blocks.push(Block { line: index + 1, text });
        }
    }
    blocks
}

fn script_of(blocks: &[Block]) -> String {
    blocks.iter().map(|block| format!("echo '{}'\n{}", block.headline(), block.text)).collect()
}

/// A scratch folder in which the server's binary is on the path and the official client is installed.
struct Place {
    files: Scratch,
    path: OsString,
}

impl Place {
    fn new(what: &str, binary: &Path) -> Result<Self, Failure> {
        let files = Scratch::new(what)?;
        let packages = files.path().join("node_modules/@botpress");
        fs::create_dir_all(&packages)?;
        symlink(interop::directory().join("node_modules/client-1.45"), packages.join("client"))?;
        let programs = binary.parent().map(Path::to_owned);
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(programs.into_iter().chain(std::env::split_paths(&inherited)))?;
        Ok(Place { files, path })
    }

    fn path(&self) -> &Path {
        self.files.path()
    }

    /// A command in this folder, without settings of whoever runs the tests.
    fn command(&self, program: &str) -> Command {
        // The child's path doesn't count when its program is looked for.
        let found = std::env::split_paths(&self.path).map(|folder| folder.join(program)).find(|path| path.is_file());
        let mut command = Command::new(found.unwrap_or_else(|| PathBuf::from(program)));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("DUOLOGUE_") || name.starts_with("BP_") {
                command.env_remove(name.as_ref());
            }
        }
        command.current_dir(self.path()).env("PATH", &self.path);
        command
    }
}

/// Copies a folder, but not what is built or fetched.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if ["target", "node_modules", ".git"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_the_indented_groups() {
        let printed = "Set up.\n\n  URL  x\n\nTry it. First:\n\n  one \\\n    more\n\nThen:\n\n  two '\n    x\n  '\n";
        assert_eq!(commands_of(printed), ["one \\\n  more", "two '\n  x\n'"]);
        assert!(commands_of("  URL  x\n").is_empty());
    }

    #[test]
    fn only_marked_blocks_are_run() {
        let markdown = "# T\n```sh run\na\nb\n```\ntext\n```sh\nnot this\n```\n```sh run\nc\n```\n";
        let blocks = blocks_of(markdown);
        assert_eq!(blocks, [Block { line: 2, text: "a\nb\n".into() }, Block { line: 10, text: "c\n".into() }]);
        assert_eq!(script_of(&blocks), "echo '── README.md, line 2'\na\nb\necho '── README.md, line 10'\nc\n");
    }
}
