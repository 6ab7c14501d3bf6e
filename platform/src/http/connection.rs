//! One connection: requests are answered until it is closed by either side, or a time limit ends it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::Body as _;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use poem::{Body, Endpoint, Request, http};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use super::activity::{Activity, Phase};
use super::body::{Answering, Arriving, Departing};
use super::limits::{BUFFER_BYTES, HEAD_BYTES};
use super::refusal::{self, Refusal};
use super::table::Slot;
use super::{Ends, Shared};

/// How long a client that is still sending is listened to after the last response. Closing earlier would reset the
/// connection, and the client might never read the response.
const LINGER: Duration = Duration::from_secs(1);

pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) ends: Arc<Ends>,
    pub(super) slot: Slot,
}

/// How the requests of a connection ended.
enum End {
    /// All were answered; the client may still be sending.
    Answered,
    /// The connection is broken, or the request was not HTTP/1.
    Broken,
    /// The connection waited for too long.
    Late(Phase),
    /// Another connection has its place, or the server drains.
    Evicted,
}

impl Connection {
    pub(super) async fn serve<Io>(self, io: Io)
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let activity = self.slot.activity.clone();
        let connection = Arc::new(self);
        let io = Reporting {
            io,
            activity: activity.clone(),
            is_flushed: true,
        };
        let service = service_fn({
            let connection = connection.clone();
            move |request| {
                let connection = connection.clone();
                // Boxed, so that the connection can be moved out at its end.
                Box::pin(async move { connection.answer(request).await })
            }
        });
        let mut served = http1::Builder::new()
            .max_header_size(HEAD_BYTES)
            .max_buf_size(BUFFER_BYTES)
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(io), service);
        let end = loop {
            tokio::select! {
                biased;
                ended = Pin::new(&mut served) => break End::of(ended),
                () = activity.closed() => break End::Evicted,
                () = sleep_until(connection.next_check()) => {
                    if let Some(phase) = connection.close_if_late() {
                        break End::Late(phase);
                    }
                }
            }
        };
        let parts = served.into_parts();
        let Reporting { io, is_flushed, .. } = parts.io.into_inner();
        drop(parts.service);
        match end {
            End::Answered => finish(io, None).await,
            End::Late(phase) => {
                // In the middle of a response nothing else can be said, and to silence nothing is.
                let has_request = phase != Phase::Head || !parts.read_buf.is_empty();
                let refusal = late(phase).filter(|_| is_flushed && has_request);
                finish(io, refusal).await;
            }
            End::Broken | End::Evicted => {}
        }
    }

    async fn answer(
        &self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Departing>, Evicted> {
        let activity = &self.slot.activity;
        let (head, body) = request.into_parts();
        let phase = if body.is_end_stream() {
            Phase::Work
        } else {
            Phase::Body
        };
        if !activity.enter(phase) {
            return Err(Evicted);
        }
        let answering = Answering(activity.clone());
        let mut response = if self.slot.is_reserved && !self.is_always_answered(head.uri.path()) {
            refusal::too_many_connections().response()
        } else {
            let Ends {
                local,
                remote,
                scheme,
            } = &*self.ends;
            let head = (head, local.clone(), remote.clone(), scheme.clone());
            let body = Body::from(BoxBody::new(Arriving {
                inner: body,
                activity: activity.clone(),
            }));
            let request = Request::from_parts(head.into(), body);
            self.shared.endpoint.get_response(request).await
        };
        super::secure(&mut response);
        if self.slot.is_reserved || self.shared.stop.is_cancelled() {
            refusal::close_after(&mut response);
        }
        Ok(http::Response::from(response).map(|inner| Departing {
            inner,
            _answering: answering,
        }))
    }

    fn is_always_answered(&self, path: &str) -> bool {
        self.shared.server.always.contains(&path)
    }

    /// When the present phase, or one that begins now, may be late.
    fn next_check(&self) -> Instant {
        let limits = &self.shared.server.limits;
        let deadline = self
            .slot
            .activity
            .seen()
            .deadline(limits, self.slot.is_reserved);
        deadline.min(Instant::now() + limits.shortest())
    }

    /// Closes the connection if its phase has lasted too long, and returns that phase.
    fn close_if_late(&self) -> Option<Phase> {
        let activity = &self.slot.activity;
        let seen = activity.seen();
        let deadline = seen.deadline(&self.shared.server.limits, self.slot.is_reserved);
        (Instant::now() >= deadline && activity.close(seen)).then_some(seen.phase)
    }
}

impl End {
    fn of(ended: hyper::Result<()>) -> Self {
        match ended {
            Ok(()) => Self::Answered,
            // hyper has answered 400 or 431.
            Err(error) if error.is_parse() || error.is_parse_too_large() => Self::Answered,
            Err(_) => Self::Broken,
        }
    }
}

/// No request begins on a connection that is to be closed.
#[derive(Debug, thiserror::Error)]
#[error("the connection is to be closed")]
struct Evicted;

fn late(phase: Phase) -> Option<Refusal> {
    match phase {
        Phase::Head => Some(refusal::head_timeout()),
        Phase::Body => Some(refusal::body_timeout()),
        Phase::Work => Some(refusal::response_timeout()),
        Phase::Idle | Phase::Closing => None,
    }
}

/// Says a last word, and listens until the client has closed its side too.
async fn finish(mut io: impl AsyncRead + AsyncWrite + Unpin, refusal: Option<Refusal>) {
    let closing = async {
        if let Some(refusal) = refusal {
            io.write_all(&refusal.to_bytes()).await?;
        }
        io.shutdown().await?;
        let mut rest = [0; 4096];
        while io.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(LINGER, closing).await;
}

/// A connection's bytes; reports when some arrive, and knows whether all that was written has been sent.
struct Reporting<Io> {
    io: Io,
    activity: Arc<Activity>,
    is_flushed: bool,
}

impl<Io: AsyncRead + Unpin> AsyncRead for Reporting<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.receive();
        }
        polled
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Reporting<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes once it has written all.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(context);
        self.is_flushed = matches!(polled, Poll::Ready(Ok(())));
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
