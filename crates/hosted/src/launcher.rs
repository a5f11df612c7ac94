//! What happens between the server's fork and Node: the binary starts itself with a hidden command, sets
//! what a process can only set for itself, and becomes Node.
//!
//! It never returns but on failure.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use rustix::process::{Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit};

/// Runs `PARENT DATA_BYTES PROGRAM ARGUMENT…`: the id of the process that started this one, how much
/// memory the program may have, and the program.
pub fn launcher_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let failed = become_program(arguments);
    eprintln!("the process could not be started: {failed}");
    ExitCode::FAILURE
}

fn become_program(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let (Some(parent), Some(data), Some(program)) =
        (number(arguments.next()), number(arguments.next()), arguments.next())
    else {
        return io::ErrorKind::InvalidInput.into();
    };
    if let Err(error) = confine(parent, data) {
        return error;
    }
    Command::new(program).args(arguments).exec()
}

fn number(argument: Option<OsString>) -> Option<u64> {
    argument?.to_str()?.parse().ok()
}

fn confine(parent: u64, data: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        // Also a program in an endless loop ends with the server that started it.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid().is_none_or(|now| now.as_raw_nonzero().get() as u64 != parent) {
            return Err(io::Error::other("the server is gone"));
        }
        rustix::thread::set_no_new_privs(true)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    // Of private, writable memory: V8 and WebAssembly reserve far more addresses than they ever use, so
    // that a limit on addresses would end Node at its start.
    limit(Resource::Data, data)?;
    limit(Resource::Core, 0)?;
    // The server's own are closed by themselves; this is about what it inherited.
    close_fds::set_fds_cloexec(3, &[]);
    Ok(())
}

/// Sets a limit, unless a tighter one is in force.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |present| present.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}
