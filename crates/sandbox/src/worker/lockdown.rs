//! What a worker gives up before it sees a script. Each protection stands by itself: one that the
//! system refuses is reported to the parent and the others still hold.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::wire::Welcome;

/// Locks the process in.
pub fn lock(address_space: u64) -> Welcome {
    read_time_zone();
    let mut welcome = Welcome { protections: Vec::new(), missing: Vec::new(), cpu: cpu() };
    let mut note = |name: &str, result: Result<(), String>| match result {
        Ok(()) => welcome.protections.push(name.to_owned()),
        Err(error) => welcome.missing.push(format!("{name}: {error}")),
    };
    note("no core file", limit(Resource::Core, 0));
    note("no new files", limit(Resource::Nofile, 3));
    note("no files written", limit(Resource::Fsize, 0));
    note("no new processes", limit(Resource::Nproc, 0));
    note("address space", limit(Resource::As, address_space));
    #[cfg(target_os = "linux")]
    {
        note("ends with its parent", linux::end_with_parent());
        note("no new privileges", linux::no_new_privileges());
        note("seccomp", linux::seccomp());
    }
    welcome
}

/// Date functions read the zone's file on first use, which is not possible later.
fn read_time_zone() {
    if let Ok(runtime) = rquickjs::Runtime::new()
        && let Ok(context) = rquickjs::Context::full(&runtime)
    {
        context.with(|ctx| ctx.eval::<i32, _>("new Date(0).getTimezoneOffset()").unwrap_or_default());
    }
}

fn limit(resource: Resource, value: u64) -> Result<(), String> {
    let value = getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) }).map_err(|error| error.to_string())
}

/// Processor time of this process so far.
pub fn cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// Lets the process use `budget` more processor time than it has, and a little for itself; the
/// system ends it beyond that, even if the parent should fail to.
pub fn allow_cpu(budget: Duration) {
    let current = Some(cpu().as_secs() + budget.as_secs() + 5);
    let maximum = getrlimit(Resource::Cpu).maximum;
    // A refusal leaves the old limit, which is stricter.
    let _ = setrlimit(Resource::Cpu, Rlimit { current, maximum });
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;

    use rustix::process::Signal;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
        TargetArch,
    };

    pub fn end_with_parent() -> Result<(), String> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())
    }

    pub fn no_new_privileges() -> Result<(), String> {
        rustix::thread::set_no_new_privs(true).map_err(|error| error.to_string())
    }

    /// What an allocator, a clock and two pipes need. Everything else fails with EPERM.
    const ALLOWED: &[libc::c_long] = &[
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_ppoll,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_sched_yield,
        libc::SYS_exit,
        libc::SYS_exit_group,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_time,
    ];

    pub fn seccomp() -> Result<(), String> {
        let program = filter().map_err(|error| error.to_string())?;
        seccompiler::apply_filter(&program).map_err(|error| error.to_string())
    }

    fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
        let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)?;
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|number| (*number, Vec::new())).collect();
        rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![own])?]);
        let refuse = SeccompAction::Errno(libc::EPERM as u32);
        let arch = TargetArch::try_from(std::env::consts::ARCH)?;
        SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?.try_into()
    }
}
