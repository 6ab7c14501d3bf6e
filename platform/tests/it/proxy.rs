//! A TCP proxy that fails the way networks do: it goes dumb without closing anything, or it cuts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Pass,
    /// What the server says does not arrive.
    SwallowAnswers,
    /// Nothing arrives on either side.
    Swallow,
}

/// Between clients of `address` and the server.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
    injections: broadcast::Sender<Option<Vec<u8>>>,
    open: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, watched) = watch::channel(Mode::Pass);
        let (injections, _) = broadcast::channel(8);
        let open = Arc::new(AtomicUsize::new(0));
        let mut accepting = JoinSet::new();
        let (sender, count) = (injections.clone(), Arc::clone(&open));
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let relayed = relay(client, server.clone(), watched.clone(), sender.subscribe());
                let count = Arc::clone(&count);
                connections.spawn(async move {
                    // An error is an end like any other.
                    let _ = relayed.await;
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            mode,
            injections,
            open,
            _accepting: accepting,
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Sends `bytes` to every client, as if the server had. Only between the server's own frames.
    pub(crate) fn inject(&self, bytes: Vec<u8>) {
        self.injections.send(Some(bytes)).unwrap();
    }

    /// Closes every connection.
    pub(crate) fn cut(&self) {
        let _ = self.injections.send(None);
    }

    /// How many connections the clients hold open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn relay(
    mut client: TcpStream,
    server: String,
    mode: watch::Receiver<Mode>,
    mut injections: broadcast::Receiver<Option<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut question, mut answer) = (vec![0; 65536], vec![0; 65536]);
    // Whoever hangs up ends it, except that a swallowed goodbye of the server is not passed on.
    let mut server_gone = false;
    loop {
        tokio::select! {
            read = client.read(&mut question) => {
                let mode = *mode.borrow();
                match read? {
                    0 => return Ok(()),
                    length if mode != Mode::Swallow && !server_gone => {
                        server.write_all(&question[..length]).await?;
                    }
                    _ => {}
                }
            }
            read = server.read(&mut answer), if !server_gone => {
                let mode = *mode.borrow();
                match read.unwrap_or(0) {
                    0 if mode == Mode::Pass => return Ok(()),
                    0 => server_gone = true,
                    length if mode == Mode::Pass => client.write_all(&answer[..length]).await?,
                    _ => {}
                }
            }
            injected = injections.recv() => match injected {
                Ok(Some(bytes)) => client.write_all(&bytes).await?,
                _ => return Ok(()),
            },
        }
    }
}
