//! Tasklets of the Rust face: spawn, join, cancel.
//!
//! What a tasklet leaves behind (its result where nobody joins it, its function where it was cancelled before it began) is
//! dropped by the tasklet itself, on its own stack, while it still counts as alive: destructors may wait there as anywhere.
//! One that panics there ends the process with a message, as `std::thread` does: nobody is left to be told.

mod error;
mod future;
mod handle;
mod join;

pub use self::error::JoinError;
pub(crate) use self::error::text_of;
pub use self::handle::{Handle, handle};
pub use self::join::Join;
pub(crate) use self::join::Watched;

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::error::Ending;
use overlapped_port::sim::now;

use crate::coroutine::{self, Body, BorrowingBody};
use crate::interrupt::{self, Cause, Telling};
use crate::local;
use crate::scheduler::{Remote, Scheduler, TaskletId, Waiter, pass_on, raise, try_current, wait};
use crate::select::{Branch, Listed};
use crate::spans::{Origin, TaskletSpan};
use crate::sync::Queue;
use crate::ticket::{Claimant, Claims, Ticket};
use crate::time::deadline_after;
use crate::wait_list::{Left, Place, WaitList};

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
/// Outside [`run`](crate::run), and where the system has no room for one more stack: see [`Builder::spawn`].
#[track_caller]
pub fn spawn<T: 'static>(function: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    Builder::new().spawn(function).unwrap_or_else(|error| panic!("overlapped::spawn: {error}"))
}

/// How to start a tasklet: its name, its stack.
///
/// ```
/// overlapped::run(|| {
///     let reader = overlapped::Builder::new().name("reader").stack_size(1 << 20).spawn(|| 1)?;
///     assert_eq!(reader.join().unwrap(), 1);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    name: Option<Cow<'static, str>>,
    stack_size: Option<usize>,
}

impl Builder {
    /// A tasklet without a name, with the stack of [`Config::stack_size`](crate::Config::stack_size).
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
    /// # Errors
    /// Where the system has no room for its stack: `OutOfMemory`, and the message says which limit to look at;
    /// `InvalidInput` for a size that cannot be addressed.
    ///
    /// # Panics
    /// Outside [`run`](crate::run).
    #[track_caller]
    pub fn spawn<T: 'static>(self, function: impl FnOnce() -> T + 'static) -> io::Result<JoinHandle<T>> {
        let scheduler = try_current().expect("overlapped::spawn: call it inside overlapped::run");
        let size = coroutine::reserve(self.stack_size)?;
        let name = self.name.as_deref();
        let span = Origin::here().span("tasklet", || scheduler.next_number(), name, Some(size));
        let id = scheduler.create(name);
        let packet = Packet::new(Some(id));
        start(&scheduler, id, size, span, Arc::clone(&packet), function, |result| result, (), |body| body);
        Ok(JoinHandle { packet, remote: Arc::clone(scheduler.remote()) })
    }

    /// As [`Builder::spawn`]; what `judge` makes of the result is the tasklet's, and `last` is dropped in the tasklet, after
    /// everything else that it leaves behind. What borrows for less than the program's life, `own` has to answer for.
    #[track_caller]
    pub(crate) fn spawn_judged<'a, R: 'a, T: 'a>(
        self,
        function: impl FnOnce() -> R + 'a,
        judge: impl FnOnce(Result<R, JoinError>) -> Result<T, JoinError> + 'a,
        last: impl FnOnce(JoinHandle<T>) -> Box<dyn Any>,
        own: impl FnOnce(BorrowingBody<'a>) -> Body,
    ) -> io::Result<JoinHandle<T>> {
        let scheduler = try_current().expect("overlapped::spawn: call it inside overlapped::run");
        let size = coroutine::reserve(self.stack_size)?;
        let name = self.name.as_deref();
        let span = Origin::here().span("tasklet", || scheduler.next_number(), name, Some(size));
        let id = scheduler.create(name);
        let packet = Packet::new(Some(id));
        let handle = || JoinHandle { packet: Arc::clone(&packet), remote: Arc::clone(scheduler.remote()) };
        let last = last(handle());
        start(&scheduler, id, size, span, Arc::clone(&packet), function, judge, last, own);
        Ok(handle())
    }
}

