//! A few threads for what the system offers in blocking form alone.
//!
//! The threads belong to one port: a process that forks makes a new port, and with it new threads. They start when
//! there is work, up to a limit, and end after some idle seconds. What may wait without end (for what another process
//! writes to a pipe) does not count to the limit: files would wait for pipes, and a pipe's reader for its writer.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::inbox::Inbox;
use crate::slots::OpId;
use crate::sys;

/// How long an idle thread waits for work before it ends.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) type Job = Box<dyn FnOnce() -> io::Result<usize> + Send>;

/// What a job is to the pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It ends by itself, soon.
    Works,
    /// It opens a file, which is its result, and can be cancelled while it runs.
    Opens,
    /// It may wait without end.
    Waits,
}

struct Work {
    id: OpId,
    job: Job,
    kind: Kind,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Work>,
    /// Opens that threads have begun and that were not cancelled. Such a call may wait without end, for the other end of
    /// a FIFO, and borrows nothing: so it can be left to its thread.
    opening: Vec<OpId>,
    threads: usize,
    idle: usize,
    /// Jobs that may wait without end, begun or not.
    waiting: usize,
    closed: bool,
}

impl Queue {
    /// Takes a job back that no thread has begun.
    fn remove(&mut self, at: usize) -> bool {
        let work = self.jobs.remove(at);
        self.waiting -= usize::from(work.as_ref().is_some_and(|work| work.kind == Kind::Waits));
        work.is_some()
    }

    /// True where the open goes on and was not cancelled; from now on it counts as over.
    fn take_open(&mut self, id: OpId) -> bool {
        let at = self.opening.iter().position(|opening| *opening == id);
        at.map(|at| self.opening.swap_remove(at)).is_some()
    }
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    inbox: Arc<Inbox>,
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Pool {
    shared: Arc<Shared>,
    limit: usize,
}

impl Pool {
    /// A pool of at most `limit` threads that reports to `inbox`.
    pub(crate) fn new(limit: usize, inbox: Arc<Inbox>) -> Pool {
        let shared = Shared { queue: Mutex::default(), work: Condvar::new(), inbox };
        Pool { shared: Arc::new(shared), limit: limit.max(1) }
    }

    /// Runs `job` on a thread; its result arrives in the inbox.
    pub(crate) fn run(&self, id: OpId, job: Job, kind: Kind) {
        let mut queue = self.shared.queue();
        queue.waiting += usize::from(kind == Kind::Waits);
        queue.jobs.push_back(Work { id, job, kind });
        if queue.idle >= queue.jobs.len() || queue.threads >= self.limit + queue.waiting {
            drop(queue);
            self.shared.work.notify_one();
            return;
        }
        queue.threads += 1;
        drop(queue);
        let shared = Arc::clone(&self.shared);
        let spawned = std::thread::Builder::new().name("overlapped-pool".into()).spawn(move || work(&shared));
        if let Err(error) = spawned {
            let mut queue = self.shared.queue();
            queue.threads -= 1;
            // With no thread at all, nobody would ever take the job.
            if queue.threads == 0
                && let Some(at) = queue.jobs.iter().position(|work| work.id == id)
            {
                queue.remove(at);
                self.shared.inbox.finished(id, Err(error));
            }
        }
    }

    /// Takes a job back that no thread has begun, or that opens a file; false where it is too late.
    pub(crate) fn cancel(&self, id: OpId) -> bool {
        let mut queue = self.shared.queue();
        match queue.jobs.iter().position(|work| work.id == id) {
            Some(at) => queue.remove(at),
            None => queue.take_open(id),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.work.notify_all();
    }
}

fn work(shared: &Shared) {
    crate::sys::block_signals();
    let mut queue = shared.queue();
    loop {
        if let Some(Work { id, job, kind }) = queue.jobs.pop_front() {
            if kind == Kind::Opens {
                queue.opening.push(id);
            }
            drop(queue);
            let result = catch_unwind(AssertUnwindSafe(job))
                .unwrap_or_else(|_| Err(io::Error::other("the function that the port ran on a thread panicked")));
            if kind != Kind::Opens || shared.queue().take_open(id) {
                shared.inbox.finished(id, result);
            } else if let Ok(file) = result {
                // SAFETY: the file was just opened, and the operation that asked for it is over: nobody knows of it.
                drop(unsafe { sys::own_file(file) });
            }
            queue = shared.queue();
            queue.waiting -= usize::from(kind == Kind::Waits);
            continue;
        }
        if queue.closed {
            break;
        }
        queue.idle += 1;
        let (woken, wait) = shared.work.wait_timeout(queue, PATIENCE).unwrap_or_else(PoisonError::into_inner);
        queue = woken;
        queue.idle -= 1;
        if wait.timed_out() && queue.jobs.is_empty() {
            break;
        }
    }
    queue.threads -= 1;
}
