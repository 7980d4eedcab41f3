//! Threads for what the system offers in blocking form alone.
//!
//! The threads belong to one port: a process that forks makes a new port, and with it new threads. They start when
//! there is work and end after some idle seconds. Which job begins when is decided in [`lanes`]: short calls of the library's
//! own, opens, long functions of the user's, and what may wait without end do not wait for each other.
//!
//! **Where no thread can be started** (RLIMIT_NPROC, a container's limit) what ends by itself is done on the port's own
//! thread, for a file that can be read slowly is better than one that cannot; and so is an open of what is no FIFO.
//! A function of a user's is refused there: it may wait for this very thread.
//!
//! **No job is dropped under the lock.** What a function has captured may run any code when it is dropped.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::host::Host;
use crate::inbox::Inbox;
use crate::op::Lane;
use crate::open::Patience;
use crate::slots::OpId;
use crate::sys;

pub(crate) use lanes::Task;
use lanes::{Begun, Cancelled, Lanes, Next, PATIENCE};

mod lanes;

struct Shared {
    lanes: Mutex<Lanes>,
    work: Condvar,
    inbox: Arc<Inbox>,
    host: Arc<dyn Host>,
    stack: Option<usize>,
}

impl Shared {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread that [`Lanes::recruit`] has counted.
    fn start_thread(self: &Arc<Shared>) -> io::Result<()> {
        let shared = Arc::clone(self);
        let started = self.host.start_thread(self.stack, Box::new(move || work(&shared)));
        if started.is_err() {
            self.lanes().threads -= 1;
        }
        started
    }
}

pub(crate) struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// A pool that runs `limit` jobs of a kind at once, and reports to `inbox`. `stack`: see [`Host::start_thread`].
    pub(crate) fn new(limit: usize, stack: Option<usize>, inbox: Arc<Inbox>, host: Arc<dyn Host>) -> Pool {
        let lanes = Mutex::new(Lanes::new(limit));
        Pool { shared: Arc::new(Shared { lanes, work: Condvar::new(), inbox, host, stack }) }
    }

    /// Runs `task` on a thread; its result arrives in the inbox. `Some`: it was run here, or cannot be run.
    pub(crate) fn run(&self, id: OpId, task: Task) -> Option<io::Result<usize>> {
        let now = self.shared.host.now();
        let mut lanes = self.shared.lanes();
        let pushed = lanes.push(id, task);
        let more = pushed.is_ok() && lanes.recruit(now);
        drop(lanes);
        if let Err((error, task)) = pushed {
            drop(task);
            return Some(Err(error));
        }
        if !more {
            self.shared.work.notify_one();
            return None;
        }
        let error = self.shared.start_thread().err()?;
        let task = self.shared.lanes().give_up(id)?;
        let refused = |what: &str| {
            let text = format!("no thread could be started for {what}: {error}");
            Some(Err(io::Error::new(error.kind(), text)))
        };
        match task {
            Task::Call(function, Lane::Short) => Some(outcome(function)),
            Task::Call(..) => refused("a function"),
            Task::Open(open) => match outcome(|| open(Patience::None)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => refused("an open that may wait"),
                opened => Some(opened),
            },
        }
    }

    /// Takes a job back that no thread has begun, or that opens a file; false where it is too late.
    pub(crate) fn cancel(&self, id: OpId) -> bool {
        let cancelled = self.shared.lanes().cancel(id);
        match cancelled {
            Cancelled::Unrun(task) => {
                drop(task);
                true
            }
            Cancelled::Left => true,
            Cancelled::TooLate => false,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lanes().closed = true;
        self.shared.work.notify_all();
    }
}

/// What a job returns; a panic is an error.
pub(crate) fn outcome(job: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|payload| {
        // Its destructor may panic again, and nobody would catch that.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
        Err(io::Error::other("the function that the port ran on a thread panicked"))
    })
}

/// A thread of the pool.
fn work(shared: &Arc<Shared>) {
    let mut lanes = shared.lanes();
    loop {
        let now = shared.host.now();
        match lanes.next(now) {
            Next::Run(job) => {
                // The one that runs this may have been the one that watched.
                let more = lanes.recruit(now);
                drop(lanes);
                if more {
                    // Where there is none, this one comes back.
                    let _ = shared.start_thread();
                }
                run(shared, job);
                lanes = shared.lanes();
            }
            Next::Refuse(id, task) => {
                drop(lanes);
                drop(task);
                shared.inbox.finished(id, Err(lanes::too_many()));
                lanes = shared.lanes();
            }
            Next::Wait(_) if lanes.closed => break,
            Next::Wait(patience) => {
                lanes.idle += 1;
                let (woken, wait) = shared.work.wait_timeout(lanes, patience).unwrap_or_else(PoisonError::into_inner);
                lanes = woken;
                lanes.idle -= 1;
                if wait.timed_out() && patience == PATIENCE && lanes.has_nothing_for_more() {
                    break;
                }
            }
        }
    }
    lanes.threads -= 1;
}

fn run(shared: &Shared, job: Begun) {
    let (id, place) = (job.id, job.place());
    match job.task {
        Task::Call(function, _) => {
            let result = outcome(function);
            shared.lanes().ended(place);
            shared.inbox.finished(id, result);
        }
        Task::Open(open) => {
            let result = outcome(|| open(Patience::Endless));
            let mut lanes = shared.lanes();
            lanes.ended(place);
            let is_awaited = lanes.conclude_open(id);
            drop(lanes);
            if is_awaited {
                shared.inbox.finished(id, result);
            } else if let Ok(file) = result {
                // SAFETY: the file was just opened, and the operation that asked for it is over: nobody knows of it.
                drop(unsafe { sys::own_file(file) });
            }
        }
    }
}
