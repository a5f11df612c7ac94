//! The thread that starts processes.
//!
//! Linux ends a process whose parent dies, if asked to, when the thread that started it ends. Threads of
//! the runtime come and go, this one stays as long as the server runs.

use std::{io, thread};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::{mpsc, oneshot},
};

type Job = (Command, oneshot::Sender<io::Result<Child>>);

/// Asks the thread. It ends with the process, not with this: what it started ends with it.
pub struct Spawner(mpsc::Sender<Job>);

impl Spawner {
    /// Starts the thread; called within a runtime.
    pub fn start() -> io::Result<Self> {
        let (jobs, mut wanted) = mpsc::channel::<Job>(16);
        let runtime = Handle::current();
        thread::Builder::new().name("hosted-spawner".into()).spawn(move || {
            let _runtime = runtime.enter();
            while let Some((mut command, answer)) = wanted.blocking_recv() {
                // Dropped with the child in it if the asker is gone, which kills the child.
                let _ = answer.send(command.spawn());
            }
            loop {
                thread::park();
            }
        })?;
        Ok(Spawner(jobs))
    }

    /// Starts a process.
    pub async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (answer, child) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts processes is gone");
        self.0.send((command, answer)).await.map_err(|_| gone())?;
        child.await.map_err(|_| gone())?
    }
}
