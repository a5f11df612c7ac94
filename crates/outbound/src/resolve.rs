//! From names to addresses.

use std::{future::Future, io, net::IpAddr, pin::Pin};

/// A resolution under way.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// How names become addresses. Addresses in URLs never come here.
pub trait Resolve: Send + Sync + std::fmt::Debug {
    /// All addresses of a name, in the order in which they are to be tried.
    ///
    /// # Errors
    /// Of kind `NotFound` when the name doesn't exist; any other when that couldn't be found out.
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

/// The operating system's resolver, hosts file included.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await.map_err(missing)?;
            Ok(found.map(|socket| socket.ip()).collect())
        })
    }
}

/// The standard library doesn't tell "no such name" from other failures by kind; its text does.
fn missing(failed: io::Error) -> io::Error {
    let text = failed.to_string();
    let temporary = text.contains("emporary failure") || text.contains("try again");
    if temporary { failed } else { io::Error::new(io::ErrorKind::NotFound, failed) }
}
