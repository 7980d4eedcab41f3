//! Ending a call that blocks a thread of the pool.
//!
//! CancelSynchronousIo ends the call that a thread is in. It says so where the thread is in none: just before its call,
//! or between two. So who cancels insists, once a turn of the loop, until the job is over. The job's end takes the same
//! lock, lest the thread's next job be meant.

use std::collections::HashMap;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle};
use windows_sys::Win32::System::IO::CancelSynchronousIo;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetCurrentThread};

use crate::op::Function;
use crate::slots::OpId;
use crate::sys;

/// Where a job stands.
#[derive(Default)]
struct State {
    /// The thread that runs it.
    thread: Option<OwnedHandle>,
    cancelled: bool,
}

#[derive(Default)]
struct Interrupt(Mutex<State>);

impl Interrupt {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the job on this thread.
    fn run(&self, job: Function) -> io::Result<usize> {
        {
            let mut state = self.state();
            if state.cancelled {
                return Err(io::Error::from_raw_os_error(sys::CANCELLED));
            }
            state.thread = this_thread();
        }
        let result = job();
        self.state().thread = None;
        result
    }

    fn cancel(&self) {
        let mut state = self.state();
        state.cancelled = true;
        if let Some(thread) = &state.thread {
            // SAFETY: the handle is open, and the thread is in this job: its end waits for the lock.
            unsafe { CancelSynchronousIo(thread.as_raw_handle()) };
        }
    }
}

/// A handle of the calling thread; `None` where the system has none to give, and then the job runs to its end.
fn this_thread() -> Option<OwnedHandle> {
    let mut thread = ptr::null_mut();
    // SAFETY: the pseudo-handles are always valid; `thread` is filled with a new handle, and this is its only owner.
    unsafe {
        let process = GetCurrentProcess();
        let options = DUPLICATE_SAME_ACCESS;
        let made = DuplicateHandle(process, GetCurrentThread(), process, &raw mut thread, 0, 0, options);
        (made != 0).then(|| OwnedHandle::from_raw_handle(thread))
    }
}

/// The jobs of a port that can be interrupted. A job that is over is gone from memory.
#[derive(Default)]
pub(super) struct Interrupts {
    jobs: HashMap<OpId, Weak<Interrupt>>,
    cancelled: Vec<Weak<Interrupt>>,
}

impl Interrupts {
    /// A job of an operation for the pool, such that it can be interrupted.
    pub(super) fn job(&mut self, id: OpId, job: Function) -> Function {
        if self.jobs.len() == self.jobs.capacity() {
            self.jobs.retain(|_, job| job.strong_count() > 0);
            // Half of it is free until the next such search.
            self.jobs.reserve(self.jobs.len());
        }
        let interrupt = Arc::new(Interrupt::default());
        self.jobs.insert(id, Arc::downgrade(&interrupt));
        Box::new(move || interrupt.run(job))
    }

    /// Ends an operation's job, now or soon.
    pub(super) fn interrupt(&mut self, id: OpId) {
        if let Some(job) = self.jobs.get(&id).and_then(Weak::upgrade) {
            job.cancel();
            self.cancelled.push(Arc::downgrade(&job));
        }
    }

    /// Asks again; whether any job that was cancelled is not over.
    pub(super) fn insist(&mut self) -> bool {
        self.cancelled.retain(|job| job.upgrade().map(|job| job.cancel()).is_some());
        !self.cancelled.is_empty()
    }
}
