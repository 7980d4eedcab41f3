//! How the threads beside the first begin and end.

use std::io;
use std::iter;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::crew;
use crate::sync::Event;
use crate::tasklet::{Handle, handle};

/// How long after the cleanup limit a thread is waited for: some of it for those that are told past the limit, the rest
/// for a port that has to be shut down by force.
const LAST_PATIENCE: Duration = Duration::from_secs(15);

/// The threads of a run beside the one that called it, until [`Others::end`].
pub(crate) struct Others {
    threads: Vec<Other>,
    /// Set when they are to end.
    end: Event,
}

struct Other {
    thread: JoinHandle<()>,
    /// Its handle comes by this, or why it has none; closed when the thread is about to end.
    told: Receiver<io::Result<Handle>>,
    handle: Option<Handle>,
}

impl Others {
    /// Starts so many, side by side. `enter` enters a scheduler, and runs in it what it is given.
    ///
    /// # Errors
    /// Where the system has no thread, or no port for one; those that were started have ended.
    pub(crate) fn start(
        count: usize,
        enter: impl Fn(&dyn Fn()) -> io::Result<()> + Clone + Send + 'static,
    ) -> io::Result<Others> {
        let mut others = Others { threads: Vec::with_capacity(count), end: Event::new() };
        let started = (2..count + 2).try_for_each(|number| others.start_one(number, enter.clone()));
        let failed = started.and_then(|()| others.threads.iter_mut().try_for_each(Other::take_handle)).err();
        match failed {
            None => Ok(others),
            Some(error) => {
                others.end(Duration::MAX);
                Err(error)
            }
        }
    }

    fn start_one(
        &mut self,
        number: usize,
        enter: impl Fn(&dyn Fn()) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let (tell, told) = channel();
        let end = self.end.clone();
        let work = move || {
            let entered = enter(&|| {
                let _ = tell.send(Ok(handle()));
                end.wait();
                crew::leave();
            });
            if let Err(error) = entered {
                let _ = tell.send(Err(error));
            }
        };
        // It has the signals of the thread that starts it, as any of the program's: a tasklet may overflow its stack
        // there.
        let thread = std::thread::Builder::new().name(format!("overlapped-{number}")).spawn(work)?;
        self.threads.push(Other { thread, told, handle: None });
        Ok(())
    }

    /// Makes them and this thread, which has entered its scheduler, known to each other. When the result is dropped,
    /// all are told to end.
    pub(crate) fn join_in(&self) -> Ending {
        let theirs = self.threads.iter().filter_map(|other| other.handle.clone());
        let handles: Arc<[Handle]> = iter::once(handle()).chain(theirs).collect();
        for (place, handle) in handles.iter().enumerate().skip(1) {
            let handles = Arc::clone(&handles);
            handle.call_soon(move || crew::join(&handles, place));
        }
        crew::join(&handles, 0);
        Ending(self.end.clone())
    }

    /// Has them end, and waits until they have, some seconds longer than cleanup may take. One that has not ended by
    /// then is left, with a line on standard error. What a thread's own code panicked with goes on here.
    pub(crate) fn end(self, cleanup: Duration) {
        self.end_until(Instant::now().checked_add(cleanup.saturating_add(LAST_PATIENCE)));
    }

    /// As [`Others::end`]. Returns how many are left.
    fn end_until(self, last: Option<Instant>) -> usize {
        self.end.set();
        let mut left = 0;
        for other in self.threads {
            if other.ends_until(last) {
                other.thread.join().unwrap_or_else(|payload| resume_unwind(payload));
            } else {
                eprintln!("{}", other.complaint());
                left += 1;
            }
        }
        left
    }
}

impl Other {
    fn take_handle(&mut self) -> io::Result<()> {
        let told = self.told.recv().unwrap_or_else(|_| Err(io::Error::other("a thread has ended before it began")));
        told.map(|handle| self.handle = Some(handle))
    }

    fn ends_until(&self, last: Option<Instant>) -> bool {
        loop {
            let told = match last {
                Some(last) => self.told.recv_timeout(last.saturating_duration_since(Instant::now())),
                None => self.told.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if let Err(error) = told {
                return error == RecvTimeoutError::Disconnected;
            }
        }
    }

    /// What is to be said where the thread would not end: which, and who holds it.
    fn complaint(&self) -> String {
        let thread = self.thread.thread().name().unwrap_or_default();
        let tasklets = self.handle.as_ref().map(Handle::tasklets).unwrap_or_default();
        let holds = tasklets.iter().find(|status| status.waits_for == "running").map(|status| status.title());
        format!(
            "overlapped: thread {thread} has not ended within {} s after the cleanup limit at the end of run: it is left \
             as it is (tasklet {} holds it)",
            LAST_PATIENCE.as_secs(),
            holds.unwrap_or_else(|| "main".to_owned())
        )
    }
}

/// Has the threads of a run end when it is dropped; what is given from then on stays on this one.
pub(crate) struct Ending(Event);

impl Drop for Ending {
    fn drop(&mut self) {
        crew::leave();
        self.0.set();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::{run, spawn, yield_now};

    fn enter(main: &dyn Fn()) -> io::Result<()> {
        crate::try_run(main)
    }

    #[test]
    fn a_thread_that_is_held_is_left_and_the_others_are_waited_for() {
        let others = Others::start(2, enter).unwrap();
        let (begun, begins) = mpsc::channel();
        let (go_on, waits) = mpsc::channel::<()>();
        let held = others.threads[0].handle.as_ref().unwrap();
        let holds = held.spawn(move || {
            begun.send(()).unwrap();
            let _ = waits.recv();
        });
        begins.recv().unwrap();
        let complaint = others.threads[0].complaint();
        assert!(
            complaint.contains("thread overlapped-2 ") && complaint.contains("(tasklet 1 holds it)"),
            "{complaint}"
        );
        others.end.set();
        assert!(others.threads[1].ends_until(None));
        assert_eq!(others.end_until(Some(Instant::now())), 1);
        drop(go_on);
        holds.join().unwrap();
    }

    #[test]
    fn where_one_cannot_begin_the_error_is_told_and_none_is_left() {
        let begun = Arc::new(AtomicUsize::new(0));
        let theirs = begun.clone();
        let fails = move |main: &dyn Fn()| match theirs.fetch_add(1, Ordering::SeqCst) {
            1 => Err(io::Error::other("no port")),
            _ => crate::try_run(main),
        };
        let error = Others::start(3, fails).err().unwrap();
        assert_eq!(error.to_string(), "no port");
        assert_eq!(Arc::strong_count(&begun), 1, "all have ended");
    }

    #[test]
    fn what_is_given_stays_here_once_the_threads_are_to_end() {
        let others = Others::start(1, enter).unwrap();
        run(|| {
            let here = std::thread::current().id();
            let ending = others.join_in();
            spawn(yield_now);
            let given = crate::spawn_anywhere(|| std::thread::current().id());
            assert_ne!(given.join().unwrap(), here);
            drop(ending);
            spawn(yield_now);
            let given = crate::spawn_anywhere(|| std::thread::current().id());
            assert_eq!(given.join().unwrap(), here);
        });
        assert_eq!(others.end_until(None), 0);
    }
}
