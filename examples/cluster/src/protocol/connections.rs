//! The connections of a listener: their number is bounded, and those without use are cut.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::task::AtomicWaker;
use hyper::body::{Body, Frame, SizeHint};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use super::limits;

/// The pause after a failure to accept, such as too many open files. It lasts until others end.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts the connections of a listener.
pub struct Connections {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    idle: Duration,
    is_full: bool,
}

impl Connections {
    /// Takes a listener, and the most connections that may be open at a time.
    ///
    /// They take at most some eighths of the files that this process may open. Peers must not take
    /// those of the election or of the logs.
    pub fn new(listener: TcpListener, most: usize, eighths_of_files: u64) -> Self {
        let files = getrlimit(Resource::Nofile).current;
        let most = share_of_files(files, eighths_of_files).map_or(most, |share| most.min(share));
        Self {
            listener,
            permits: Arc::new(Semaphore::new(most)),
            idle: limits::IDLE_CONNECTION,
            is_full: false,
        }
    }

    /// Waits for the next connection. While too many are open, others wait in the kernel.
    pub async fn accept(&mut self) -> Connection {
        let was_full = std::mem::replace(&mut self.is_full, self.permits.available_permits() == 0);
        if self.is_full && !was_full {
            warn!("too many connections are open: others wait");
        }
        // The semaphore is never closed.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Without it, small messages only wait longer.
                    let _ = stream.set_nodelay(true);
                    return Connection {
                        stream,
                        usage: Usage::default(),
                        seen: 0,
                        idle: self.idle,
                        end: None,
                        _permit: permit,
                    };
                }
                Err(error) if is_of_the_peer(&error) => debug!(%error, "a connection was not accepted"),
                Err(error) => {
                    warn!(%error, "no connection can be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Returns the connections for a gRPC server.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Connection>> {
        futures::stream::unfold(self, async |mut connections| {
            Some((Ok(connections.accept().await), connections))
        })
    }
}

fn share_of_files(files: Option<u64>, eighths: u64) -> Option<usize> {
    usize::try_from(files? / 8 * eighths).ok()
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
    )
}

/// An accepted connection. It is cut after some time without a stream or a request. Handshakes, pings
/// and single bytes of a request do not keep it.
pub struct Connection {
    stream: TcpStream,
    usage: Usage,
    /// The number of uses that had begun when `end` was set.
    seen: usize,
    idle: Duration,
    /// The time at which it is cut, while nothing uses it.
    end: Option<Pin<Box<Sleep>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// Returns the counter of what uses this connection.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Returns an error once nothing has used the connection for too long. Wakes the task then.
    fn check_use(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let usage = &*self.usage.0;
        // Before it looks, so that it misses no end of a use.
        usage.waker.register(context.waker());
        let ended = usage.ended.load(Ordering::Acquire);
        let begun = usage.begun.load(Ordering::Acquire);
        if begun != ended || begun != self.seen {
            self.end = None;
            self.seen = begun;
        }
        if begun != ended {
            return Ok(());
        }
        let idle = self.idle;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(idle)));
        match end.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::Error::new(ErrorKind::TimedOut, "nothing uses the connection")),
        }
    }
}

/// Counts what uses a connection. A server finds it among the extensions of a request.
#[derive(Debug, Clone, Default)]
pub struct Usage(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
    /// Wakes the connection when a use ends.
    waker: AtomicWaker,
}

impl Usage {
    /// Keeps the connection until the use is dropped.
    pub fn begin(&self) -> Use {
        self.0.begun.fetch_add(1, Ordering::AcqRel);
        Use(Arc::clone(&self.0))
    }
}

/// Something that uses a connection.
#[derive(Debug)]
pub struct Use(Arc<Counts>);

impl Drop for Use {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
        self.0.waker.wake();
    }
}

/// A body that uses a connection until it is dropped.
pub struct Held<B> {
    body: B,
    _use: Use,
}

impl<B> Held<B> {
    pub fn new(body: B, in_use: Use) -> Self {
        Self { body, _use: in_use }
    }
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Connected for Connection {
    type ConnectInfo = Usage;

    fn connect_info(&self) -> Usage {
        self.usage.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_use(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_use(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_use(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
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

#[cfg(test)]
mod tests;
