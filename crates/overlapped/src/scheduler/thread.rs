//! The scheduler of one thread: what it is made of and what it keeps, how it begins and ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use overlapped_port::sim::now;
use overlapped_port::sys::{RawFile, RawSocket};
use overlapped_port::{Completion, OpId, Outcome, Port, Report};
use slab::Slab;

use super::board::{Board, Status};
use super::id::TaskletId;
use super::kept::Kept;
use super::ready::Ready;
use super::remote::Remote;
use super::table::Table;
use super::wait::Wait;
use super::watch::{self, Listener, Onlooker, Watch};
use crate::interrupt::Cause;
use crate::spans::{self, SpanId};

/// How long a scheduler that leaves tasklets behind waits for the kernel to let go of what they have in flight.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// How the thread goes from one tasklet to another.
///
/// # Safety
/// A stack that [`Switcher::park`] has left is gone back to by the return of that call and in no other way: it is not
/// freed, not unwound from outside, not gone on with on another thread. Operations in flight own memory on it.
#[allow(unsafe_code, reason = "memory depends on it")]
pub unsafe trait Switcher {
    /// Gives the thread away until the current tasklet, `me`, is the one that [`Scheduler::next`] names.
    fn park(&self, scheduler: &Rc<Scheduler>, me: TaskletId);

    /// Whether a tasklet is told to leave by unwinding its stack where there is no result; else only by results.
    fn unwinds(&self) -> bool;

    /// Whether the current tasklet, which was told of this level, cleans up because of it: then it may wait, until the cleanup
    /// limit has passed.
    fn cleans_up(&self, _level: Cause) -> bool {
        std::thread::panicking()
    }

    /// How long cleanup may take; where this does not say, the configuration does.
    fn cleanup(&self) -> Option<Duration> {
        None
    }

    /// What the thread is called; where this does not say, it is the name that Rust knows.
    fn thread(&self) -> Option<String> {
        None
    }

    /// What shows where the tasklet is that holds the thread, where a warning of [`Scheduler::watch`] can tell.
    fn onlooker(&self) -> Option<Onlooker> {
        None
    }
}

/// Called when a timer is due; it must not wait.
pub(super) type Callback = Box<dyn FnOnce(&Scheduler)>;

/// An operation in flight that nobody waits for.
pub(super) struct Flight {
    pub(super) id: Option<OpId>,
    pub(super) called: Called,
}

type Once = Box<dyn FnOnce(&Scheduler, io::Result<Outcome>)>;
type Each = Box<dyn FnMut(&Scheduler, io::Result<Outcome>, bool)>;

/// What is called.
pub(super) enum Called {
    /// At the end.
    Once(Once),
    /// At each result; whether more come.
    Each(Each),
    /// It is running.
    Running,
}

/// The scheduler of one thread.
pub struct Scheduler {
    /// Borrowed for the length of one of its own methods, never while anything of a user's runs.
    pub(super) port: RefCell<Port>,
    pub(super) table: RefCell<Table>,
    pub(super) ready: RefCell<Ready>,
    pub(super) current: Cell<TaskletId>,
    pub(super) waits: RefCell<Slab<Wait>>,
    pub(super) callbacks: RefCell<Slab<Callback>>,
    /// Operations that call back.
    pub(super) flights: RefCell<Slab<Flight>>,
    /// Those of them that have ended at once, with what they came to: to be told on the loop's turn.
    pub(super) landed: RefCell<VecDeque<(usize, io::Result<Outcome>)>>,
    /// What is told of the end of the run.
    pub(super) kept: RefCell<Slab<Rc<dyn Kept>>>,
    pub(super) completions: RefCell<Vec<Completion>>,
    /// Switches, or what takes as long, since the port was last polled.
    pub(super) switches: Cell<u32>,
    /// The port was polled since [`Scheduler::has_polled`] was last asked.
    pub(super) polled: Cell<bool>,
    /// Results without a wait since the current tasklet was last gone to.
    pub(super) immediate: Cell<u32>,
    /// What runs is no tasklet's: it must not wait.
    pub(super) between: Cell<bool>,
    /// Tasklets are being cancelled for good: those that still come are too.
    closing: Cell<bool>,
    pub(super) scopes: Cell<u64>,
    pub(super) remote: Arc<Remote>,
    pub(super) board: Arc<Board>,
    watch: RefCell<Option<Watch>>,
    pub(super) switcher: Box<dyn Switcher>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Scheduler>>> = const { RefCell::new(None) };
}