/// Starts a tasklet that was created, on a stack that was reserved.
#[allow(clippy::too_many_arguments, reason = "the parts of which a tasklet is put together")]
fn start<'a, R: 'a, T: 'a>(
    scheduler: &Rc<Scheduler>,
    id: TaskletId,
    stack_size: usize,
    span: TaskletSpan,
    packet: Arc<Packet<T>>,
    function: impl FnOnce() -> R + 'a,
    judge: impl FnOnce(Result<R, JoinError>) -> Result<T, JoinError> + 'a,
    last: impl Any,
    own: impl FnOnce(BorrowingBody<'a>) -> Body,
) {
    scheduler.set_span(id, span.id());
    let body: BorrowingBody<'a> = Box::new(move |scheduler| {
        let _span = span.entered();
        packet.finish(judge(result_of(scheduler, function)));
        while let Some(values) = local::take(id) {
            leave_behind(scheduler, "the local data", values);
        }
        leave_behind(scheduler, "the result", (packet, last));
    });
    coroutine::insert(id, own(body), stack_size);
}

/// Runs a tasklet's function, unless the tasklet was cancelled before.
fn result_of<T>(scheduler: &Scheduler, function: impl FnOnce() -> T) -> Result<T, JoinError> {
    if scheduler.is_cancelled() {
        leave_behind(scheduler, "the function, which never began,", function);
        return Err(JoinError(Ending::Cancelled));
    }
    catch_unwind(AssertUnwindSafe(|| __rust_begin_short_backtrace(function))).map_err(|payload| {
        match interrupt::level_of(&*payload) {
            Some(_) => JoinError(Ending::Cancelled),
            None => JoinError(Ending::Panicked { payload: Mutex::new(payload), was_told: scheduler.was_told_to_end() }),
        }
    })
}

/// Calls a function. What a panic prints ends at the frame of this name (the standard library's `sys/backtrace.rs` looks for
/// it), unless it is asked for in full: below are the tasklet's beginning, the loop, and the wait of the thread's own
/// tasklet in which that runs; none of them has asked for what panicked.
#[inline(never)]
fn __rust_begin_short_backtrace<T>(function: impl FnOnce() -> T) -> T {
    let result = function();
    // Not a tail call, for which this would have no frame.
    std::hint::black_box(());
    result
}

/// Drops what a tasklet leaves behind, at its end: there its waits are not told to leave until the cleanup limit, and then
/// by their results alone.
fn leave_behind<T>(scheduler: &Scheduler, what: &str, left: T) {
    scheduler.end();
    if catch_unwind(AssertUnwindSafe(|| drop(left))).is_err() {
        let id = scheduler.current_tasklet();
        let title = scheduler.name(id).map_or_else(|| id.number().to_string(), |name| format!("{name:?}"));
        eprintln!(
            "overlapped: {what} of tasklet {title} panicked when it was dropped, and nobody can be told: aborting"
        );
        std::process::abort();
    }
}

/// What a tasklet and its joiner share.
struct Packet<T> {
    state: Mutex<Shared<T>>,
}

struct Shared<T> {
    id: Option<TaskletId>,
    result: Option<Result<T, JoinError>>,
    finished: bool,
    /// A join takes the handle: there is one.
    joiner: Option<Waiter>,
    rare: Option<Box<Rare>>,
}

/// What few tasklets have.
#[derive(Default)]
struct Rare {
    cancelled: Option<Instant>,
    watchers: WaitList<Watcher>,
}

/// One that looks at a tasklet's end, of any number.
enum Watcher {
    /// It waits for this and other things.
    Waits(Claimant),
    /// It is told this number.
    Collects(Queue<usize>, usize),
}

