//! The loop of one thread: ready tasklets, timers, then the port.
//!
//! A *tasklet* here is an entry in a table and a place in a queue; how the thread is switched from one to another is the
//! business of a [`Switcher`]: stackful coroutines for the Rust face, greenlets for the Python face. Both park here, and
//! both are woken through the same completions: who waits is a token, not a type.
//!
//! **Parking and waking** work like `std::thread::park`: [`park()`] returns after a [`Waiter::wake`], of which one that
//! came first is remembered. A wake-up may be for something else, so whoever parks looks at its condition again.
//!
//! **Leaving early** (cancel, time-out, a thrown exception) is told in [`crate::interrupt`]. Whoever waits is woken and
//! asks what stands; it takes its wait back — an operation is cancelled and *its completion awaited* — and only then
//! passes on what it was told. A wait that was satisfied after all returns its result: nothing that was moved is lost.
//!
//! ```text
//!   id  token  ready  board  wait  names, queue, listing: they know nothing of the rest
//!   table  remote  watch           what is known of each tasklet; what other threads see; the warning
//!   thread  preempt                the scheduler itself; who computes for long is looked for
//!   turn  park  order  leave       its loop, its waits, who runs when, how waits end early
//!   operation  started  waiter     waits for the port, operations that call back, waits for others
//!   kept                           what is told of the end of the run
//! ```

mod board;
mod id;
mod kept;
mod leave;
mod operation;
mod order;
mod park;
mod preempt;
mod ready;
mod remote;
mod started;
mod table;
mod thread;
mod token;
mod turn;
mod wait;
mod waiter;
mod watch;

pub(crate) use self::board::boards;
pub use self::board::{Board, Status};
pub use self::id::TaskletId;
pub(crate) use self::kept::{Keeping, Kept};
pub(crate) use self::leave::{pass_on, raise, told};
pub(crate) use self::operation::NoUnwind;
pub use self::preempt::Look;
pub(crate) use self::remote::{CLEANUP, Given, Remote};
pub use self::started::Started;
pub(crate) use self::thread::try_current;
pub use self::thread::{Scheduler, Switcher, current};
pub use self::turn::Timer;
pub use self::waiter::{Waiter, park};
pub(crate) use self::waiter::{await_place, passed, wait};
pub use self::watch::{Listener, Onlooker, StillHeld, Told};
