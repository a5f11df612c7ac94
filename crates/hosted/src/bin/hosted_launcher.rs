//! The launcher and nothing else, for this crate's tests. The server uses its own binary instead.

fn main() -> std::process::ExitCode {
    duologue_hosted::launcher_main(std::env::args_os().skip(1))
}