/// The scheduler of this thread.
///
/// # Errors
/// Where none runs here.
pub fn current() -> io::Result<Rc<Scheduler>> {
    try_current().ok_or_else(|| {
        io::Error::other("no scheduler runs on this thread: call this inside overlapped::run, or in a tasklet")
    })
}

pub(crate) fn try_current() -> Option<Rc<Scheduler>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Looks at the scheduler of this thread, if one runs here; `look` does not wait.
#[inline]
pub(super) fn with_current<R>(look: impl FnOnce(&Scheduler) -> R) -> Option<R> {
    CURRENT.try_with(|current| current.borrow().as_deref().map(look)).ok().flatten()
}

impl Scheduler {
    /// Makes `port` and `switcher` the scheduler of this thread, until [`Scheduler::leave`]. The thread itself becomes
    /// the tasklet [`TaskletId::ROOT`].
    ///
    /// # Errors
    /// Where one runs here already.
    pub fn enter(port: Port, switcher: Box<dyn Switcher>) -> io::Result<Rc<Scheduler>> {
        let board = Board::new(port.observer(), switcher.thread());
        let remote = Remote::new(port.waker(), Arc::clone(&board));
        let scheduler = Rc::new(Scheduler {
            port: RefCell::new(port),
            table: RefCell::new(Table::new(&board)),
            ready: RefCell::new(Ready::new()),
            current: Cell::new(TaskletId::ROOT),
            waits: RefCell::default(),
            callbacks: RefCell::default(),
            flights: RefCell::default(),
            landed: RefCell::default(),
            kept: RefCell::default(),
            completions: RefCell::default(),
            switches: Cell::new(0),
            polled: Cell::new(false),
            immediate: Cell::new(0),
            between: Cell::new(false),
            closing: Cell::new(false),
            scopes: Cell::new(0),
            remote: Arc::new(remote),
            board,
            watch: RefCell::new(None),
            switcher,
        });
        if let Some(limit) = watch::limit_from_environment() {
            scheduler.watch(limit)?;
        }
        CURRENT.with(|current| {
            let mut current = current.borrow_mut();
            if current.is_some() {
                return Err(io::Error::other("a scheduler runs on this thread already: overlapped::run is not nested"));
            }
            *current = Some(Rc::clone(&scheduler));
            Ok(())
        })?;
        Ok(scheduler)
    }

