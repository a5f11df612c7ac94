//! The pool: many runs, few workers, workers that die.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use duologue_sandbox::{Calls, Class, Config, NoCalls, Pool, PoolError, Run};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{action, config, pool, returns};

struct Echo;

impl Calls for Echo {
    async fn call(&mut self, _: &str, args: Vec<Value>) -> Result<Value, String> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(args[1].clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs_at_one_time_get_their_own_answers() {
    let pool = Arc::new(Pool::new(config(2)).unwrap());
    let runs = (0..64).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let source = format!("const run = async () => {{ const v = await bp.kvs.forBot('b').get('key{n}'); temp.v = v; return [v, {n}] }}; return run()");
            let mut run = action(&source);
            run.owner = format!("bot{}", n % 5).into();
            pool.run(run, &mut Echo).await.map(|done| (n, done))
        })
    });
    for run in runs.collect::<Vec<_>>() {
        let (n, done) = run.await.unwrap().unwrap();
        assert_eq!(done.result, json!([format!("key{n}"), n]));
        assert_eq!(done.event().unwrap()["state"]["temp"]["v"], json!(format!("key{n}")));
    }
    assert_eq!(pool.stats().runs, 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_wait_for_the_host_hold_nobody_up() {
    struct Open(Arc<AtomicUsize>, Arc<Notify>);
    impl Calls for Open {
        async fn call(&mut self, _: &str, _: Vec<Value>) -> Result<Value, String> {
            let released = self.1.notified();
            self.0.fetch_add(1, Ordering::SeqCst);
            released.await;
            Ok(json!(1))
        }
    }
    let pool = Arc::new(Pool::new(config(2)).unwrap());
    let (open, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let (pool, mut calls) = (pool.clone(), Open(open.clone(), release.clone()));
            tokio::spawn(async move { pool.run(action("return bp.bots.getBotById('b')"), &mut calls).await })
        })
        .collect();
    while open.load(Ordering::SeqCst) < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Nobody lets them go on before this has its answer.
    assert_eq!(returns(&pool, "return 1").await, json!(1));
    assert!(pool.stats().workers > 2);
    release.notify_waiters();
    for run in waiting {
        assert_eq!(run.await.unwrap().unwrap().result, json!(1));
    }
}

/// Notes how many have ended when it is called.
struct Look(Arc<AtomicUsize>, usize);

