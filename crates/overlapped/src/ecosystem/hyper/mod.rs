//! hyper on tasklets: the traits of its `rt` for [`PolledStream`], an [`Executor`] (and an [eager](EagerExecutor) one for services
//! that do not block), a [`Timer`], and [`service()`], which answers requests by code that blocks.
//!
//! Which protocols there are is chosen with hyper's own features. A server of HTTP/1:
//!
//! ```
//! use hyper::body::Incoming;
//! use hyper::{Request, Response};
//! use overlapped::ecosystem::{PolledStream, hyper as on_tasklets};
//! use overlapped::{block_on, net::TcpListener, spawn};
//! use std::io::{Read, Write};
//!
//! fn hello(_: Request<Incoming>) -> std::io::Result<Response<String>> {
//!     // Whatever waits, may wait here.
//!     overlapped::sleep(std::time::Duration::from_millis(1));
//!     Ok(Response::new("hello".to_owned()))
//! }
//!
//! overlapped::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     spawn(move || {
//!         for stream in listener.incoming() {
//!             let stream = PolledStream::from(stream?);
//!             let mut http = hyper::server::conn::http1::Builder::new();
//!             http.timer(on_tasklets::Timer);
//!             spawn(move || block_on(http.serve_connection(stream, on_tasklets::service(hello))));
//!         }
//!         std::io::Result::Ok(())
//!     });
//!     let mut client = overlapped::net::TcpStream::connect(address)?;
//!     client.write_all(b"GET / HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n")?;
//!     let answer = std::io::read_to_string(client)?;
//!     assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{answer}");
//!     std::io::Result::Ok(())
//! })?;
//! # std::io::Result::Ok(())
//! ```

mod service;
mod timer;

use std::future::Future;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use ::hyper::rt::{self, ReadBufCursor};

pub use self::service::{Answer, Service, service};
pub use self::timer::Timer;
use super::{PolledStream, block_on};
use crate::tasklet::spawn;

impl rt::Read for PolledStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let taken = self.poll_take(context, |bytes| {
            let taken = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..taken]);
            taken
        });
        taken.map_ok(drop)
    }
}

impl rt::Write for PolledStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(context, &[IoSlice::new(buffer)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_put(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was written is on its way, and hyper, which flushes after each answer, would be woken for nothing when the system
    /// has it. Its shutdown waits.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.check_output())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(context)
    }
}

/// Gives each future a tasklet of its own: see [`hyper::rt::Executor`].
///
/// # Panics
/// To execute panics as [`spawn`] does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor;

impl<F> rt::Executor<F> for Executor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        spawn(move || block_on(future));
    }
}

/// Polls each future at once, in the tasklet that gives it, and gives a tasklet of its own to one that is not ready then.
///
/// For a server of HTTP/2 whose service waits by `.await` alone: an answer that is there at once takes no tasklet, and goes out
/// with what the connection is about to send. Code that blocks in that first poll ([`net`](crate::net), [`fs`](crate::fs)) would
/// hold up all requests of the connection; for that there is [`Executor`].
///
/// # Panics
/// To execute panics as [`spawn`] does. The panic of a future ends that future alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct EagerExecutor;

impl<F> rt::Executor<F> for EagerExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        let mut future = Box::pin(future);
        // Whoever wakes it before its tasklet polls it need not: that does so anyhow.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
        if let Ok(Poll::Pending) = polled {
            spawn(move || block_on(future));
        }
    }
}
