//! Connections that can be cut: a reset in the middle of things is what networks do and servers never offer.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The open connections by the address of their client.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<HashMap<SocketAddr, Arc<AtomicBool>>>>);

impl Lines {
    /// Resets the client's connection at the next byte that is written to it.
    pub(crate) fn cut(&self, client: &RemoteAddr) {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cut) = client
            .as_socket_addr()
            .and_then(|address| open.get(address))
        {
            cut.store(true, Ordering::Release);
        }
    }

    fn add(&self, client: SocketAddr) -> Arc<AtomicBool> {
        let cut = Arc::new(AtomicBool::new(false));
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(client, cut.clone());
        cut
    }

    fn remove(&self, client: SocketAddr, cut: &Arc<AtomicBool>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The client may have come back from the same port already.
        if open
            .get(&client)
            .is_some_and(|known| Arc::ptr_eq(known, cut))
        {
            open.remove(&client);
        }
    }
}

pub(crate) struct LineAcceptor {
    pub(crate) listener: TcpListener,
    pub(crate) lines: Lines,
}

impl Acceptor for LineAcceptor {
    type Io = Line;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.listener
            .local_addr()
            .map(|address| LocalAddr(address.into()))
            .into_iter()
            .collect()
    }

    async fn accept(&mut self) -> io::Result<(Self::Io, LocalAddr, RemoteAddr, Scheme)> {
        let (stream, client) = self.listener.accept().await?;
        // Answers are small and written at once; waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let local = LocalAddr(stream.local_addr()?.into());
        let line = Line {
            stream,
            client,
            cut: self.lines.add(client),
            lines: self.lines.clone(),
        };
        Ok((line, local, RemoteAddr(client.into()), Scheme::HTTP))
    }
}

pub(crate) struct Line {
    stream: TcpStream,
    client: SocketAddr,
    cut: Arc<AtomicBool>,
    lines: Lines,
}

impl Line {
    fn check(&self) -> io::Result<()> {
        if !self.cut.load(Ordering::Acquire) {
            return Ok(());
        }
        // Closing with no time to linger is what makes the system send a reset.
        let _ = self.stream.set_zero_linger();
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.lines.remove(self.client, &self.cut);
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