impl Calls for Look {
    async fn call(&mut self, _: &str, _: Vec<Value>) -> Result<Value, String> {
        self.1 = self.0.load(Ordering::SeqCst);
        Ok(json!(1))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_floods_the_queue_leaves_the_others_their_turn() {
    let pool = Arc::new(Pool::new(config(1)).unwrap());
    let spin = "const end = Date.now() + 50; while (Date.now() < end);";
    let ended = Arc::new(AtomicUsize::new(0));
    let flood: Vec<_> = (0..60)
        .map(|_| {
            let (pool, ended) = (pool.clone(), ended.clone());
            tokio::spawn(async move {
                pool.run(action(spin), &mut NoCalls).await.unwrap();
                ended.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    while pool.stats().queued < 50 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut other = action("return bp.bots.getBotById('b')");
    other.owner = "other".into();
    let mut look = Look(ended, 0);
    pool.run(other, &mut look).await.unwrap();
    assert!(look.1 < 50, "all others had their turn before");
    for run in flood {
        run.await.unwrap();
    }
}

/// Computes for three seconds.
fn busy() -> Run {
    let mut run = action("const end = Date.now() + 3000; while (Date.now() < end);");
    run.limits.compute = Duration::from_secs(10);
    run
}

#[tokio::test]
async fn a_full_queue_is_an_answer() {
    let mut config = config(1);
    config.queue = 1;
    let pool = Pool::new(config).unwrap();
    let (mut a, mut b, mut c) = (NoCalls, NoCalls, NoCalls);
    let late = async {
        while pool.stats().computing == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        pool.run(action("return 2"), &mut b).await
    };
    let later = async {
        while pool.stats().queued == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        pool.run(action("return 3"), &mut c).await
    };
    let (first, second, third) = tokio::join!(pool.run(busy(), &mut a), late, later);
    first.unwrap();
    second.unwrap();
    assert_eq!(third.unwrap_err().class, Class::Busy);
}

#[tokio::test]
async fn a_run_that_waited_too_long_is_refused() {
    let mut config = config(1);
    config.patience = Duration::from_millis(500);
    let pool = Pool::new(config).unwrap();
    let (mut a, mut b) = (NoCalls, NoCalls);
    let (first, second) = tokio::join!(pool.run(busy(), &mut a), pool.run(busy(), &mut b));
    first.unwrap();
    assert_eq!(second.unwrap_err().class, Class::Busy);
}

#[tokio::test]
async fn dropping_a_run_ends_its_script() {
    let pool = pool();
    let endless = action("setInterval(() => {}, 10); return new Promise(() => {})");
    assert!(tokio::time::timeout(Duration::from_millis(200), pool.run(endless, &mut NoCalls)).await.is_err());
    let began = Instant::now();
    assert_eq!(returns(&pool, "return 1").await, json!(1));
    // By itself it would go on for a minute.
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_worker_that_dies_costs_one_run() {
    let pool = tagged("dies");
    let mut calls = NoCalls;
    let killer = async {
        while pool.stats().computing == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        kill("dies");
    };
    let (outcome, ()) = tokio::join!(pool.run(busy(), &mut calls), killer);
    assert_eq!(outcome.unwrap_err().class, Class::Killed);
    assert_eq!(returns(&pool, "return 1").await, json!(1));
}

#[tokio::test]
async fn a_worker_that_dies_without_work_costs_nothing() {
    let pool = tagged("idle");
    returns(&pool, "return 1").await;
    kill("idle");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(returns(&pool, "return 1").await, json!(1));
}

fn kill(tag: &str) {
    for worker in workers(tag) {
        let pid = rustix::process::Pid::from_raw(worker).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

/// A pool whose workers can be told from those of other tests by an argument, which they ignore.
fn tagged(tag: &str) -> Pool {
    let mut config = config(1);
    config.command.push(tag.into());
    Pool::new(config).unwrap()
}

fn workers(tag: &str) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: &i32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let parent = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        line.ends_with(&format!("\0{tag}\0")) && parent.contains(&format!("PPid:\t{}\n", std::process::id()))
    };
    pids.filter(ours).collect()
}

#[tokio::test]
async fn workers_are_locked_in_and_end_with_the_pool() {
    let pool = tagged("locked");
    returns(&pool, "return 1").await;
    let worker = workers("locked")[0];
    let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let has = |line: &str| assert!(status.lines().any(|found| found == line), "{line} not in\n{status}");
    has("NoNewPrivs:\t1");
    has("Seccomp:\t2");
    assert_eq!(std::fs::read_link(format!("/proc/{worker}/cwd")).unwrap().to_str(), Some("/"));
    let environment = std::fs::read_to_string(format!("/proc/{worker}/environ")).unwrap_or_default();
    assert!(environment.is_empty() || environment == "TZ=UTC\0", "{environment}");
    let limits = std::fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    for (name, value) in
        [("Max open files", "3"), ("Max processes", "0"), ("Max core file size", "0"), ("Max file size", "0")]
    {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line[name.len()..].split_whitespace().next(), Some(value), "{line}");
    }
    drop(pool);
    let gone = || !std::path::Path::new(&format!("/proc/{worker}")).exists();
    for _ in 0..1500 {
        if gone() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("worker {worker} still runs");
}

#[test]
fn a_wrong_command_is_noticed_at_the_start() {
    assert!(matches!(Pool::new(Config::new(["/no/such/program"])), Err(PoolError::Start { .. })));
    assert!(matches!(Pool::new(Config::new(["/bin/true"])), Err(PoolError::Start { .. })));
    assert!(matches!(Pool::new(Config::new([""; 0])), Err(PoolError::Config(_))));
}