impl Claims for Watcher {
    fn claim(&self) -> bool {
        match self {
            Watcher::Waits(claimant) => claimant.claim(),
            Watcher::Collects(..) => true,
        }
    }

    fn waits_beside(&self, ticket: &Ticket) -> bool {
        match self {
            Watcher::Waits(claimant) => claimant.waits_beside(ticket),
            Watcher::Collects(..) => true,
        }
    }
}

impl Watcher {
    fn tell(self) {
        match self {
            Watcher::Waits(claimant) => claimant.waiter.wake(),
            Watcher::Collects(ended, number) => ended.try_put(number).unwrap_or_else(|_| unreachable!("it has room")),
        }
    }
}

impl<T> Shared<T> {
    fn cancelled(&self) -> Option<Instant> {
        self.rare.as_ref()?.cancelled
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

impl<T> Packet<T> {
    /// Of a tasklet that is to be created on another thread, it is not known yet which.
    fn new(id: Option<TaskletId>) -> Arc<Packet<T>> {
        let state = Shared { id, result: None, finished: false, joiner: None, rare: None };
        Arc::new(Packet { state: Mutex::new(state) })
    }

    /// It is this one's, which is cancelled if it was to be meanwhile.
    fn is_of(&self, id: TaskletId, scheduler: &Scheduler) {
        let mut state = self.state();
        state.id = Some(id);
        if state.cancelled().is_some() {
            scheduler.interrupt(id, Cause::Cancel);
        }
    }

    fn state(&self) -> MutexGuard<'_, Shared<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, result: Result<T, JoinError>) {
        let mut state = self.state();
        state.result = Some(result);
        state.finished = true;
        let joiner = state.joiner.take();
        let watchers = state.rare.as_mut().map_or_else(Vec::new, |rare| rare.watchers.serve_all(|| ()));
        drop(state);
        watchers.into_iter().for_each(Watcher::tell);
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
    /// [`JoinError`] where the tasklet panicked or was cancelled; where it does not end when it was
    /// ([`JoinError::is_overdue`]); where the calling tasklet itself is told to leave
    /// ([`JoinError::is_interrupted`]), and the other then goes on alone.
    pub fn join(self) -> Result<T, JoinError> {
        self.join_until(None).unwrap_or_else(|_| unreachable!("there was no deadline"))
    }

    /// As [`JoinHandle::join`], but waits no longer than `duration`.
    ///
    /// ```
    /// use std::time::Duration;
    /// overlapped::run(|| {
    ///     let slow = overlapped::spawn(|| overlapped::sleep(Duration::from_secs(60)));
    ///     let slow = slow.join_timeout(Duration::from_millis(5)).unwrap_err();
    ///     slow.cancel();
    ///     assert!(slow.join().unwrap_err().is_cancelled());
    /// });
    /// ```
    ///
    /// # Errors
    /// The handle, where the tasklet has not ended by then.
    pub fn join_timeout(self, duration: Duration) -> Result<Result<T, JoinError>, JoinHandle<T>> {
        self.join_until(Some(deadline_after(duration)))
    }

    fn join_until(self, deadline: Option<Instant>) -> Result<Result<T, JoinError>, JoinHandle<T>> {
        loop {
            let until = {
                let mut state = self.packet.state();
                if let Some(result) = state.result.take() {
                    return Ok(result);
                }
                let now = now();
                let given_up = state.cancelled().and_then(|since| self.remote.given_up(since));
                if given_up.is_some_and(|given_up| now >= given_up) {
                    state.joiner = None;
                    return Ok(Err(JoinError(Ending::Overdue)));
                }
                if deadline.is_some_and(|deadline| now >= deadline) {
                    state.joiner = None;
                    drop(state);
                    return Err(self);
                }
                state.joiner = Some(Waiter::current());
                given_up.into_iter().chain(deadline).min()
            };
            if let Err(interrupted) = wait(Telling::Error, until, "join") {
                let result = {
                    let mut state = self.packet.state();
                    state.joiner = None;
                    state.result.take()
                };
                if let Some(result) = result {
                    return Ok(result);
                }
                pass_on(&interrupted);
                return Ok(Err(JoinError(Ending::Interrupted(interrupted))));
            }
        }
    }

    /// Ends the tasklet early: what it waits for is cancelled, and from now on its waits say so, by an error or by
    /// unwinding its stack ([the whole story](crate#leaving-early)). A tasklet that has not begun never does; one that
    /// never waits is not disturbed. A second cancel changes nothing. Works from any thread.
    pub fn cancel(&self) {
        let (id, joiner) = {
            let mut state = self.packet.state();
            state.rare().cancelled.get_or_insert_with(now);
            if state.finished {
                return;
            }
            (state.id, state.joiner.clone())
        };
        // It does not wait for ever from now on.
        if let Some(joiner) = joiner {
            joiner.wake();
        }
        if let Some(id) = id {
            Waiter::of(&self.remote, id).interrupt(Cause::Cancel);
        }
    }

    /// Whom to interrupt, once it was started.
    pub(crate) fn waiter(&self) -> Option<Waiter> {
        self.packet.state().id.map(|id| Waiter::of(&self.remote, id))
    }

    /// Waits until the tasklet has ended, whatever the caller is told meanwhile.
    pub(crate) fn await_end(&self) {
        while !self.is_finished() {
            self.packet.state().joiner = Some(Waiter::current());
            if let (false, Some(scheduler)) = (self.is_finished(), try_current()) {
                scheduler.park_until(None, "a shielded tasklet");
            }
        }
    }

    /// The wait for its end, as one of several: see [`first_of`](crate::first_of). The result stays with the handle.
    ///
    /// ```
    /// use overlapped::{Event, first_of, spawn};
    /// overlapped::run(|| {
    ///     let (worker, stop) = (spawn(|| 42), Event::new());
    ///     assert_eq!(first_of(&mut [&mut stop.waiting(), &mut worker.finishing()])?, 1);
    ///     assert_eq!(worker.join().unwrap(), 42);
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn finishing(&self) -> Finishing<'_, T> {
        Finishing { tasklet: self, place: None }
    }

    /// Whether the tasklet has ended.
    pub fn is_finished(&self) -> bool {
        self.packet.state().finished
    }
}

impl<T> Watched for JoinHandle<T> {
    fn watch(&self, ended: &Queue<usize>, number: usize) -> Place {
        let watcher = Watcher::Collects(ended.clone(), number);
        let mut state = self.packet.state();
        let place = state.rare().watchers.push(watcher);
        let due = if state.finished { state.rare().watchers.serve(()).ok() } else { None };
        drop(state);
        if let Some(watcher) = due {
            watcher.tell();
        }
        place
    }

