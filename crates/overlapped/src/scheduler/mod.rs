//! The loop of one thread: ready tasklets, timers, then the port.
//!
//! A *tasklet* here is an entry in a table and a place in a queue; how the thread is switched from one to another is the
//! business of a [`Switcher`]: stackful coroutines for the Rust face, greenlets for the Python face. Both park here, and
//! both are woken through the same completions: who waits is a token, not a type.
//!
//! **Parking and waking** work like `std::thread::park`: [`park`] returns after a [`Waiter::wake`], of which one that
//! came first is remembered. A wake-up may be for something else, so whoever parks looks at its condition again.
//!
//! **Interrupts** are how a tasklet leaves early (cancel, time-out, a thrown exception). An interrupt is left on the
//! tasklet and wakes it; the next or current [`park`] returns [`Interrupted`]. The code that was waiting then takes its
//! wait back — an operation is cancelled and *its completion awaited* — and only then raises: by unwinding in a Rust
//! tasklet, by an error in a foreign one. A wait that was satisfied after all returns its result, and the interrupt
//! stays for the next one: nothing that was moved is lost.
//!
//! **While a panic unwinds**, destructors may still do I/O, but no other tasklet runs meanwhile: Rust counts panics by
//! thread, and another tasklet would think that it panics. So such a park polls the port alone, and one that would wait
//! for another tasklet is refused.

mod board;
mod operation;
mod token;
mod waiter;
mod watch;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use overlapped_port::{Completion, Port, TimerId};
use slab::Slab;

pub(crate) use self::board::boards;
pub use self::board::{Board, Status};
use self::board::{Row, State};
use self::operation::Wait;
use self::token::{INDEX_BITS, Token};
pub(crate) use self::waiter::Remote;
pub use self::waiter::{Waiter, park};
use self::watch::Watch;
pub use self::watch::{Onlooker, StillHeld};
use crate::interrupt::{Cause, Interrupted};

/// After so many switches the port is polled even though tasklets are ready.
const SWITCHES_A_TURN: u32 = 64;
/// After so many results that were there at once, a tasklet lets others run.
const IMMEDIATE_IN_A_ROW: u32 = 32;
/// A result of so many bytes counts as one more: they took the time.
const LARGE: usize = 64 << 10;

/// Names a tasklet of one thread's scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskletId {
    index: u32,
    generation: u32,
}

impl TaskletId {
    /// The tasklet that is the thread itself.
    pub const ROOT: TaskletId = TaskletId { index: 0, generation: 0 };

    /// The tasklet's place in a table: small, and used again after the tasklet has ended.
    pub fn index(self) -> usize {
        self.index as usize
    }

    fn of_number(number: u64) -> TaskletId {
        let index = number & ((1 << INDEX_BITS) - 1);
        TaskletId { index: index as u32, generation: (number >> INDEX_BITS) as u32 }
    }

    /// A number for the tasklet that no other of this thread has had in a long while.
    pub fn number(self) -> u64 {
        u64::from(self.generation) << INDEX_BITS | u64::from(self.index)
    }
}

/// How the thread goes from one tasklet to another.
pub trait Switcher {
    /// Gives the thread away until the current tasklet, `me`, is the one that [`Scheduler::next`] names.
    fn park(&self, scheduler: &Rc<Scheduler>, me: TaskletId);

    /// Whether an interrupt is raised by unwinding the stack; else by an error that the caller passes on.
    fn unwinds(&self) -> bool;

    /// What the thread is called; where this does not say, it is the name that Rust knows.
    fn thread(&self) -> Option<String> {
        None
    }

    /// What shows where the tasklet is that holds the thread, where a warning of [`Scheduler::watch`] can tell.
    fn onlooker(&self) -> Option<Onlooker> {
        None
    }
}

