//! A stream in the shape of futures: whoever polls it is told at once, or woken when there is something to be told.
//!
//! A completion port has no readiness to ask for; it has operations, and they own their buffers. So a stream that is polled
//! reads ahead: one receive is in flight for many results, in buffers of the port's, and a poll takes what has come. It writes
//! behind: what is written is copied, and sent by an operation that owns it. Both call back on the loop's turn
//! ([`crate::scheduler::Scheduler::launch`]), as a reactor's transport does; the state lies under a lock, so that a stream may
//! be given to another thread, and is used there by the port of that thread. (Rejected: one operation for each poll, on a buffer
//! of the poller's. It may drop that buffer, or the future, at any time.)
//!
//! The reader's limit is [`AHEAD`]: what comes beyond stays with the system, whose peer has to wait. The writer's is
//! [`BEHIND`].
//!
//! **No waker is called, and none dropped, under the lock**: both are other people's code, which may look here.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::mem;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use overlapped_port::socket::Held;
use overlapped_port::sys::{CANCELLED, raw_socket};
use overlapped_port::{Op, Outcome};
use socket2::Socket;

use crate::reactor::{Endpoint, StreamSocket, guarded, prepare, socket_of};
use crate::scheduler::{self, Remote, Scheduler, Started, try_current};

/// So many bytes that were received and not read, and no more are received.
const AHEAD: usize = 128 << 10;
/// With so few left, it goes on.
const LOW: usize = 32 << 10;
/// So many bytes wait to be sent, beside those that are on their way.
const BEHIND: usize = 64 << 10;
/// Room that is kept for the next bytes.
const KEPT: usize = 16 << 10;

/// A stream for crates that poll: with the feature `hyper` it has the traits of [`hyper::rt`], with the feature `futures-io`
/// those of [`futures_io`]. It may be given to another thread, and used there inside of [`run`](crate::run).
///
/// It begins with a connected stream, of this crate or of the standard library's:
///
/// ```
/// use overlapped::ecosystem::PolledStream;
/// overlapped::run(|| {
///     let listener = overlapped::net::TcpListener::bind("127.0.0.1:0")?;
///     let client = PolledStream::from(overlapped::net::TcpStream::connect(listener.local_addr()?)?);
///     assert_eq!(client.peer_addr()?.ip(), Some(listener.local_addr()?));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// It reads ahead, 128 KiB and a little more; and what was written is on its way before it is flushed. A *flush* waits until
/// the system has all of it, and tells what became of it; without one, an error shows with the next write. hyper's flush does
/// not wait, and its shutdown does. Time-outs of the stream that it was made of count no more. Small writes go out at once, for
/// they are collected here (`TCP_NODELAY`, tcp(7)).
///
/// Dropped, it closes as a socket does: what was written still goes out, unless the [`run`](crate::run) ends before, and what
/// was read ahead is gone.
pub struct PolledStream(Arc<Shared>);

struct Shared {
    socket: Held<Socket>,
    state: Mutex<State>,
}

struct State {
    /// What has come and was not read.
    came: VecDeque<u8>,
    receiving: Option<InFlight>,
    input: Input,
    reader: Option<Waker>,
    /// What is to be sent after what is on its way.
    waiting: Vec<u8>,
    /// Room that was used before.
    spare: Vec<u8>,
    sending: bool,
    output: Output,
    writer: Option<Waker>,
    /// The stream was dropped: nobody reads.
    left: bool,
}

enum Input {
    Open,
    /// To be told once.
    Failed(io::Error),
    Over,
}

enum Output {
    Open,
    /// To be told once.
    Failed(io::Error),
    /// It was told, or this side was ended.
    Over,
}

/// A receive in flight, on some thread's port.
struct InFlight {
    started: Started,
    port: Arc<Remote>,
    /// It was asked to end.
    stopped: bool,
}

impl InFlight {
    /// Asks for its end, wherever it is.
    fn stop(&mut self) {
        self.stopped = true;
        let started = self.started;
        match try_current() {
            Some(scheduler) if Arc::ptr_eq(scheduler.remote(), &self.port) => scheduler.cancel(started),
            _ => {
                self.port.call(Box::new(move || {
                    if let Some(scheduler) = try_current() {
                        scheduler.cancel(started);
                    }
                }));
            }
        }
    }
}

/// Bytes on their way out.
struct Sending {
    bytes: Vec<u8>,
    sent: usize,
}

impl<S: StreamSocket> From<S> for PolledStream {
    fn from(stream: S) -> PolledStream {
        let socket = socket_of(stream);
        if let Ok(address) = overlapped_port::socket::local_addr(&socket) {
            prepare(&socket, &address);
        }
        let state = State {
            came: VecDeque::new(),
            receiving: None,
            input: Input::Open,
            reader: None,
            waiting: Vec::new(),
            spare: Vec::new(),
            sending: false,
            output: Output::Open,
            writer: None,
            left: false,
        };
        PolledStream(Arc::new(Shared { socket: Held::new(socket), state: Mutex::new(state) }))
    }
}

