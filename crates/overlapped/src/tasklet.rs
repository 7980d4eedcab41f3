//! Tasklets of the Rust face: `run`, `spawn`, join, cancel.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use overlapped_port::Port;

use crate::coroutine::Coroutines;
use crate::interrupt::{self, Cause};
use crate::scheduler::{Remote, Scheduler, Status, TaskletId, Waiter, boards, current, try_current};

/// Stack of a tasklet in bytes unless its [`Builder`] says otherwise. Only what is touched takes memory.
pub const DEFAULT_STACK_SIZE: usize = 256 << 10;

thread_local! {
    static COROUTINES: RefCell<Option<Rc<Coroutines>>> = const { RefCell::new(None) };
}

/// Runs `main` with tasklets on this thread, and returns what it returns.
///
/// `main` is the first tasklet; its waits let the others run. When it has returned, tasklets that have not ended are
/// cancelled, and `run` returns when they have: nothing is left in flight.
///
/// ```
/// let answer = overlapped::run(|| {
///     let half = overlapped::spawn(|| 21);
///     2 * half.join().unwrap()
/// });
/// assert_eq!(answer, 42);
/// ```
///
/// # Panics
/// Where no port can be had (the system is out of descriptors or memory, or `OVERLAPPED_BACKEND` names a backend that
/// does not start: see [`try_run`]), where `run` is called inside `run`, and with the panic of `main`.
pub fn run<T>(main: impl FnOnce() -> T) -> T {
    try_run(main).unwrap_or_else(|error| panic!("overlapped::run: {error}"))
}

/// As [`run`], with an error instead of a panic where it cannot start.
///
/// # Errors
/// Where no port can be had, or a scheduler runs on this thread already.
pub fn try_run<T>(main: impl FnOnce() -> T) -> io::Result<T> {
    if try_current().is_some() {
        return Err(io::Error::other("a scheduler runs on this thread already: overlapped::run is not nested"));
    }
    let coroutines = Coroutines::new();
    let scheduler = Scheduler::enter(Port::new()?, Box::new(Rc::clone(&coroutines)))?;
    COROUTINES.set(Some(coroutines));
    let result = catch_unwind(AssertUnwindSafe(main));
    scheduler.cancel_all();
    COROUTINES.take();
    scheduler.leave();
    drop(scheduler);
    result.map_err(|payload| resume_unwind(payload))
}

/// Starts a tasklet on this thread. It runs when this one first waits, yields or ends.
///
/// ```
/// overlapped::run(|| {
///     let greeting = overlapped::spawn(|| format!("hello"));
///     assert_eq!(greeting.join().unwrap(), "hello");
/// });
/// ```
///
/// # Panics
/// Outside [`run`].
pub fn spawn<T: 'static>(function: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    Builder::new().spawn(function)
}

/// How to start a tasklet: its name, its stack.
///
/// ```
/// overlapped::run(|| {
///     let reader = overlapped::Builder::new().name("reader").stack_size(1 << 20).spawn(|| 1);
///     assert_eq!(reader.join().unwrap(), 1);
/// });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    name: Option<Cow<'static, str>>,
    stack_size: Option<usize>,
}

impl Builder {
    /// A tasklet without a name, with [`DEFAULT_STACK_SIZE`].
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the tasklet, for listings and for the message of a stack overflow.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Sets the stack's size in bytes; it is rounded up to what the system can give.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Starts the tasklet, as [`spawn`] does.
    ///
    /// # Panics
    /// Outside [`run`].
    pub fn spawn<T: 'static>(self, function: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        let scheduler = try_current().expect("overlapped::spawn: call it inside overlapped::run");
        let packet = Packet::new();
        self.start(&scheduler, Arc::clone(&packet), function);
        JoinHandle { packet, remote: Arc::clone(scheduler.remote()) }
    }

    fn start<T: 'static>(
        self,
        scheduler: &Rc<Scheduler>,
        packet: Arc<Packet<T>>,
        function: impl FnOnce() -> T + 'static,
    ) {
        let id = scheduler.create(self.name.as_deref());
        {
            let mut state = packet.state();
            state.id = Some(id);
            if state.cancelled {
                scheduler.interrupt(id, Cause::Cancel);
            }
        }
        let body = move |stack: io::Result<()>| {
            let result = match stack {
                Err(error) => Err(JoinError(Ending::NoStack(error))),
                Ok(()) if was_cancelled() => Err(JoinError(Ending::Cancelled)),
                Ok(()) => {
                    catch_unwind(AssertUnwindSafe(function)).map_err(|payload| match interrupt::cause(&*payload) {
                        Some(_) => JoinError(Ending::Cancelled),
                        None => JoinError(Ending::Panicked(Mutex::new(payload))),
                    })
                }
            };
            packet.finish(result);
        };
        let stack_size = self.stack_size.unwrap_or(DEFAULT_STACK_SIZE);
        COROUTINES.with_borrow(|coroutines| {
            let coroutines = coroutines.as_ref().expect("tasklets of the Rust face are started inside overlapped::run");
            coroutines.insert(id, Box::new(body), stack_size);
        });
    }
}

