//! `cargo xtask test`: everything, in one go.

use std::path::{Path, PathBuf};

use crate::{
    interop,
    postgres::Cluster,
    process::{Failure, cargo, check, recorded, say},
    scratch,
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
}

impl Part {
    /// From its name on the command line.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "unit" => Part::Unit,
            "interop-sqlite" => Part::InteropSqlite,
            "interop-postgres" => Part::InteropPostgres,
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
    let binary = build_server()?;
    let filter = options.filter.as_deref();
    let mut parts: Vec<(&str, Tally)> = Vec::new();

    if options.wants(Part::Unit) {
        parts.push(("unit, contract and fault tests", workspace_tests(&binary, cluster.as_ref(), filter)?));
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
    drop(cluster);
    Ok(summary(&parts))
}

/// The release build of the server, which the interop and fault tests run.
fn build_server() -> Result<PathBuf, Failure> {
    check("building the server", cargo().args(["build", "--release", "--locked", "--package", "duologue"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| scratch::root().join("target"), PathBuf::from);
    Ok(std::path::absolute(target.join("release/duologue"))?)
}

fn workspace_tests(binary: &Path, cluster: Option<&Cluster>, filter: Option<&str>) -> Result<Tally, Failure> {
    let nextest = tools::nextest()?;
    // The guide's sample in JavaScript runs with them.
    tools::node_packages(&interop::directory())?;
    say("unit, contract and fault tests");
    let mut command = cargo();
    if nextest {
        command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--no-tests=pass"]);
    } else {
        command.args(["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    }
    command.args(filter).current_dir(scratch::root()).env("DUOLOGUE_BIN", binary);
    match cluster {
        Some(cluster) => command.env("DUOLOGUE_TEST_POSTGRES", cluster.url("postgres")),
        None => command.env_remove("DUOLOGUE_TEST_POSTGRES"),
    };
    let (status, output) = recorded(&mut command)?;
    Ok(Tally::of(&output, status.success()))
}

fn doc_tests() -> Result<Tally, Failure> {
    say("doc tests");
    let mut command = cargo();
    command.args(["test", "--doc", "--workspace", "--locked", "--no-fail-fast"]).current_dir(scratch::root());
    let (status, output) = recorded(&mut command)?;
    Ok(Tally::of(&output, status.success()))
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