impl PolledStream {
    /// The address of the other end.
    ///
    /// # Errors
    /// `NotConnected` where the connection is gone.
    pub fn peer_addr(&self) -> io::Result<Endpoint> {
        Endpoint::of(overlapped_port::socket::peer_addr(&self.0.socket)?)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<Endpoint> {
        Endpoint::of(overlapped_port::socket::local_addr(&self.0.socket)?)
    }

    /// Has `take` look at what has come and was not read, and take some of it: it says how much. Empty is the end.
    pub(super) fn poll_take(
        &self,
        context: &Context<'_>,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        if !state.came.is_empty() {
            let taken = take(state.came.as_slices().0);
            state.came.drain(..taken);
            state.spare_room();
            if state.wants_more(LOW) {
                // What is there is told first.
                let _ = self.0.receive(&mut state);
            }
            return Poll::Ready(Ok(taken));
        }
        match mem::replace(&mut state.input, Input::Over) {
            Input::Over => return Poll::Ready(Ok(0)),
            Input::Failed(error) => return Poll::Ready(Err(error)),
            Input::Open => state.input = Input::Open,
        }
        if state.receiving.is_none() {
            self.0.receive(&mut state)?;
        }
        pending(state, |state| &mut state.reader, context)
    }

    /// Ready when at least so many bytes have come and were not read, or no more will; `look` is shown them, whole.
    #[cfg_attr(not(feature = "tower"), expect(dead_code, reason = "who serves two protocols looks first"))]
    pub(super) fn poll_look<R>(
        &self,
        context: &Context<'_>,
        at_least: usize,
        look: impl FnOnce(&[u8]) -> R,
    ) -> Poll<io::Result<R>> {
        let mut state = self.0.state();
        if state.came.len() >= at_least || !matches!(state.input, Input::Open) {
            return Poll::Ready(Ok(look(state.came.make_contiguous())));
        }
        if state.receiving.is_none() {
            self.0.receive(&mut state)?;
        }
        pending(state, |state| &mut state.reader, context)
    }