/// What the scheduler knows of a tasklet, beside what its row tells to other threads too.
struct Entry {
    generation: u32,
    alive: bool,
    /// Woken while it was not parked.
    notified: bool,
    /// Its row has a name.
    named: bool,
    interrupts: Vec<Cause>,
    row: Arc<Row>,
}

/// Called when a timer is due; it must not wait.
type Callback = Box<dyn FnOnce(&Scheduler)>;

/// The scheduler of one thread.
pub struct Scheduler {
    port: RefCell<Port>,
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<u32>>,
    ready: RefCell<VecDeque<TaskletId>>,
    current: Cell<TaskletId>,
    waits: RefCell<Slab<Wait>>,
    callbacks: RefCell<Slab<Callback>>,
    completions: RefCell<Vec<Completion>>,
    switches: Cell<u32>,
    immediate: Cell<u32>,
    alive: Cell<usize>,
    /// Tasklets are being cancelled for good: those that still come are too.
    closing: Cell<bool>,
    remote: Arc<Remote>,
    board: Arc<Board>,
    watch: RefCell<Option<Watch>>,
    switcher: Box<dyn Switcher>,
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

impl Scheduler {
    /// Makes `port` and `switcher` the scheduler of this thread, until [`Scheduler::leave`]. The thread itself becomes
    /// the tasklet [`TaskletId::ROOT`].
    ///
    /// # Errors
    /// Where one runs here already.
    pub fn enter(port: Port, switcher: Box<dyn Switcher>) -> io::Result<Rc<Scheduler>> {
        let board = Board::new(port.observer(), switcher.thread());
        let remote = Remote::new(port.waker(), Arc::clone(&board));
        let root = Entry { alive: true, ..Entry::new(0, board.add()) };
        root.row.set_state(State::Ready);
        let scheduler = Rc::new(Scheduler {
            port: RefCell::new(port),
            entries: RefCell::new(vec![root]),
            free: RefCell::default(),
            ready: RefCell::default(),
            current: Cell::new(TaskletId::ROOT),
            waits: RefCell::default(),
            callbacks: RefCell::default(),
            completions: RefCell::default(),
            switches: Cell::new(0),
            immediate: Cell::new(0),
            alive: Cell::new(0),
            closing: Cell::new(false),
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
        let watch = Watch::start(Arc::clone(&self.board), limit, self.switcher.onlooker())?;
        drop(self.watch.replace(Some(watch)));
        Ok(())
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

    /// Ends what [`Scheduler::enter`] began; the port shuts down when the last reference is gone.
    pub fn leave(&self) {
        // What was not called any more is dropped outside of the lock, for its destructors may look here again.
        let uncalled = self.remote.calls().take();
        drop(uncalled);
        self.watch.take();
        let _ = CURRENT.try_with(|current| current.borrow_mut().take());
    }

    /// The tasklet that runs.
    pub fn current_tasklet(&self) -> TaskletId {
        self.current.get()
    }

    /// The thread's completion port.
    pub fn port(&self) -> &RefCell<Port> {
        &self.port
    }

    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// How many tasklets have not ended, beside the thread itself.
    pub fn alive(&self) -> usize {
        self.alive.get()
    }

    /// Adds a tasklet, ready to run after those that are ready already.
    pub fn create(&self, name: Option<&str>) -> TaskletId {
        let mut entries = self.entries.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            entries.push(Entry::new(0, self.board.add()));
            u32::try_from(entries.len() - 1).expect("fewer than 2^29 tasklets")
        });
        let entry = &mut entries[index as usize];
        let id = TaskletId { index, generation: entry.generation };
        entry.alive = true;
        if let Some(name) = name {
            entry.rename(name);
        }
        entry.row.begin(id, self.board.now());
        if self.closing.get() {
            entry.interrupts.push(Cause::Cancel);
        }
        drop(entries);
        self.ready.borrow_mut().push_back(id);
        self.alive.set(self.alive.get() + 1);
        id
    }

    /// Removes a tasklet that has run to its end.
    pub fn retire(&self, id: TaskletId) {
        let mut entries = self.entries.borrow_mut();
        let entry = &mut entries[id.index()];
        entry.generation = id.generation.wrapping_add(1).max(1);
        (entry.alive, entry.notified) = (false, false);
        entry.row.set_state(State::Ended);
        entry.interrupts.clear();
        if std::mem::take(&mut entry.named) {
            entry.row.rename(None);
        }
        drop(entries);
        self.free.borrow_mut().push(id.index);
        self.alive.set(self.alive.get() - 1);
        if self.alive.get() == 0 {
            self.wake(TaskletId::ROOT);
        }
    }

    /// Whether the tasklet has not ended.
    pub fn is_alive(&self, id: TaskletId) -> bool {
        self.entries.borrow().get(id.index()).is_some_and(|entry| entry.alive && entry.generation == id.generation)
    }

    /// The name that the tasklet was given.
    pub fn name(&self, id: TaskletId) -> Option<Arc<str>> {
        let entries = self.entries.borrow();
        let entry = entries.get(id.index()).filter(|entry| entry.named && entry.generation == id.generation);
        entry.and_then(|entry| entry.row.name())
    }

    /// Gives the tasklet another name.
    pub fn rename(&self, id: TaskletId, name: &str) {
        if self.is_alive(id) {
            self.entries.borrow_mut()[id.index()].rename(name);
        }
    }

    /// Takes the next ready tasklet and makes it the current one. After some switches the port is polled first, so
    /// that completions do not wait for tasklets that never do.
    ///
    /// # Errors
    /// Where the port fails as a whole.
    pub fn next(&self) -> io::Result<Option<TaskletId>> {
        if self.switches.get() >= SWITCHES_A_TURN {
            self.turn(Some(Duration::ZERO))?;
        }
        let Some(id) = self.ready.borrow_mut().pop_front() else { return Ok(None) };
        self.switches.set(self.switches.get() + 1);
        self.immediate.set(0);
        self.current.set(id);
        self.board.run(id.index);
        Ok(Some(id))
    }

    /// One turn of the loop: submits, waits at most `timeout` for completions (`None`: without end), and makes ready
    /// whoever waits for one.
    ///
    /// # Errors
    /// Where the port fails as a whole.
    #[inline(never)]
    pub fn turn(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.switches.set(0);
        if timeout.is_none() {
            self.board.rest();
        }
        let mut completions = self.completions.take();
        let polled = self.port.borrow_mut().poll(timeout, &mut completions);
        self.board.turned();
        for completion in completions.drain(..) {
            self.dispatch(completion);
        }
        self.completions.replace(completions);
        polled.map(drop)
    }

    fn dispatch(&self, completion: Completion) {
        match Token::unpack(completion.token) {
            Token::Operation(slot) => {
                let mut waits = self.waits.borrow_mut();
                let wait = &mut waits[slot as usize];
                if wait.abandoned {
                    waits.remove(slot as usize);
                    return;
                }
                wait.result = Some(completion.result);
                let tasklet = wait.tasklet;
                drop(waits);
                self.wake(tasklet);
            }
            Token::Deadline(slot) => {
                let mut waits = self.waits.borrow_mut();
                let wait = &mut waits[slot as usize];
                wait.expired = true;
                let tasklet = wait.tasklet;
                drop(waits);
                self.wake(tasklet);
            }
            Token::Wake(id) => self.wake(id),
            Token::Callback(slot) => {
                let callback = self.callbacks.borrow_mut().remove(slot as usize);
                callback(self);
            }
            Token::Calls => {
                let calls = self.remote.calls().as_mut().map(std::mem::take);
                calls.into_iter().flatten().for_each(|call| call());
            }
        }
    }

    /// Wakes a tasklet of this thread: it runs after those that are ready already.
    pub fn wake(&self, id: TaskletId) {
        if self.unpark(id) {
            self.ready.borrow_mut().push_back(id);
        }
    }

    /// Wakes a tasklet of this thread, to run before all others.
    pub(crate) fn wake_next(&self, id: TaskletId) {
        if self.unpark(id) {
            self.ready.borrow_mut().push_front(id);
        }
    }

    /// Marks a tasklet as woken; true where it now must enter the queue.
    fn unpark(&self, id: TaskletId) -> bool {
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get_mut(id.index()) else { return false };
        if !entry.alive || entry.generation != id.generation {
            return false;
        }
        if entry.row.state() == State::Parked {
            entry.row.set_state(State::Ready);
            return true;
        }
        entry.notified = true;
        false
    }

    /// Leaves `cause` on a tasklet and wakes it: its current or next wait ends early.
    pub fn interrupt(&self, id: TaskletId, cause: Cause) {
        if self.is_alive(id) {
            self.entries.borrow_mut()[id.index()].interrupts.push(cause);
            self.wake(id);
        }
    }

    /// Takes the interrupt that the current tasklet is to raise, a cancel before all others.
    pub fn take_interrupt(&self) -> Option<Cause> {
        let mut entries = self.entries.borrow_mut();
        let interrupts = &mut entries[self.current.get().index()].interrupts;
        if interrupts.is_empty() {
            return None;
        }
        let first = interrupts.iter().position(|cause| *cause == Cause::Cancel).unwrap_or(0);
        Some(interrupts.remove(first))
    }

    /// Takes back an interrupt that was not raised.
    pub fn withdraw(&self, id: TaskletId, cause: Cause) {
        if self.is_alive(id) {
            self.entries.borrow_mut()[id.index()].interrupts.retain(|pending| *pending != cause);
        }
    }

    fn is_interrupted(&self) -> bool {
        !self.entries.borrow()[self.current.get().index()].interrupts.is_empty()
    }

    /// Lets the tasklets that are ready run before this one goes on.
    ///
    /// # Errors
    /// The interrupt that was left on this tasklet.
    pub fn yield_now(self: &Rc<Self>) -> Result<(), Interrupted> {
        let me = self.current.get();
        if !std::thread::panicking() {
            self.ready.borrow_mut().push_back(me);
            self.switcher.park(self, me);
        }
        self.check()
    }

    /// Lets `id` run at once, and this tasklet when those that are ready have run.
    pub(crate) fn yield_to(self: &Rc<Self>, id: TaskletId) -> Result<(), Interrupted> {
        self.wake_next(id);
        self.yield_now()
    }

    /// Waits until this tasklet is woken. `waits_for` is what a listing of the tasklets shows.
    ///
    /// # Errors
    /// The interrupt that was left on this tasklet, also where that was before; or a refusal where the thread
    /// panics: nobody else runs then.
    pub fn park(self: &Rc<Self>, waits_for: &'static str) -> Result<(), Interrupted> {
        self.check()?;
        if std::thread::panicking() {
            return Err(Interrupted(()));
        }
        self.park_masked(waits_for);
        self.check()
    }

    /// The interrupt that was left on this tasklet, if any.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.is_interrupted() { Err(Interrupted(())) } else { Ok(()) }
    }

