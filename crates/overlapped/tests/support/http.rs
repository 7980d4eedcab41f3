//! Servers of HTTP, and long bodies, to be sent and checked on the way.

#[cfg(feature = "tower")]
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use overlapped::block_on;
#[cfg(feature = "tower")]
use overlapped::{Event, JoinHandle, ecosystem::tower::serve, net::TcpListener, spawn};

use super::pattern;

/// Serves until the event is set.
#[cfg(feature = "tower")]
pub(crate) fn start(router: axum::Router) -> (SocketAddr, Event, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), Event::new());
    let stopped = stop.clone();
    let server = spawn(move || serve(listener, router).with_graceful_shutdown(async move { stopped.wait() }).run());
    (address, stop, server)
}

const PIECE: usize = 64 << 10;

/// What bodies repeat: of no round length.
fn period() -> &'static Bytes {
    static MADE: OnceLock<Bytes> = OnceLock::new();
    MADE.get_or_init(|| pattern(0, 1_000_003).into())
}

/// The bytes from `at` on, at most so many.
fn part(at: usize, most: usize) -> Bytes {
    let start = at % period().len();
    period().slice(start..period().len().min(start + most))
}

/// A body of so many bytes, made as it is sent.
pub(crate) struct Long {
    pub(crate) length: usize,
    sent: usize,
}

impl Long {
    pub(crate) fn new(length: usize) -> Long {
        Long { length, sent: 0 }
    }
}

impl Body for Long {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.sent == self.length {
            return Poll::Ready(None);
        }
        let piece = part(self.sent, PIECE.min(self.length - self.sent));
        self.sent += piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.length - self.sent) as u64)
    }
}

/// Reads a body to its end, as code that blocks does; says how many bytes there were, all of them right.
pub(crate) fn read_long<B>(mut body: B) -> usize
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Debug,
{
    let mut read = 0;
    while let Some(frame) = block_on(body.frame()) {
        let Ok(mut data) = frame.unwrap().into_data() else { continue };
        while !data.is_empty() {
            let expected = part(read, data.len());
            assert!(data.split_to(expected.len()) == expected, "other bytes than were sent, after {read}");
            read += expected.len();
        }
    }
    read
}