/// Whether the tasklet that begins was cancelled before.
fn was_cancelled() -> bool {
    try_current().is_some_and(|scheduler| scheduler.take_interrupt().is_some())
}

/// What a tasklet and its joiner share.
struct Packet<T> {
    state: Mutex<Shared<T>>,
}

struct Shared<T> {
    id: Option<TaskletId>,
    cancelled: bool,
    result: Option<Result<T, JoinError>>,
    finished: bool,
    joiner: Option<Waiter>,
}

impl<T> Packet<T> {
    fn new() -> Arc<Packet<T>> {
        let state = Shared { id: None, cancelled: false, result: None, finished: false, joiner: None };
        Arc::new(Packet { state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, Shared<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, result: Result<T, JoinError>) {
        let mut state = self.state();
        state.result = Some(result);
        state.finished = true;
        let joiner = state.joiner.take();
        drop(state);
        if let Some(joiner) = joiner {
            joiner.wake();
        }
    }
}

/// A started tasklet: join it, cancel it. Dropping the handle lets the tasklet run on its own.
pub struct JoinHandle<T> {
    packet: Arc<Packet<T>>,
    remote: Arc<Remote>,
}

impl<T> JoinHandle<T> {
    /// Waits until the tasklet has ended, and takes its result. Works from any tasklet and any thread.
    ///
    /// # Errors
    /// [`JoinError`] where the tasklet panicked or was cancelled.
    pub fn join(self) -> Result<T, JoinError> {
        loop {
            {
                let mut state = self.packet.state();
                if let Some(result) = state.result.take() {
                    return result;
                }
                state.joiner = Some(Waiter::current());
            }
            if let Err(interrupted) = crate::scheduler::park(None, "join") {
                self.packet.state().joiner = None;
                interrupted.raise_here();
                return Err(JoinError(Ending::Abandoned));
            }
        }
    }

    /// Ends the tasklet early: what it waits for is cancelled, its stack unwinds, its destructors run. A tasklet that
    /// has not begun never does; one that never waits is not disturbed. Works from any thread.
    pub fn cancel(&self) {
        let id = {
            let mut state = self.packet.state();
            state.cancelled = true;
            if state.finished {
                return;
            }
            state.id
        };
        if let Some(id) = id {
            Waiter::of(&self.remote, id).interrupt(Cause::Cancel);
        }
    }

    /// Whether the tasklet has ended.
    pub fn is_finished(&self) -> bool {
        self.packet.state().finished
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

/// Why a tasklet has no result.
pub struct JoinError(Ending);

enum Ending {
    /// The lock is there for errors that are shared between threads: a payload itself may not be.
    Panicked(Mutex<Box<dyn Any + Send>>),
    Cancelled,
    /// The system gave no stack for it: it never began.
    NoStack(io::Error),
    /// The joiner itself was interrupted, or may not wait for it is panicking.
    Abandoned,
}

impl JoinError {
    /// Whether the tasklet panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0, Ending::Panicked(_))
    }

    /// Whether the tasklet was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0, Ending::Cancelled)
    }

    /// The payload of the tasklet's panic, to be looked at or thrown again with [`resume_unwind`].
    ///
    /// # Errors
    /// The error itself where the tasklet did not panic.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.0 {
            Ending::Panicked(payload) => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            ending => Err(JoinError(ending)),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ending::Cancelled => f.write_str("the tasklet was cancelled"),
            Ending::NoStack(error) => write!(f, "the tasklet could not begin, for want of a stack: {error}"),
            Ending::Abandoned => f.write_str("the wait for the tasklet was given up"),
            Ending::Panicked(payload) => {
                let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                let text = payload.downcast_ref::<&str>().copied();
                match text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)) {
                    Some(text) => write!(f, "the tasklet panicked: {text}"),
                    None => f.write_str("the tasklet panicked"),
                }
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        io::Error::other(error)
    }
}

/// Reaches the tasklets of a thread from other threads.
///
/// ```
/// overlapped::run(|| {
///     let here = overlapped::handle();
///     let worker = std::thread::spawn(move || here.spawn(|| 6 * 7).join().unwrap());
///     while !worker.is_finished() {
///         overlapped::sleep(std::time::Duration::from_millis(1));
///     }
///     assert_eq!(worker.join().unwrap(), 42);
/// });
/// ```
#[derive(Clone)]
pub struct Handle(Arc<Remote>);

