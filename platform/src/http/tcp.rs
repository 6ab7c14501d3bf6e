//! Accepting over TCP.

use std::io;

use anyhow::Context;
use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::{TcpListener, TcpStream};

/// Listening, as the acceptor that [`Server::run`](super::Server::run) takes.
///
/// # Errors
/// When the listener has no address, or no descriptor is free.
pub fn acceptor(listener: TcpListener) -> anyhow::Result<impl Acceptor> {
    let local = listener
        .local_addr()
        .context("reading the address that was bound")?;
    let direct = listener.into_std().context("preparing to listen")?;
    let listener = direct.try_clone().and_then(TcpListener::from_std);
    Ok(Tcp {
        listener: listener.context("preparing to listen")?,
        direct,
        local: LocalAddr(local.into()),
    })
}

struct Tcp {
    listener: TcpListener,
    /// The same socket. The runtime reports a new connection a little late; before listening ends, none may be left.
    direct: std::net::TcpListener,
    local: LocalAddr,
}

impl Acceptor for Tcp {
    type Io = TcpStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        vec![self.local.clone()]
    }

    async fn accept(&mut self) -> io::Result<(TcpStream, LocalAddr, RemoteAddr, Scheme)> {
        let (stream, remote) = match self.direct.accept() {
            Ok((stream, remote)) => {
                stream.set_nonblocking(true)?;
                (TcpStream::from_std(stream)?, remote)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.listener.accept().await?
            }
            Err(error) => return Err(error),
        };
        // Responses are written at once; waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let remote = RemoteAddr(remote.into());
        Ok((stream, self.local.clone(), remote, Scheme::HTTP))
    }
}
