//! Blocking-style code that does overlapped I/O: `recv`, `send`, `read`, `write`, `wait`, one after the other,
//! thousands of times at once, on one thread with one completion port.
//!
//! # Leaving early
//! A tasklet leaves a wait early when it is cancelled ([`JoinHandle::cancel`], the end of [`run`]), when the time of a
//! [`timeout()`] round the wait is up, or when the block round it is to end, of a [`Group`] or a [`CancellationToken`].
//! What was in flight is over then: cancelled, its completion awaited, what it moved reported.
//!
//! **Where it is told.** At every wait, and only there, again and again until the tasklet has ended, or the time-out's
//! block. Waits that have an [`io::Result`](std::io::Result) return an error: of kind
//! [`TimedOut`](std::io::ErrorKind::TimedOut) for a time-out, one that [`is_cancelled`] knows for a cancel. [`Channel`]s
//! and [`JoinHandle::join`] say `Interrupted`. Waits without a result ([`sleep`], [`yield_now`], [`Event::wait`],
//! [`Semaphore::acquire`]) unwind the stack, without a message; and so does any wait of a tasklet that has ignored some
//! thirty errors. [`catch_unwind`](std::panic::catch_unwind) catches such an unwinding once: the next wait unwinds again.
//! What needs no wait still succeeds, for a while: a last message goes out where the socket has room.
//!
//! **What destructors may do.** While the stack unwinds, everything: read, write, wait for events and other tasklets. Their
//! waits are not told, and the thread's other tasklets run meanwhile. A destructor that runs because its block was left in
//! order (by an error and `?`, say) is code as any other and is told: what needs no wait goes out, and more does inside of
//! [`uncancellable`], which gives to any code what destructors have while the stack unwinds. All this within the cleanup
//! limit ([`Config::cleanup`]): past it, waits with a result are told all the same. A destructor that even then waits for what never comes holds its tasklet for ever,
//! but nobody else: who joins it is told ([`JoinError::is_overdue`]), and [`run`] ends without it.
//!
//! **Locks of the standard library.** A [`Mutex`](std::sync::Mutex) that is held across a wait blocks the whole thread when
//! another tasklet of the thread wants it, and nothing then ends that: hold it between waits only, and use a [`Lock`], or a
//! [`Channel`], across them. A lock is poisoned where a stack unwinds past its guard: by a
//! panic, or by a wait without a result that is told to leave. A wait with a result poisons nothing, and neither does a
//! destructor's wait in one tasklet poison what others hold.
//!
//! A program that is built with `panic = "abort"` cannot unwind: there, [`try_run`] refuses to start.
//!
//! # Several threads
//! [`run`] is one thread with one port. [`Config::schedulers`] has it use more, each with tasklets and a port of its own. What
//! [`spawn`] starts stays on its thread, and need not be [`Send`]. What [`spawn_anywhere`] starts goes to the thread that has
//! the fewest tasklets, and so does each connection that a listener [serves](net::TcpListener::serve); [`Handle::spawn`] names
//! the thread. A tasklet that has begun never changes its thread. Joins, cancels, events, channels and queues work between
//! threads; a [`Group`] and its members, a [`Local`] and the callbacks of [`reactor`] are of one. When `main` has returned, the
//! tasklets of all threads are cancelled, and `run` returns when they have ended.
//!
//! # In Rust and in Python
//! What both have goes by one name and means the same; where not, it is said here, and why at the top of the module. What
//! takes a time in Python as `timeout=`, in seconds, is a method with `_timeout` in its name here, and takes a [`Duration`];
//! what does not wait is `block=False` or `_nowait` there, and `try_` here; what Python tells by an exception is an error
//! here, and a question is `is_closed` for `closed`.
//!
//! | in Rust | in Python | where they differ |
//! |---|---|---|
//! | [`run`] | `run` | here it runs the main tasklet; there one has run always, and it waits for all |
//! | [`spawn`], [`Builder::name`] | `spawn`, `Tasklet.name` | there all keywords are the function's: `spawn(read).name = "reader"` |
//! | [`JoinHandle`], [`Join`] | `Tasklet` | a join takes the handle and gives the result; there each who asks is given it |
//! | [`JoinError`], [`is_cancelled`] | `TaskletExit` | |
//! | [`Handle`], [`handle`] | `current` | |
//! | [`sleep`], [`sleep_until`] | `sleep` | |
//! | [`yield_now`] | `sleep(0)` | |
//! | [`every()`], [`MissedTickBehavior`] | `every` | ticks that are missed are left out there; here that can be chosen |
//! | [`timeout()`], [`timeout_at`], [`Deadline`], [`Elapsed`] | `timeout` | here the block is a closure, there a `with`, and a `TimeoutError` |
//! | [`uncancellable`] | `uncancellable` | the same |
//! | - | `no_preempt` | for threads of patched programs: no tasklet is interrupted here |
//! | [`shield`] | `shield` | |
//! | [`Group`], [`Pool`] | `Group`, `Pool` | one failure is raised here, an `ExceptionGroup` of all there |
//! | [`scope()`], [`Scope`], [`ScopedJoinHandle`] | - | nothing is borrowed there |
//! | [`wait`] | `wait`, `Waited` | here it says how many have ended, and each handle whether it has |
//! | [`as_completed`], [`first_completed`] | `as_completed`, `first_completed` | places here, tasklets there; no time-out of their own here |
//! | [`first_of`] | `first_of` | |
//! | [`select!`] | - | a `match` on the place that `first_of` returns, there |
//! | [`Channel::receiving`], [`Channel::sending`] | the `Channel`, `sending` | branches of `first_of` |
//! | [`Queue::getting`], [`Queue::putting`] | the `Queue`, `putting` | |
//! | [`Event::waiting`], [`Semaphore::acquiring`], [`JoinHandle::finishing`] | the `Event`, `Semaphore`, `Tasklet` | |
//! | [`readable()`], [`writable()`], [`after`] | `readable`, `writable`, `after` | |
//! | [`Channel`], [`SendError`], [`ReceiveError`] | `Channel` | a value that was not sent comes back in the error |
//! | [`Event`] | `Event` | |
//! | [`Semaphore`], [`Permit`] | `Semaphore` | a permit is given back when it is dropped |
//! | [`Lock`] | `Lock` | here with the value that it guards |
//! | [`RLock`] | `RLock` | |
//! | [`Condition`] | `Condition` | of a [`Lock`] alone here; there it makes an `RLock` unless given a lock |
//! | [`Barrier`], [`BrokenBarrierError`] | `Barrier`, `BrokenBarrierError` | no action here |
//! | [`Queue`] | `Queue`, `Empty`, `Full`, `ShutDown` | [`Queue::bounded`] of 0 hands over; there it is never full |
//! | - | `LifoQueue`, `PriorityQueue` | the standard library's, which programs import; `task_done` and `join` too |
//! | [`sync::mpmc`] | - | there a `Queue` is closed by `close` alone |
//! | [`RwLock`], [`OnceCell`], [`Lazy`], [`Notify`] | - | |
//! | [`sync::broadcast`], [`sync::watch`] | - | |
//! | [`CancellationToken`] | - | |
//! | [`Local`] | `local` | |
//! | [`block_on()`] | - | futures are Rust's; Python's coroutines have `overlapped.asyncio` |
//! | [`offload()`], [`spawn_blocking`] | `offload` | |
//! | [`Config::schedulers`], [`spawn_anywhere`], [`handles`] | - | there it is a process for each core: `prefork` |
//! | [`Config`] | `configure` | |
//! | [`report`], [`explain`], [`tasklets`], [`watch`] | `report`, `explain`, `tasklets`, `watch` | |
//! | [`report`] | `backend` | which backend runs |
//!
//! [`Duration`]: std::time::Duration
#![deny(unsafe_code)]
// On docs.rs, what a feature or a system brings says so.
#![cfg_attr(docsrs, feature(doc_cfg))]
// It is put into the programs that are built: see `guide::debugging`.
#![debugger_visualizer(gdb_script_file = "gdb.py")]