    /// Waits until this tasklet is woken, whatever the reason.
    fn park_masked(self: &Rc<Self>, waits_for: &'static str) {
        let me = self.current.get();
        {
            let mut entries = self.entries.borrow_mut();
            let entry = &mut entries[me.index()];
            if std::mem::take(&mut entry.notified) {
                return;
            }
            entry.row.park(waits_for, self.board.now());
        }
        if std::thread::panicking() {
            self.wait_alone(me);
        } else {
            self.switcher.park(self, me);
        }
    }

    /// Waits without a switch: a stack that unwinds must not be left.
    #[cold]
    #[inline(never)]
    fn wait_alone(&self, me: TaskletId) {
        while self.entries.borrow()[me.index()].row.state() == State::Parked {
            self.turn(None).expect("the port works");
        }
        self.ready.borrow_mut().retain(|id| *id != me);
        self.board.run(me.index);
    }

    /// Waits like [`Scheduler::park`], but not past `deadline`.
    pub(crate) fn park_until(
        self: &Rc<Self>,
        deadline: Option<Instant>,
        waits_for: &'static str,
    ) -> Result<(), Interrupted> {
        let Some(deadline) = deadline else { return self.park(waits_for) };
        let timer = self.port.borrow_mut().set_timer(deadline, Token::Wake(self.current.get()).pack());
        let parked = self.park(waits_for);
        self.port.borrow_mut().clear_timer(timer);
        parked
    }