    fn unwatch(&self, place: Place) {
        let watcher = self.packet.state().rare().watchers.leave(place);
        drop(watcher);
    }
}

/// A wait for the end of a tasklet, as one of several.
#[derive(Debug)]
pub struct Finishing<'a, T> {
    tasklet: &'a JoinHandle<T>,
    place: Option<Place>,
}

impl<T> Branch for Finishing<'_, T> {
    type Output = ();

    fn output(&mut self) {}
}

impl<T> Listed for Finishing<'_, T> {
    fn take_now(&mut self) -> bool {
        self.tasklet.is_finished()
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let mut state = self.tasklet.packet.state();
        if !state.finished {
            self.place = Some(state.rare().watchers.push(Watcher::Waits(Claimant::with(ticket))));
        }
        !state.finished
    }

    fn leave(&mut self) -> bool {
        let left = self.place.take().map(|place| self.tasklet.packet.state().rare().watchers.leave(place));
        matches!(left, Some(Left::Served(())))
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

/// Lets the tasklets that are ready run before this one goes on. Outside [`run`](crate::run), yields the thread.
pub fn yield_now() {
    match try_current() {
        Some(scheduler) => {
            if let Err(interrupted) = scheduler.yield_now() {
                raise(interrupted);
            }
        }
        None => std::thread::yield_now(),
    }
}
