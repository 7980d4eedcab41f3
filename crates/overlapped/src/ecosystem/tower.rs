//! HTTP/1 and HTTP/2, served by a service of tower's: axum's `Router`, say, whose handlers block as they like.
//!
//! ```
//! use axum::{Router, extract::Path, routing::get};
//! use overlapped::ecosystem::tower::serve;
//! use overlapped::{Event, net::{TcpListener, TcpStream}, spawn};
//! use std::io::Write;
//!
//! async fn read(Path(name): Path<String>) -> String {
//!     // Only this request waits.
//!     overlapped::fs::read_to_string(format!("/etc/{name}")).unwrap_or_else(|error| error.to_string())
//! }
//!
//! overlapped::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let (address, stop) = (listener.local_addr()?, Event::new());
//!     let stopped = stop.clone();
//!     let router = Router::new().route("/{name}", get(read));
//!     let server = spawn(move || serve(listener, router).with_graceful_shutdown(async move { stopped.wait() }).run());
//!
//!     let mut client = TcpStream::connect(address)?;
//!     client.write_all(b"GET /hostname HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n")?;
//!     assert!(std::io::read_to_string(client)?.starts_with("HTTP/1.1 200 OK"));
//!     stop.set();
//!     server.join().unwrap();
//!     std::io::Result::Ok(())
//! })?;
//! # std::io::Result::Ok(())
//! ```
//!
//! Each connection has a tasklet, and each request one of its own, which is cancelled when nobody wants the answer any more.
//! Which protocol a connection speaks its first bytes tell: a client of HTTP/2 begins with the connection preface (RFC 9113,
//! 3.4). A request knows whose it is by an extension of the type [`Endpoint`](crate::reactor::Endpoint).

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::{Future, Pending, pending, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use ::hyper::body::{Body, Incoming};
use ::hyper::server::conn::{http1, http2};
use ::hyper::service::service_fn;
use ::hyper::{Request, Response};
use slab::Slab;
use tower_service::Service;

use super::hyper::{Executor, Timer, service};
use super::polled::register;
use super::{PolledStream, block_on, in_tasklet};
use crate::group::Group;
use crate::interrupt::Interrupted;
use crate::net::accept_each;
use crate::reactor::StreamSocket;
use crate::time::{sleep, timeout};

/// What a client of HTTP/2 says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a client may take until it has said which protocol it speaks: as long as hyper lets it take for a request's head.
const PATIENCE: Duration = Duration::from_secs(30);

/// What takes connections: [`TcpListener`](crate::net::TcpListener), `UnixListener`.
pub trait Listener: 'static {
    /// A connection.
    type Stream: StreamSocket + 'static;

    /// Waits for the next one.
    ///
    /// # Errors
    /// Those of the system; what the tasklet is told.
    fn next(&self) -> io::Result<Self::Stream>;
}

impl Listener for crate::net::TcpListener {
    type Stream = crate::net::TcpStream;

    fn next(&self) -> io::Result<Self::Stream> {
        self.accept().map(|(stream, _)| stream)
    }
}

#[cfg(unix)]
impl Listener for crate::net::UnixListener {
    type Stream = crate::net::UnixStream;

    fn next(&self) -> io::Result<Self::Stream> {
        self.accept().map(|(stream, _)| stream)
    }
}

/// Serves the connections of `listener` by `service`: see [`Serve::run`].
pub fn serve<L, S, B>(listener: L, service: S) -> Serve<L, S>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
{
    Serve { listener, service, signal: pending(), limit: None }
}

/// A server that is to run: see [`serve`].
#[must_use = "it serves when it is run"]
pub struct Serve<L, S, F = Pending<()>> {
    listener: L,
    service: S,
    signal: F,
    /// How long the connections may take to end in good order.
    limit: Option<Duration>,
}

impl<L, S, F> Serve<L, S, F> {
    /// Ends in good order when `signal` is ready: the listener is closed, connections answer what was asked of them and are
    /// closed, and [`Serve::run`] returns when all are. The signal may wait as tasklets do: `async move { stop.wait() }`.
    ///
    /// A client has its part in this: it may send a request slowly, read an answer slowly, or, in HTTP/2, be silent when it is
    /// told of the end (the server asks by a PING whether it has heard: RFC 9113, 6.8). How long it is waited for,
    /// [`Serve::with_shutdown_timeout`] says; else there is no limit.
    pub fn with_graceful_shutdown<G: Future<Output = ()>>(self, signal: G) -> Serve<L, S, G> {
        Serve { listener: self.listener, service: self.service, signal, limit: self.limit }
    }

    /// Ends those connections, and their handlers, that have not ended within `limit` after the signal of
    /// [`Serve::with_graceful_shutdown`].
    ///
    /// ```no_run
    /// use axum::{Router, routing::get};
    /// use overlapped::{ecosystem::tower::serve, net::TcpListener, signal::ctrl_c};
    /// use std::time::Duration;
    ///
    /// overlapped::run(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:8000")?;
    ///     serve(listener, Router::new().route("/", get(async || "hello")))
    ///         .with_graceful_shutdown(async { drop(ctrl_c()) })
    ///         .with_shutdown_timeout(Duration::from_secs(10))
    ///         .run();
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn with_shutdown_timeout(mut self, limit: Duration) -> Serve<L, S, F> {
        self.limit = Some(limit);
        self
    }
}

