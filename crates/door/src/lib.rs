//! What the servers of this workspace share: how they listen, how they take a connection, and how they are told to
//! stop.
//!
//! The binary, its tunnel server and bots in Rust come here. Nothing is known here of what is said over a connection.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many connections may wait to be taken: those beyond it would come a second later, or be reset.
const BACKLOG: u32 = 1024;

/// How long to wait after a connection that couldn't be taken.
const RESPITE: Duration = Duration::from_millis(50);

/// Listens at an address, with room for a burst of connections. Needs a running Tokio.
///
/// # Errors
///
/// When the address isn't this machine's, is taken, or needs more rights.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As usual for servers: a restart doesn't wait for what is left of old connections.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The next connection, and whose it is. Whatever goes wrong is logged and tried again; giving up the wait loses no
/// connection.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Only latency suffers if this fails.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                // Out of file descriptors, mostly: wait for some to be closed.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(RESPITE).await;
            }
        }
    }
}

/// Resolves when somebody asks the process to stop: Ctrl-C, or the signal that service managers send. From this call
/// on, awaited or not, the process no longer ends by itself at either; so call it before saying that it is ready.
/// Needs a running Tokio.
#[cfg(unix)]
pub fn stop_requested() -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    async fn heard(signal: io::Result<Signal>) {
        match signal {
            Ok(mut signal) => drop(signal.recv().await),
            // Without a way to hear it, it is never requested.
            Err(_) => std::future::pending().await,
        }
    }
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        tokio::select! {
            () = heard(interrupt) => {}
            () = heard(terminate) => {}
        }
    }
}

/// Resolves when somebody asks the process to stop with Ctrl-C. From the first wait on the process no longer ends by
/// itself. Needs a running Tokio.
#[cfg(not(unix))]
pub fn stop_requested() -> impl Future<Output = ()> + Send + 'static {
    async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a way to hear it, it is never requested.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_port_can_be_listened_on_again_while_old_connections_are_left() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut stream, peer) = accept(&listener).await;
        assert_eq!(peer, client.local_addr().unwrap());
        // The side that closes first is the one whose port lingers.
        stream.shutdown().await.unwrap();
        drop((stream, listener));
        assert_eq!(client.read_u8().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        listen(address).unwrap();
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_stop_is_heard_before_anybody_waits_for_it() {
        for signal in ["-TERM", "-INT"] {
            let requested = stop_requested();
            let own = std::process::id().to_string();
            assert!(std::process::Command::new("kill").args([signal, &own]).status().unwrap().success());
            tokio::time::timeout(Duration::from_secs(60), requested).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_address_is_listened_on_once() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        assert_eq!(listen(listener.local_addr().unwrap()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