mod ahead;
mod attempt;
mod blocking;
mod channel;
mod coroutine;
pub mod ecosystem;
mod ends;
pub mod engine;
mod entry;
mod every;
mod expectations;
pub mod fs;
#[cfg(test)]
#[path = "../tests/support/fuzz.rs"]
#[allow(dead_code, reason = "the tests beside the crate use the rest")]
mod fuzz;
mod group;
pub mod guide;
pub mod handoff;
mod interrupt;
pub mod io;
mod listing;
mod local;
pub mod net;
mod offload;
mod panics;
mod pool;
pub mod prefork;
pub mod process;
pub mod reactor;
mod resolve;
mod scheduler;
mod scope;
mod select;
pub mod signal;
#[cfg(unix)]
pub mod sim;
mod spans;
#[allow(unsafe_code)]
mod stack;
pub mod sync;
#[cfg(unix)]
pub mod systemd;
mod tasklet;
mod threads;
mod ticket;
mod time;
mod wait_list;
mod workers;

pub use attempt::attempted;
pub use channel::{Channel, Preference, ReceiveError, Receiving, SendError, Sending, channel};
pub use ecosystem::block_on;
pub use ends::{AsCompleted, as_completed, first_completed, shield, wait};
pub use entry::{Config, DEFAULT_STACK_SIZE, run, try_run};
pub use every::{Every, MissedTickBehavior, Ticking, every};
pub use group::Group;
pub use interrupt::is_cancelled;
pub use listing::{explain, report, tasklets, watch};
pub use local::Local;
pub use net::{Ready, readable, writable};
pub use offload::{offload, offload_in, spawn_blocking};
pub use overlapped_port::{Kind as Backend, Lane};
pub use pool::{Map, MapUnordered, Pool};
pub use scheduler::Status;
pub use scope::{Scope, ScopedJoinHandle, scope};
#[doc(hidden)]
pub use select::arms as __select;
pub use select::{After, Branch, after, first_of};
pub use sync::{
    Acquiring, Barrier, BrokenBarrierError, CancellationToken, Cancelling, Condition, DropGuard, Event, Getting,
    Hearing, Lazy, Lock, LockGuard, Notify, OnceCell, Permit, Putting, Queue, RLock, RLockGuard, ReadGuard, RwLock,
    Semaphore, Waiting, WriteGuard,
};
pub use tasklet::{Builder, Finishing, Handle, Join, JoinError, JoinHandle, handle, spawn, yield_now};
pub use threads::{handles, spawn_anywhere};
pub use time::{Deadline, Elapsed, sleep, sleep_until, timeout, timeout_at, uncancellable};

/// The README's program runs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