impl<L, S, F, B> Serve<L, S, F>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: 'static,
    B: Body + 'static,
    B::Data: 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = ()>,
{
    /// Serves until the signal of [`Serve::with_graceful_shutdown`] comes; without one, for ever. A time-out round this, or a
    /// cancel of its tasklet, ends the connections at once.
    ///
    /// Where there is no descriptor for a connection, it waits in the system's queue and is taken when there is one.
    ///
    /// # Panics
    /// Outside of [`run`](crate::run).
    pub fn run(self) {
        let Serve { listener, service, signal, limit } = self;
        let stop = Stop::default();
        let mut ends_the_last = None;
        Group::run(|connections| {
            let (group, theirs) = (connections.clone(), stop.clone());
            let acceptor = connections.spawn(move || {
                accept_each(
                    || listener.next(),
                    Interrupted::is,
                    |stream| {
                        let (service, stop) = (service.clone(), theirs.clone());
                        group.spawn(move || serve_connection(PolledStream::from(stream), service, &stop));
                        Ok(())
                    },
                );
            });
            block_on(signal);
            acceptor.cancel();
            let _ = acceptor.join();
            stop.now();
            let left = connections.clone();
            ends_the_last = limit.map(|limit| {
                in_tasklet(move || {
                    sleep(limit);
                    left.cancel();
                })
            });
        });
        drop(ends_the_last);
    }
}

/// A connection, from its beginning to its end. What fails here, its client sees; a panic ends no other.
fn serve_connection<S, B>(stream: PolledStream, handler: S, stop: &Stop)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: 'static,
    B: Body + 'static,
    B::Data: 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Ok(peer) = stream.peer_addr() else { return };
    let http2 = timeout(PATIENCE, || block_on(stop.or(speaks_http2(&stream))));
    let Ok(Some(Ok(http2))) = http2 else { return };
    let answer = move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        call(handler.clone(), request)
    };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if http2 {
            // Each stream is polled in a tasklet of its own, the executor's.
            let connection = http2::Builder::new(Executor).timer(Timer).serve_connection(stream, service_fn(answer));
            let _ = block_on(stop.ends(connection, |connection| connection.graceful_shutdown()));
        } else {
            let in_tasklets = service(move |request| block_on(answer(request)));
            let connection = http1::Builder::new().timer(Timer).serve_connection(stream, in_tasklets).with_upgrades();
            let _ = block_on(stop.ends(connection, |connection| connection.graceful_shutdown()));
        }
    }));
}

/// Nothing of the service's runs before this is polled.
async fn call<S: Service<Request<Incoming>>>(
    mut service: S,
    request: Request<Incoming>,
) -> Result<S::Response, S::Error> {
    poll_fn(|context| service.poll_ready(context)).await?;
    service.call(request).await
}

/// Whether the client begins as one of HTTP/2 does.
async fn speaks_http2(stream: &PolledStream) -> io::Result<bool> {
    let mut seen = 0;
    poll_fn(|context| {
        loop {
            let looked = stream.poll_look(context, seen + 1, |bytes| {
                let length = bytes.len().min(PREFACE.len());
                (length, bytes[..length] == PREFACE[..length])
            });
            match ready!(looked)? {
                (_, false) => return Poll::Ready(Ok(false)),
                (length, true) if length == PREFACE.len() => return Poll::Ready(Ok(true)),
                // Nothing more comes.
                (length, true) if length == seen => return Poll::Ready(Ok(false)),
                (length, true) => seen = length,
            }
        }
    })
    .await
}

/// Tells all connections of a server, once, to end.
#[derive(Clone, Default)]
struct Stop(Rc<RefCell<Stopping>>);

#[derive(Default)]
struct Stopping {
    now: bool,
    told: Slab<Option<Waker>>,
}

impl Stop {
    fn now(&self) {
        let wakers: Vec<Waker> = {
            let mut stopping = self.0.borrow_mut();
            stopping.now = true;
            stopping.told.iter_mut().filter_map(|(_, waker)| waker.take()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready when they are to end.
    fn told(&self) -> Told<'_> {
        Told { stop: self, place: self.0.borrow_mut().told.insert(None) }
    }

    /// What comes of `future`; nothing where they are to end before.
    async fn or<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let (mut future, mut told) = (pin!(future), self.told());
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Pin::new(&mut told).poll(context).map(|()| None),
        })
        .await
    }

    /// Waits for a connection, which is told to end when all are.
    async fn ends<C: Future>(&self, connection: C, end: impl FnOnce(Pin<&mut C>)) -> C::Output {
        let (mut connection, mut told) = (pin!(connection), self.told());
        let mut end = Some(end);
        poll_fn(|context| {
            if end.is_some()
                && Pin::new(&mut told).poll(context).is_ready()
                && let Some(end) = end.take()
            {
                end(connection.as_mut());
            }
            connection.as_mut().poll(context)
        })
        .await
    }
}

/// See [`Stop::told`].
struct Told<'a> {
    stop: &'a Stop,
    place: usize,
}

impl Future for Told<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut stopping = self.stop.0.borrow_mut();
        if stopping.now {
            return Poll::Ready(());
        }
        // The waker is a tasklet's: it runs nobody else's code.
        register(&mut stopping.told[self.place], context);
        Poll::Pending
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let waker = self.stop.0.borrow_mut().told.remove(self.place);
        drop(waker);
    }
}

impl<L, S, F> fmt::Debug for Serve<L, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Serve")
    }
}