    /// Has `callback` called at `deadline`, between two tasklets.
    pub fn call_at(&self, deadline: Instant, callback: impl FnOnce(&Scheduler) + 'static) -> Timer {
        let slot = self.callbacks.borrow_mut().insert(Box::new(callback));
        let id = self.port.borrow_mut().set_timer(deadline, Token::Callback(slot as u32).pack());
        Timer { id, slot }
    }

    /// Takes back a call that is not due yet.
    pub fn clear(&self, timer: Timer) {
        if self.port.borrow_mut().clear_timer(timer.id) {
            drop(self.callbacks.borrow_mut().remove(timer.slot));
        }
    }

    /// Every tasklet that has not ended, the thread itself first.
    pub fn tasklets(&self) -> Vec<Status> {
        self.board.tasklets()
    }

    /// Whether a tasklet is ready to run.
    pub fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// Whether nothing on this thread can ever wake a tasklet: none is ready, nothing is in flight, no timer is set.
    /// Another thread may still.
    pub fn is_deadlocked(&self) -> bool {
        let port = self.port.borrow();
        !self.has_ready() && port.in_flight() == 0 && port.timers() == 0
    }

    /// What a parked tasklet waits for.
    pub fn waits_for(&self, id: TaskletId) -> &'static str {
        self.entries.borrow()[id.index()].row.waits_for()
    }

