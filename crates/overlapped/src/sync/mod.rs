//! Events, semaphores, locks, conditions, barriers and queues: for tasklets, and between threads.
//!
//! All are one pattern: who waits has a place in a [`WaitList`](crate::wait_list::WaitList) and is *served* there, so
//! that nobody overtakes, nothing is given to one that has left, and leaving costs the same however many wait.

mod barrier;
mod condition;
mod event;
mod lock;
mod queue;
mod semaphore;

pub use self::barrier::{Barrier, BrokenBarrierError};
pub use self::condition::Condition;
pub use self::event::{Event, Waiting};
pub use self::lock::{Lock, LockGuard, RLock, RLockGuard};
pub use self::queue::{Getting, Putting, Queue};
pub use self::semaphore::{Acquiring, Permit, Semaphore};

use crate::interrupt::Interrupted;
use crate::scheduler::raise;

/// For waits that have no place for an error.
fn unwound<R>(interrupted: Interrupted) -> R {
    raise(interrupted);
    panic!("a foreign tasklet was interrupted in a wait that has no result: there, use one that has");
}
