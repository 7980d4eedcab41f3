//! What tasklets wait for of each other: locks, queues, events, values that change. For tasklets, and between threads, with a
//! scheduler or without.
//!
//! All are one pattern: who waits has a place in a list and is *served* there, so that nobody overtakes, nothing is given to
//! one that has left, and leaving costs the same however many wait.
//!
//! | for | |
//! |---|---|
//! | one at a time | [`Lock`], [`RLock`]; many to read, [`RwLock`]; so many, [`Semaphore`] |
//! | values, each to one | [`Queue`], [`mpmc`] with counted ends; without a store, [`Channel`](crate::Channel) |
//! | values, each to all | [`broadcast`]; the last one alone, [`watch`] |
//! | a word | [`Event`], which stays set; [`Notify`]; [`CancellationToken`], which children share |
//! | a change of a locked value | [`Condition`] |
//! | so many that meet | [`Barrier`] |
//! | a value that is made once | [`OnceCell`], [`Lazy`] |

mod barrier;
pub mod broadcast;
mod condition;
mod event;
mod lock;
pub mod mpmc;
mod notify;
mod once;
mod queue;
mod rwlock;
mod semaphore;
mod token;
pub mod watch;

pub use self::barrier::{Barrier, BrokenBarrierError};
pub use self::condition::Condition;
pub use self::event::{Event, Waiting};
pub use self::lock::{Lock, LockGuard, RLock, RLockGuard};
pub use self::notify::{Hearing, Notify};
pub use self::once::{Lazy, OnceCell};
pub use self::queue::{Getting, Putting, Queue};
pub use self::rwlock::{ReadGuard, RwLock, WriteGuard};
pub use self::semaphore::{Acquiring, Permit, Semaphore};
pub use self::token::{CancellationToken, Cancelling, DropGuard};

use crate::interrupt::Interrupted;
use crate::scheduler::raise;

/// For waits that have no place for an error.
fn unwound<R>(interrupted: Interrupted) -> R {
    raise(interrupted);
    panic!("a foreign tasklet was interrupted in a wait that has no result: there, use one that has");
}