/// The handle of this thread's tasklets.
///
/// # Panics
/// Outside [`run`].
pub fn handle() -> Handle {
    Handle(Arc::clone(try_current().expect("overlapped::handle: call it inside overlapped::run").remote()))
}

impl Handle {
    /// Starts a tasklet on the handle's thread. Where that thread's [`run`] has ended, it never starts.
    pub fn spawn<T: Send + 'static>(&self, function: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let packet = Packet::new();
        let theirs = Undelivered(Some(Arc::clone(&packet)));
        self.0.call(Box::new(move || {
            let mut theirs = theirs;
            if let (Some(scheduler), Some(packet)) = (try_current(), theirs.0.take()) {
                Builder::new().start(&scheduler, packet, function);
            }
        }));
        JoinHandle { packet, remote: Arc::clone(&self.0) }
    }

    /// As [`tasklets`], for the handle's thread: at any time, also while a tasklet holds that thread.
    ///
    /// ```
    /// use std::time::Duration;
    /// overlapped::run(|| {
    ///     let here = overlapped::handle();
    ///     overlapped::spawn(|| overlapped::sleep(Duration::from_millis(1)));
    ///     overlapped::yield_now();
    ///     let listed = std::thread::spawn(move || here.tasklets()).join().unwrap();
    ///     assert_eq!((listed[0].waits_for, listed[1].waits_for), ("running", "sleep"));
    /// });
    /// ```
    pub fn tasklets(&self) -> Vec<Status> {
        self.0.board().tasklets()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// A tasklet on its way to its thread: its joiner hears of it when it gets lost.
struct Undelivered<T>(Option<Arc<Packet<T>>>);

impl<T> Drop for Undelivered<T> {
    fn drop(&mut self) {
        if let Some(packet) = self.0.take() {
            packet.finish(Err(JoinError(Ending::Cancelled)));
        }
    }
}

/// Lets the tasklets that are ready run before this one goes on. Outside [`run`], yields the thread.
pub fn yield_now() {
    match try_current() {
        Some(scheduler) => {
            if let Err(interrupted) = scheduler.yield_now() {
                interrupted.raise_here();
            }
        }
        None => std::thread::yield_now(),
    }
}

/// Every tasklet of this thread that has not ended, `run`'s own first: what each waits for, and for how long.
///
/// ```
/// overlapped::run(|| {
///     let idle = overlapped::Builder::new().name("idle").spawn(|| {
///         overlapped::sleep(std::time::Duration::from_secs(60));
///     });
///     overlapped::yield_now();
///     let status = &overlapped::tasklets()[1];
///     assert_eq!((status.name.as_deref(), status.waits_for), (Some("idle"), "sleep"));
///     idle.cancel();
/// });
/// ```
pub fn tasklets() -> Vec<Status> {
    try_current().map(|scheduler| scheduler.tasklets()).unwrap_or_default()
}

/// What this thread's port is, how stacks are guarded, what the port did and what is in flight; `None` outside [`run`].
pub fn report() -> Option<overlapped_port::Report> {
    let mut report = try_current()?.port().borrow().report();
    report.setup.push(format!("stacks: {}", crate::stack::guards()));
    Some(report)
}

/// Every thread that has tasklets in this process, as text: its tasklets with what each waits for, the longest wait
/// first, and what its port has done. From whatever thread and at any time, also while a tasklet holds its thread.
///
/// ```
/// overlapped::run(|| {
///     let text = overlapped::explain();
///     assert!(text.contains("tasklet 0: running"), "{text}");
/// });
/// ```
pub fn explain() -> String {
    boards().iter().map(|board| board.explain(|_| String::new())).collect::<Vec<_>>().join("\n")
}

/// Warns on standard error when a tasklet of this thread has held it for longer than `limit`: which one, and for how
/// long. All others stand still meanwhile, and nothing else would show why. `None` ends that. A tenth of a second is a
/// good limit to begin with; the environment variable `OVERLAPPED_WATCH` sets one for every [`run`], in seconds.
///
/// Unless asked for it is off, for it takes a thread of its own, which wakes four times within the limit. The tasklets
/// pay nothing for it.
///
/// ```
/// use std::time::Duration;
/// overlapped::run(|| {
///     overlapped::watch(Some(Duration::from_millis(100)))?;
///     // … what waits now and then is not complained of …
///     overlapped::watch(None)
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Outside [`run`], and where the system has no thread for it.
pub fn watch(limit: Option<Duration>) -> io::Result<()> {
    let scheduler = current()?;
    match limit {
        Some(limit) => scheduler.watch(limit),
        None => {
            drop(scheduler.unwatch());
            Ok(())
        }
    }
}
