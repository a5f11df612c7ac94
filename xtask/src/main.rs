//! Tasks of this repository: `cargo xtask test`, `cargo xtask ci`, `cargo xtask bundle`.
//!
//! Called by people and by `.ci/run`. Starts everything the tests need (a throw-away PostgreSQL
//! cluster, throw-away servers) and always stops it again. Never touches a database or a server it
//! did not start itself.

mod interop;
mod postgres;
mod process;
mod readme;
mod scratch;
mod server;
mod tally;
mod test;
mod tools;

use std::{path::Path, process::ExitCode};

use crate::{
    process::{Failure, Interrupted, cargo},
    test::{Options, Part},
};

const HELP: &str = "\
Tasks of this repository.

  cargo xtask test [--only PART] [--no-postgres] [FILTER]
      Builds the server, then runs all tests: unit, contract and fault tests of the workspace on
      SQLite and PostgreSQL, doc tests, the official npm clients against a server on each engine,
      and the commands that README.md and the server's first start tell people to type. What is
      missing is installed: npm packages by their lock file; Node.js, curl and PostgreSQL's server
      with apt. With cargo-nextest, if it is there, tests of several crates run at once.
      PART is one of unit, interop-sqlite, interop-postgres, readme.
      FILTER: only tests whose name contains it.
      --no-postgres: leave out what needs PostgreSQL.

  cargo xtask bundle FILE
      Builds the bot of `duologue bench delivery --hosted FILE` with the official command line.

  cargo xtask ci [--no-postgres]
      cargo fmt --check, clippy with warnings as errors, then all tests.

The last line of `test` and `ci` is `N passed, N failed`.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    process::watch_signals();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::from(if failure.is::<Interrupted>() { 130 } else { 1 })
        }
    }
}

/// Whether everything passed.
fn run(arguments: &[String]) -> Result<bool, Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words.is_empty() || words.iter().any(|word| matches!(*word, "--help" | "-h" | "help")) {
        print!("{HELP}");
        return Ok(!words.is_empty());
    }
    match words[0] {
        "test" => test::run(&options(&words[1..])?),
        "ci" => ci(&options(&words[1..])?),
        "bundle" => match words[1..] {
            [file] if !file.starts_with('-') => interop::bundle(Path::new(file)),
            _ => Err("bundle needs the FILE that it writes".into()),
        },
        other => Err(format!("there is no task `{other}`; see cargo xtask --help").into()),
    }
}

fn options(words: &[&str]) -> Result<Options, Failure> {
    let mut options = Options::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match *word {
            "--no-postgres" => options.no_postgres = true,
            "--only" => {
                let name = rest.next().ok_or("--only needs unit, interop-sqlite, interop-postgres or readme")?;
                options.only = Some(Part::from_name(name).ok_or_else(|| {
                    format!("--only {name}: there are unit, interop-sqlite, interop-postgres and readme")
                })?);
            }
            flag if flag.starts_with('-') => {
                return Err(format!("unknown flag {flag}; see cargo xtask --help").into());
            }
            filter if options.filter.is_none() => options.filter = Some(filter.to_owned()),
            extra => return Err(format!("one FILTER is enough, {extra} is too much").into()),
        }
    }
    if options.no_postgres && options.only == Some(Part::InteropPostgres) {
        return Err("--only interop-postgres needs PostgreSQL".into());
    }
    Ok(options)
}

fn ci(options: &Options) -> Result<bool, Failure> {
    process::check("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    process::check(
        "lints",
        cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    )?;
    test::run(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_filter_in_any_order() {
        let got = options(&["states", "--only", "interop-sqlite", "--no-postgres"]).unwrap();
        assert_eq!(got.filter.as_deref(), Some("states"));
        assert_eq!(got.only, Some(Part::InteropSqlite));
        assert!(got.no_postgres);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [&["--only"][..], &["--only", "x"], &["--fast"], &["a", "b"]] {
            assert!(options(words).is_err(), "{words:?}");
        }
        assert!(options(&["--no-postgres", "--only", "interop-postgres"]).is_err());
    }
}