    /// Takes as much of `buffers` as there is room for.
    pub(super) fn poll_put(&self, context: &Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        state.output.check()?;
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let before = state.waiting.len();
        if before >= BEHIND {
            return pending(state, |state| &mut state.writer, context);
        }
        for buffer in buffers {
            let room = BEHIND - state.waiting.len();
            state.waiting.extend_from_slice(&buffer[..buffer.len().min(room)]);
        }
        let taken = state.waiting.len() - before;
        if !state.sending
            && let Err(error) = self.0.send_what_waits(&mut state)
        {
            state.waiting.clear();
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }

    /// Ready when the system has all that was written.
    pub(super) fn poll_sent(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.check_output()?;
        let state = self.0.state();
        if !state.sending {
            return Poll::Ready(Ok(()));
        }
        pending(state, |state| &mut state.writer, context)
    }

    /// Tells once what became of what was written before.
    pub(super) fn check_output(&self) -> io::Result<()> {
        match &mut self.0.state().output {
            output @ Output::Failed(_) => output.check(),
            Output::Open | Output::Over => Ok(()),
        }
    }

    /// Ends this side, when all that was written is sent.
    pub(super) fn poll_end(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(context))?;
        if let Output::Open = mem::replace(&mut self.0.state().output, Output::Over) {
            match overlapped_port::socket::shutdown(&self.0.socket, Shutdown::Write) {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => return Poll::Ready(Err(error)),
                _ => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Has whoever polls woken; returns who was to be woken before, to be dropped without the lock.
pub(super) fn register(place: &mut Option<Waker>, context: &Context<'_>) -> Option<Waker> {
    match place {
        Some(waker) if waker.will_wake(context.waker()) => None,
        _ => place.replace(context.waker().clone()),
    }
}

/// What a poll says that has found nothing: whoever polls is woken from `place`.
fn pending<T>(
    mut state: MutexGuard<'_, State>,
    place: impl FnOnce(&mut State) -> &mut Option<Waker>,
    context: &Context<'_>,
) -> Poll<T> {
    let before = register(place(&mut state), context);
    drop(state);
    drop(before);
    Poll::Pending
}

/// Wakes, without the lock. Called by the loop.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        guarded(|| waker.wake());
    }
}

/// What an operation ends with that nobody here has cancelled.
fn as_told(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(CANCELLED) {
        return io::Error::new(io::ErrorKind::ConnectionAborted, "the run has ended, and its connections with it");
    }
    error
}

impl Output {
    /// # Errors
    /// What became of what was written before; `BrokenPipe` after that, and once this side was ended.
    fn check(&mut self) -> io::Result<()> {
        match mem::replace(self, Output::Over) {
            Output::Open => {
                *self = Output::Open;
                Ok(())
            }
            Output::Failed(error) => Err(error),
            Output::Over => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl State {
    /// Whether a receive is to be begun where less than `limit` has come.
    fn wants_more(&self, limit: usize) -> bool {
        self.receiving.is_none() && matches!(self.input, Input::Open) && !self.left && self.came.len() < limit
    }

    /// Gives room back that an idle stream has no need of.
    fn spare_room(&mut self) {
        if self.came.is_empty() && self.came.capacity() > KEPT {
            self.came = VecDeque::new();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to receive, on the port of this thread. No callback is called in here.
    fn receive(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let scheduler = scheduler::current()?;
        self.receive_on(&scheduler, state);
        Ok(())
    }

    fn receive_on(self: &Arc<Self>, scheduler: &Scheduler, state: &mut State) {
        let me = Arc::clone(self);
        let op = |shared: &Shared| Op::RecvMultishot { socket: raw_socket(&shared.socket) };
        let started = scheduler.launch_multishot(self, op, move |result, more| me.received(result, more));
        state.receiving = Some(InFlight { started, port: Arc::clone(scheduler.remote()), stopped: false });
    }

    /// A receive has brought something. Called by the loop.
    fn received(self: &Arc<Self>, result: io::Result<Outcome>, more: bool) {
        let mut state = self.state();
        let stopped = state.receiving.as_ref().is_some_and(|receiving| receiving.stopped);
        if !more {
            state.receiving = None;
        }
        match result {
            _ if state.left => {}
            Ok(Outcome::Provided(Some(buffer))) if !buffer.is_empty() => state.came.extend(&*buffer),
            Ok(_) => state.input = Input::Over,
            Err(error) if stopped && error.raw_os_error() == Some(CANCELLED) => {}
            Err(error) => state.input = Input::Failed(as_told(error)),
        }
        if state.came.len() >= AHEAD
            && let Some(receiving) = state.receiving.as_mut().filter(|receiving| !receiving.stopped)
        {
            receiving.stop();
        }
        if state.wants_more(if stopped { LOW } else { AHEAD })
            && let Some(scheduler) = try_current()
        {
            self.receive_on(&scheduler, &mut state);
        }
        let is_news = !state.came.is_empty() || !matches!(state.input, Input::Open);
        let reader = if is_news { state.reader.take() } else { None };
        drop(state);
        wake(reader);
    }

    /// Sends what waits, on the port of this thread. No callback is called in here.
    fn send_what_waits(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let scheduler = scheduler::current()?;
        let bytes = mem::replace(&mut state.waiting, mem::take(&mut state.spare));
        state.sending = true;
        self.send(&scheduler, Sending { bytes, sent: 0 });
        Ok(())
    }

    fn send(self: &Arc<Self>, scheduler: &Scheduler, sending: Sending) {
        let me = Arc::clone(self);
        scheduler.launch(self, sending, send_rest, move |sending, result| me.was_sent(sending, result));
    }

    /// A send has ended. Called by the loop.
    fn was_sent(self: &Arc<Self>, mut sending: Sending, result: io::Result<Outcome>) {
        let mut state = self.state();
        let failed = match result {
            Ok(Outcome::Count(count @ 1..)) => {
                sending.sent += count;
                None
            }
            Ok(_) => Some(io::ErrorKind::WriteZero.into()),
            Err(error) => Some(as_told(error)),
        };
        let scheduler = try_current();
        match (failed, scheduler) {
            (None, Some(scheduler)) if sending.sent < sending.bytes.len() => {
                drop(state);
                return self.send(&scheduler, sending);
            }
            (Some(error), _) => {
                state.waiting = Vec::new();
                state.output = Output::Failed(error);
            }
            _ => {}
        }
        if sending.bytes.capacity() <= BEHIND {
            sending.bytes.clear();
            state.spare = sending.bytes;
        }
        state.sending = !state.waiting.is_empty() && self.send_what_waits(&mut state).is_ok();
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }
}

fn send_rest<'a>(shared: &Shared, sending: &'a mut Sending) -> Op<'a> {
    Op::Send { socket: raw_socket(&shared.socket), buffer: &sending.bytes[sending.sent..], flags: 0, all: true }
}

impl Drop for PolledStream {
    fn drop(&mut self) {
        let wakers = {
            let mut state = self.0.state();
            state.left = true;
            if let Some(receiving) = &mut state.receiving {
                receiving.stop();
            }
            (state.reader.take(), state.writer.take())
        };
        drop(wakers);
    }
}

impl fmt::Debug for PolledStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolledStream")
            .field("local", &self.local_addr().ok())
            .field("peer", &self.peer_addr().ok())
            .finish_non_exhaustive()
    }
}
