//! `cargo xtask test`: everything, in one go.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use crate::{
    interop,
    postgres::Cluster,
    process::{Failure, cargo, check, recorded, say},
    readme, scratch,
    tally::Tally,
    tools,
};

/// A part of the tests that can run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What `cargo test` knows: unit, contract, fault and doc tests.
    Unit,
    /// The npm clients against a server on SQLite.
    InteropSqlite,
    /// The npm clients against a server on PostgreSQL.
    InteropPostgres,
    /// The commands of the README and of the server's first start.
    Readme,
}

/// The tests of the workspace together; nextest also limits each of them (`.config/nextest.toml`).
const WORKSPACE_LIMIT: Duration = Duration::from_secs(30 * 60);
const DOC_LIMIT: Duration = Duration::from_secs(8 * 60);

impl Part {
    /// From its name on the command line.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "unit" => Part::Unit,
            "interop-sqlite" => Part::InteropSqlite,
            "interop-postgres" => Part::InteropPostgres,
            "readme" => Part::Readme,
            _ => return None,
        })
    }
}

/// What was asked for.
#[derive(Debug, Default)]
pub struct Options {
    /// Only this part.
    pub only: Option<Part>,
    /// Nothing that needs PostgreSQL.
    pub no_postgres: bool,
    /// Only tests whose name contains this.
    pub filter: Option<String>,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part) && !(part == Part::InteropPostgres && self.no_postgres)
    }

    fn needs_cluster(&self) -> bool {
        !self.no_postgres && (self.wants(Part::Unit) || self.wants(Part::InteropPostgres))
    }
}

/// Runs what was asked for and prints the summary. Whether everything passed.
pub fn run(options: &Options) -> Result<bool, Failure> {
    let cluster = if options.needs_cluster() { Some(Cluster::start()?) } else { None };
    let binary = build(options.wants(Part::Unit))?;
    let filter = options.filter.as_deref();
    let mut parts: Vec<(&str, Tally)> = Vec::new();

    if options.wants(Part::Unit) {
        parts.push(("unit, contract and fault tests", workspace_tests(cluster.as_ref(), filter)?));
        if filter.is_none() {
            parts.push(("doc tests", doc_tests()?));
        }
    }
    if options.wants(Part::InteropSqlite) {
        say("npm clients against a server on SQLite");
        parts.push(("npm clients, SQLite", interop::run(&binary, None, filter)?));
    }
    if options.wants(Part::InteropPostgres)
        && let Some(cluster) = &cluster
    {
        say("npm clients against a server on PostgreSQL");
        cluster.create_database("interop")?;
        parts.push(("npm clients, PostgreSQL", interop::run(&binary, Some(&cluster.url("interop")), filter)?));
    }
    // These have no names to filter by.
    if options.wants(Part::Readme) && filter.is_none() {
        parts.push(("commands people are told to type", readme::run(&binary)?));
    }
    drop(cluster);
    Ok(summary(&parts))
}

/// Builds the server and, if they are to run, all tests: in one go, so that nothing is compiled
/// twice. The debug build, whose server the interop tests run. Answers where the server is.
fn build(with_tests: bool) -> Result<PathBuf, Failure> {
    let mut command = cargo();
    match with_tests {
        true => command.args(["test", "--workspace", "--no-run", "--quiet"]),
        false => command.args(["build", "--package", "duologue"]),
    };
    check("building", command.arg("--locked").current_dir(scratch::root()))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| scratch::root().join("target"), PathBuf::from);
    Ok(std::path::absolute(target.join("debug/duologue"))?)
}

fn workspace_tests(cluster: Option<&Cluster>, filter: Option<&str>) -> Result<Tally, Failure> {
    // The guide's sample in JavaScript runs with them.
    tools::node_packages(&interop::directory())?;
    say("unit, contract and fault tests");
    let mut command = cargo();
    if tools::has_nextest() {
        command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--no-tests=pass"]);
    } else {
        command.args(["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    }
    command.args(filter).current_dir(scratch::root());
    match cluster {
        Some(cluster) => command.env("DUOLOGUE_TEST_POSTGRES", cluster.url("postgres")),
        None => command.env_remove("DUOLOGUE_TEST_POSTGRES"),
    };
    let ran = recorded(&mut command, WORKSPACE_LIMIT)?;
    if ran.status.is_none() {
        unended(&ran.output).iter().for_each(|name| eprintln!("xtask: still running: {name}"));
    }
    Ok(Tally::of(&ran.output, ran.succeeded()))
}

/// The tests that the harness complained about ("has been running for over 60 seconds") and that
/// never ended.
fn unended(output: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for line in output.lines() {
        let Some(rest) = line.strip_prefix("test ") else { continue };
        if let Some((name, _)) = rest.split_once(" has been running for over") {
            names.insert(name);
        } else if let Some((name, _)) = rest.split_once(" ... ") {
            names.remove(name);
        }
    }
    names
}

fn doc_tests() -> Result<Tally, Failure> {
    say("doc tests");
    let mut command = cargo();
    command.args(["test", "--doc", "--workspace", "--locked", "--no-fail-fast"]).current_dir(scratch::root());
    let ran = recorded(&mut command, DOC_LIMIT)?;
    Ok(Tally::of(&ran.output, ran.succeeded()))
}

fn summary(parts: &[(&str, Tally)]) -> bool {
    say("summary");
    let mut total = Tally::default();
    for (name, tally) in parts {
        println!("{name:<32} {:>6} passed {:>6} failed", tally.passed, tally.failed);
        total += *tally;
    }
    if total == Tally::default() {
        println!("no test has such a name");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    total.failed == 0 && total.passed > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_hang_are_known_by_name() {
        let output = "test a::slow has been running for over 60 seconds\ntest a::hangs has been running for over 60 \
                      seconds\ntest a::quick ... ok\ntest a::slow ... ok\n";
        assert_eq!(unended(output), BTreeSet::from(["a::hangs"]));
    }
}