    /// Somebody to wake a tasklet of this thread by.
    pub fn waiter(&self, id: TaskletId) -> Waiter {
        Waiter::of(&self.remote, id)
    }

    /// Takes back a tasklet that [`Scheduler::create`] has just made.
    pub fn discard(&self, id: TaskletId) {
        self.ready.borrow_mut().retain(|ready| *ready != id);
        self.retire(id);
    }

    /// Leaves the port to the parent process, in the child after fork(2): see [`Port::abandon_after_fork`].
    pub fn abandon_after_fork(&self) {
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

    pub(crate) fn unwinds(&self) -> bool {
        self.switcher.unwinds()
    }

    /// Cancels all tasklets but the thread itself, and those that they or other threads still start; waits until they
    /// have ended.
    pub(crate) fn cancel_all(self: &Rc<Self>) {
        self.closing.set(true);
        let ids: Vec<TaskletId> = {
            let entries = self.entries.borrow();
            let alive = entries.iter().enumerate().skip(1).filter(|(_, entry)| entry.alive);
            alive.map(|(index, entry)| TaskletId { index: index as u32, generation: entry.generation }).collect()
        };
        ids.into_iter().for_each(|id| self.interrupt(id, Cause::Cancel));
        while self.alive.get() > 0 {
            self.park_masked("the tasklets to end");
        }
    }
}

/// Names a call that [`Scheduler::call_at`] has set.
#[derive(Debug)]
pub struct Timer {
    id: TimerId,
    slot: usize,
}

impl Entry {
    fn new(generation: u32, row: Arc<Row>) -> Entry {
        Entry { generation, alive: false, notified: false, named: false, interrupts: Vec::new(), row }
    }

    fn rename(&mut self, name: &str) {
        self.named = true;
        self.row.rename(Some(name.into()));
    }
}
