//! A worker and nothing else, for this crate's tests. The server uses its own binary instead.

fn main() -> std::process::ExitCode {
    duologue_sandbox::worker_main()
}