    /// Warns on standard error when a tasklet has held the thread for longer than `limit`.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub fn watch(&self, limit: Duration) -> io::Result<()> {
        self.watch_with(limit, watch::warner(self.switcher.onlooker()))
    }

    /// As [`Scheduler::watch`]; `None` ends it.
    pub(crate) fn watch_or_not(&self, limit: Option<Duration>) -> io::Result<()> {
        match limit {
            Some(limit) => self.watch(limit),
            None => {
                drop(self.unwatch());
                Ok(())
            }
        }
    }

    /// Has `listener` told when a tasklet has held the thread for longer than `limit`.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub fn watch_with(&self, limit: Duration, listener: Listener) -> io::Result<()> {
        let watch = Watch::start(Arc::clone(&self.board), limit, listener)?;
        drop(self.watch.replace(Some(watch)));
        Ok(())
    }

    /// Whether it is watched.
    pub fn is_watched(&self) -> bool {
        self.watch.borrow().is_some()
    }

    /// Ends what [`Scheduler::watch`] began. The watching thread ends soon; whoever has to know when, joins it, holding
    /// nothing that an [`Onlooker`] waits for.
    pub fn unwatch(&self) -> Option<JoinHandle<()>> {
        self.watch.take().map(Watch::stop)
    }

    /// What this scheduler shows to other threads.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Every tasklet that has not ended, the thread itself first.
    pub fn tasklets(&self) -> Vec<Status> {
        self.board.tasklets()
    }

    /// The tasklet that runs.
    pub fn current_tasklet(&self) -> TaskletId {
        self.current.get()
    }

    /// The tasklets that have not ended, but for the thread itself.
    pub fn ids(&self) -> Vec<TaskletId> {
        self.table.borrow().ids()
    }

    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// How many tasklets have not ended, beside the thread itself.
    pub fn alive(&self) -> usize {
        self.board.alive() + self.table.borrow().given()
    }

    /// Adds a tasklet, ready to run after those that are ready already.
    pub fn create(&self, name: Option<&str>) -> TaskletId {
        self.add(name, false)
    }

    /// As [`Scheduler::create`], of one that was [`Given`](super::Given), and counts by that.
    pub(crate) fn create_given(&self, name: Option<&str>) -> TaskletId {
        self.add(name, true)
    }

    fn add(&self, name: Option<&str>, given: bool) -> TaskletId {
        let id = self.table.borrow_mut().create(name, given, &self.board);
        if self.closing.get() {
            self.table.borrow_mut().running(id).leaving().cancel(now());
        }
        self.ready.borrow_mut().push_back(id);
        id
    }

    /// The number of the tasklet that is created next.
    pub(crate) fn next_number(&self) -> u64 {
        self.table.borrow().next_number().into()
    }

    /// Has those who trace told of the tasklet's wake-ups, by the name of its span.
    pub(crate) fn set_span(&self, id: TaskletId, span: SpanId) {
        if spans::in_use()
            && let Some(entry) = self.table.borrow_mut().get_mut(id)
        {
            entry.span = span;
        }
    }

    /// Removes a tasklet that has run to its end.
    ///
    /// # Safety
    /// Its stack is not gone back to: nothing of it is in flight.
    #[allow(unsafe_code, reason = "the caller makes the promise")]
    pub unsafe fn retire(&self, id: TaskletId) {
        self.remove(id);
    }

    /// Takes back a tasklet that [`Scheduler::create`] has just made.
    ///
    /// # Safety
    /// As for [`Scheduler::retire`]: it has not begun.
    #[allow(unsafe_code, reason = "the caller makes the promise")]
    pub unsafe fn discard(&self, id: TaskletId) {
        self.ready.borrow_mut().remove(id);
        self.remove(id);
    }

    pub(crate) fn remove(&self, id: TaskletId) {
        self.table.borrow_mut().retire(id, &self.board);
        if self.alive() == 0 {
            self.wake(TaskletId::ROOT);
        }
    }

    /// Whether the tasklet has not ended.
    pub fn is_alive(&self, id: TaskletId) -> bool {
        self.table.borrow().get(id).is_some()
    }

    /// The name that the tasklet was given.
    #[inline]
    pub fn name(&self, id: TaskletId) -> Option<Arc<str>> {
        self.table.borrow().get(id).and_then(|entry| entry.name())
    }

    /// Gives the tasklet another name.
    pub fn rename(&self, id: TaskletId, name: &str) {
        if let Some(entry) = self.table.borrow_mut().get_mut(id) {
            entry.rename(name);
        }
    }

    /// What a parked tasklet waits for.
    pub fn waits_for(&self, id: TaskletId) -> &'static str {
        self.table.borrow().get(id).map_or("", |entry| entry.row.waits_for())
    }

    /// What the thread's port is, what it did and what is in flight.
    pub fn report(&self) -> Report {
        self.port.borrow().report()
    }

    /// How many operations are in flight.
    pub fn in_flight(&self) -> usize {
        self.port.borrow().in_flight()
    }

    /// Asks for the end of every operation on a socket: see [`Port::cancel_socket`].
    pub fn cancel_socket(&self, socket: RawSocket) -> usize {
        self.port.borrow_mut().cancel_socket(socket)
    }

    /// Asks for the end of every operation on a file: see [`Port::cancel_file`].
    pub fn cancel_file(&self, file: RawFile) -> usize {
        self.port.borrow_mut().cancel_file(file)
    }

    /// How many operations are in flight on a socket.
    pub fn in_flight_on_socket(&self, socket: RawSocket) -> usize {
        self.port.borrow().in_flight_on_socket(socket)
    }

    /// How many operations are in flight on a file.
    pub fn in_flight_on_file(&self, file: RawFile) -> usize {
        self.port.borrow().in_flight_on_file(file)
    }

    /// Sets how long cleanup may take, once a tasklet was told to leave.
    pub(crate) fn limit_cleanup(&self, limit: Duration) {
        self.remote.limit_cleanup(limit);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Cancels the tasklets that there are but the thread itself, and waits until they have ended, as long as cleanup may
    /// take. How many are left.
    #[cfg(unix)]
    pub(crate) fn end_others(self: &Rc<Self>) -> usize {
        let since = now();
        let last = self.remote.given_up(since);
        while self.alive() > 0 && last.is_none_or(|last| now() < last) {
            self.ids().into_iter().for_each(|id| self.cancel_since(id, since));
            self.park_until(last, "the tasklets to end");
        }
        self.alive()
    }

    /// Cancels all tasklets but the thread itself, those that they or other threads still start, and what calls back; waits
    /// until all have ended, or until what they clean up is overdue. Returns those that are left then.
    pub(crate) fn cancel_all(self: &Rc<Self>) -> Vec<Status> {
        self.closing.set(true);
        let ids = self.ids();
        let since = now();
        for id in ids {
            self.cancel_since(id, since);
        }
        let last = self.remote.given_up(since);
        while self.alive() + self.flights() + self.kept() > 0 && last.is_none_or(|last| now() < last) {
            self.end_kept();
            self.cancel_flights();
            self.park_until(last, "the tasklets to end");
        }
        if self.alive() == 0 {
            return Vec::new();
        }
        self.tasklets().split_off(1)
    }

    /// Ends what [`Scheduler::enter`] began; the port shuts down when the last reference is gone.
    pub fn leave(&self) {
        self.watch.take();
        let _ = CURRENT.try_with(|current| current.borrow_mut().take());
        // What was not called any more is dropped outside of the lock, for its destructors may look here again.
        let uncalled = self.remote.calls().take();
        drop(uncalled);
    }

    /// As [`Scheduler::leave`], with tasklets that have not ended: their stacks stay as they are, for ever, and so does
    /// what knows of them.
    pub(crate) fn leave_behind(self: Rc<Self>) {
        if let Err(error) = self.shutdown(LAST_PATIENCE) {
            eprintln!("overlapped: the port of a run that has ended had to be leaked: {error}");
        }
        std::mem::forget(self);
    }

    /// Leaves the port to the parent process, in the child after fork(2): see [`Port::abandon_after_fork`].
    ///
    /// # Safety
    /// This is such a child, and no tasklet but the one that calls is ever gone back to.
    #[allow(unsafe_code, reason = "the caller makes the promise")]
    pub unsafe fn abandon_after_fork(&self) {
        // The watching thread does not exist here, and may have held a lock when the process was copied.
        std::mem::forget(self.watch.take());
        self.leave();
        self.port.borrow_mut().abandon_after_fork();
    }

    /// Ends the scheduler of a thread that ends, whatever its tasklets wait for: they are not run again.
    ///
    /// # Errors
    /// As for [`Port::shutdown`].
    pub fn shutdown(&self, patience: Duration) -> io::Result<()> {
        self.leave();
        self.port.borrow_mut().shutdown(patience)
    }
}
