//! A TCP proxy that fails the way networks do: it cuts, goes dumb in one or both directions without closing
//! anything, delays, or lets only little through.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// After this long the server hears that a client which has left through a dumb link is gone, as its
/// keepalives would tell it.
const KEEPALIVE: Duration = Duration::from_secs(30);
const CHUNK_BYTES: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Pass,
    /// What is sent that way vanishes. A connection that lost a byte never works again, not even when the
    /// link is healed: nobody tells either end.
    Swallow(Way),
    /// Every chunk arrives so much later.
    Delay(Duration),
    /// At most so many bytes a second, each way.
    Throttle(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Questions,
    Answers,
    Both,
}

/// Between the clients of `address` and a server.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
    cuts: watch::Sender<u64>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("listening for the clients of a link")?;
        let address = listener.local_addr().context("reading a link's address")?;
        let (mode, (cuts, _)) = (watch::Sender::new(Mode::Pass), watch::channel(0));
        let mut accepting = JoinSet::new();
        let (modes, cutting) = (mode.clone(), cuts.clone());
        accepting.spawn(async move {
            let mut links = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                };
                while links.try_join_next().is_some() {}
                links.spawn(carry(
                    client,
                    server,
                    modes.subscribe(),
                    cutting.subscribe(),
                ));
            }
        });
        Ok(Self {
            address,
            mode,
            cuts,
            _accepting: accepting,
        })
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Resets every connection that is open now.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }
}

async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    mode: watch::Receiver<Mode>,
    mut cuts: watch::Receiver<u64>,
) {
    cuts.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(server).await else {
        reset(client);
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let dead = Dead::default();
    let ended = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let both = async {
            let questions = pump(
                &mut from_client,
                &mut to_server,
                (&mode, &dead.questions, &dead),
            );
            let answers = pump(
                &mut from_server,
                &mut to_client,
                (&mode, &dead.answers, &dead),
            );
            tokio::try_join!(questions, answers)
        };
        tokio::select! {
            ended = both => ended.is_ok(),
            _ = cuts.changed() => false,
        }
    };
    if !ended {
        reset(client);
        reset(server);
    }
}

/// Whether a direction has lost bytes.
#[derive(Default)]
struct Dead {
    questions: AtomicBool,
    answers: AtomicBool,
}

impl Dead {
    fn swallow(&self, way: Way) {
        if way != Way::Answers {
            self.questions.store(true, Ordering::Relaxed);
        }
        if way != Way::Questions {
            self.answers.store(true, Ordering::Relaxed);
        }
    }
}

/// Carries one direction to its end. A goodbye into a dead direction is not passed on; much later the other
/// side is told by an error.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    (mode, is_dead, dead): (&watch::Receiver<Mode>, &AtomicBool, &Dead),
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await;
        let mode = *mode.borrow();
        if let Mode::Swallow(way) = mode {
            dead.swallow(way);
        }
        let is_dead = is_dead.load(Ordering::Relaxed);
        let length = match read {
            Ok(0) | Err(_) if is_dead => {
                sleep(KEEPALIVE).await;
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            Ok(0) => return to.shutdown().await,
            Ok(length) => length,
            Err(error) => return Err(error),
        };
        match mode {
            _ if is_dead => continue,
            Mode::Delay(time) => sleep(time).await,
            Mode::Throttle(bytes) => {
                sleep(Duration::from_secs(1) * u32::try_from(length).unwrap_or(u32::MAX) / bytes)
                    .await;
            }
            Mode::Pass | Mode::Swallow(_) => {}
        }
        to.write_all(&chunk[..length]).await?;
    }
}

/// Closing with no time to linger is what makes the system send a reset.
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(20);

    /// A proxy in front of a server that says everything back.
    async fn echo() -> (Proxy, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                open.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        (Proxy::start(address).await.unwrap(), serving)
    }

    async fn ask(stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.map(|_| ())
    }

    async fn is_silent(stream: &mut TcpStream) -> bool {
        timeout(SHORT, ask(stream)).await.is_err()
    }

    #[tokio::test]
    async fn it_passes_everything_on_and_a_goodbye_too() {
        let (proxy, _serving) = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        timeout(LONG, ask(&mut stream)).await.unwrap().unwrap();
        stream.shutdown().await.unwrap();
        let rest = timeout(LONG, stream.read(&mut [0; 1])).await.unwrap();
        assert_eq!(rest.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_cut_resets_what_is_open_and_lets_new_connections_through() {
        let (proxy, _serving) = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        timeout(LONG, ask(&mut stream)).await.unwrap().unwrap();
        proxy.cut();
        let read = timeout(LONG, stream.read(&mut [0; 1])).await.unwrap();
        assert_eq!(
            read.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionReset
        );
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        timeout(LONG, ask(&mut stream)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_lost_bytes_stays_silent_after_the_link_is_healed() {
        for way in [Way::Questions, Way::Answers, Way::Both] {
            let (proxy, _serving) = echo().await;
            let mut stream = TcpStream::connect(proxy.address).await.unwrap();
            let mut idle = TcpStream::connect(proxy.address).await.unwrap();
            timeout(LONG, ask(&mut stream)).await.unwrap().unwrap();
            timeout(LONG, ask(&mut idle)).await.unwrap().unwrap();
            proxy.set(Mode::Swallow(way));
            assert!(is_silent(&mut stream).await, "{way:?}");
            proxy.set(Mode::Pass);
            assert!(is_silent(&mut stream).await, "{way:?}");
            timeout(LONG, ask(&mut idle)).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_slow_link_delivers_late() {
        let (proxy, _serving) = echo().await;
        for mode in [Mode::Delay(SHORT), Mode::Throttle(40)] {
            let mut stream = TcpStream::connect(proxy.address).await.unwrap();
            proxy.set(mode);
            let started = Instant::now();
            timeout(LONG, ask(&mut stream)).await.unwrap().unwrap();
            // Once a way.
            assert!(started.elapsed() >= SHORT, "{mode:?}");
        }
    }
}
