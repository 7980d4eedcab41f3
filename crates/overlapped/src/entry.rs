//! `run`: tasklets on this thread, and on others where so configured, from their beginning to their end.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread::{self, available_parallelism};
use std::time::Duration;

use overlapped_port::Kind;

use crate::coroutine::{self, Coroutines};
use crate::local;
use crate::scheduler::{CLEANUP, Scheduler, Status, TaskletId, try_current};
use crate::spans::Origin;
use crate::threads::Others;

/// Stack of a tasklet in bytes unless its [`Builder`](crate::Builder) or the [`Config`] says otherwise. Only what is
/// touched takes memory.
pub const DEFAULT_STACK_SIZE: usize = 256 << 10;

/// How to [`run`]: on how many threads, on which backend, sizes and limits. What is not set is as [`run`] has it. All that
/// the environment can set can be set here, and what is set here counts.
///
/// ```
/// use std::time::Duration;
/// let config = overlapped::Config::new().stack_size(1 << 20).cleanup(Duration::from_secs(1));
/// assert_eq!(config.run(|| overlapped::spawn(|| 42).join().unwrap()), 42);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    port: overlapped_port::Config,
    stack_size: usize,
    cleanup: Duration,
    schedulers: usize,
    /// `None`: as the environment says.
    watch: Option<Option<Duration>>,
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl Config {
    /// What [`run`] uses.
    pub fn new() -> Config {
        let port = overlapped_port::Config::new();
        Config { port, stack_size: DEFAULT_STACK_SIZE, cleanup: CLEANUP, schedulers: 1, watch: None }
    }

    /// On how many threads (1 unless told) the tasklets run, the calling one counted: each has a scheduler and a port of
    /// its own. What [`spawn`](crate::spawn()) starts stays on its thread; [`spawn_anywhere`](crate::spawn_anywhere())
    /// and [`serve`](crate::net::TcpListener::serve) use all. (The threads of [`Config::threads`] are others, for calls
    /// that block.)
    ///
    /// ```
    /// use overlapped::{Config, spawn_anywhere};
    /// Config::new().schedulers(2).run(|| {
    ///     let squares = [6, 7].map(|n| spawn_anywhere(move || n * n));
    ///     assert_eq!(squares.map(|square| square.join().unwrap()), [36, 49]);
    /// });
    /// ```
    pub fn schedulers(mut self, count: usize) -> Config {
        self.schedulers = count.max(1);
        self
    }

    /// As many [schedulers](Config::schedulers) as there are processors for this process: what its affinity and its
    /// control group's quota leave it ([`available_parallelism`]), and one where the system does not tell.
    pub fn all_processors(self) -> Config {
        self.schedulers(available_parallelism().map_or(1, usize::from))
    }

    /// Takes this backend or none, whatever `OVERLAPPED_BACKEND` names: see [`overlapped_port::Config::backend`].
    pub fn backend(mut self, kind: Kind) -> Config {
        self.port = self.port.backend(kind);
        self
    }

    /// As [`watch`](crate::watch), on each thread and from the beginning, whatever `OVERLAPPED_WATCH` says.
    pub fn watch(mut self, limit: Option<Duration>) -> Config {
        self.watch = Some(limit);
        self
    }

    /// How many calls of a kind run at once, for each scheduler, of what the system offers in blocking form alone, and
    /// of [`offload`](crate::offload()): see [`overlapped_port::Config::threads`].
    pub fn threads(mut self, most: usize) -> Config {
        self.port = self.port.threads(most);
        self
    }

    /// The stack of the threads for those calls, in bytes: see [`overlapped_port::Config::thread_stack`].
    pub fn thread_stack(mut self, bytes: usize) -> Config {
        self.port = self.port.thread_stack(bytes);
        self
    }

    /// How many completions fit into io_uring's queue. It is no limit to what is in flight: see
    /// [`overlapped_port::Config::capacity`].
    pub fn capacity(mut self, completions: usize) -> Config {
        self.port = self.port.capacity(completions);
        self
    }

    /// Stack of a tasklet in bytes ([`DEFAULT_STACK_SIZE`] unless told) unless its [`Builder`](crate::Builder) says
    /// otherwise.
    pub fn stack_size(mut self, bytes: usize) -> Config {
        self.stack_size = bytes;
        self
    }

    /// How long destructors and [`uncancellable`](crate::uncancellable) may wait once their tasklet was told to leave (5
    /// seconds unless told): then their waits are told too. [`Duration::MAX`] sets no limit.
    pub fn cleanup(mut self, limit: Duration) -> Config {
        self.cleanup = limit;
        self
    }

    /// As [`run`].
    ///
    /// # Panics
    /// As [`run`].
    #[track_caller]
    pub fn run<T>(self, main: impl FnOnce() -> T) -> T {
        self.try_run(main).unwrap_or_else(|error| panic!("overlapped::run: {error}"))
    }

    /// As [`try_run`].
    ///
    /// # Errors
    /// As for [`try_run`].
    #[track_caller]
    pub fn try_run<T>(self, main: impl FnOnce() -> T) -> io::Result<T> {
        can_unwind(cfg!(panic = "unwind"))?;
        if try_current().is_some() {
            return Err(io::Error::other("a scheduler runs on this thread already: overlapped::run is not nested"));
        }
        let others = match self.schedulers {
            1 => None,
            count => {
                let config = self.clone();
                Some(Others::start(count - 1, move |main| {
                    config.run_here(main)?.or_else(|payload| resume_unwind(payload))
                })?)
            }
        };
        let origin = Origin::here();
        let result = self.run_here(|| {
            let _ending = others.as_ref().map(Others::join_in);
            let _span = try_current().map(|scheduler| enter_span(scheduler, &origin));
            main()
        });
        if let Some(others) = others {
            others.end(self.cleanup);
        }
        result?.or_else(|payload| resume_unwind(payload))
    }

    /// Runs `main` as this thread's own tasklet, and ends all that it has started here.
    fn run_here<T>(&self, main: impl FnOnce() -> T) -> io::Result<thread::Result<T>> {
        let coroutines = Coroutines::new(self.stack_size);
        let scheduler = Scheduler::enter(self.port.clone().start()?, Box::new(Rc::clone(&coroutines)))?;
        scheduler.limit_cleanup(self.cleanup);
        if let Some(limit) = self.watch {
            scheduler.watch_or_not(limit).inspect_err(|_| scheduler.leave())?;
        }
        coroutine::enter(Rc::clone(&coroutines));
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _locals = local::OfTheThread;
            main()
        }));
        let left = scheduler.cancel_all();
        crate::io::standard::flush_at_end(self.cleanup);
        coroutine::leave();
        if left.is_empty() {
            scheduler.leave();
        } else {
            tell_of(&left);
            scheduler.leave_behind();
            local::leave_behind();
            // Their stacks are never gone back to, and never freed.
            std::mem::forget(coroutines);
        }
        Ok(result)
    }
}

/// The first tasklet is in its span until this is dropped.
struct InSpan<E>(Rc<Scheduler>, E);

fn enter_span(scheduler: Rc<Scheduler>, origin: &Origin) -> InSpan<impl Sized + use<>> {
    let span = origin.span("main", || TaskletId::ROOT.number(), None, None);
    scheduler.set_span(TaskletId::ROOT, span.id());
    InSpan(scheduler, span.entered())
}

impl<E> Drop for InSpan<E> {
    fn drop(&mut self) {
        // The thread waits on for the tasklets to end, and is woken for that.
        self.0.set_span(TaskletId::ROOT, None);
    }
}

/// Tasklets end early by unwinding. Without it, the first time-out would end the process, and not say why.
fn can_unwind(panics_unwind: bool) -> io::Result<()> {
    if panics_unwind {
        return Ok(());
    }
    let message = "this program is built with panic = \"abort\", but tasklets are cancelled and timed out by unwinding \
                   their stacks: build it with panic = \"unwind\" (in Cargo.toml, the profile's key `panic`)";
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

/// Says which tasklets would not end.
fn tell_of(left: &[Status]) {
    for status in left {
        let title = status.title();
        eprintln!(
            "overlapped: tasklet {title} was cancelled at the end of run and has not ended within the cleanup limit: it is \
             left as it is ({})",
            status.waits_for
        );
    }
}

/// Runs `main` with tasklets on this thread, and returns what it returns.
///
/// `main` is the first tasklet; its waits let the others run. When it has returned, tasklets that have not ended are
/// cancelled, and `run` returns when they have: nothing is left in flight. One that does not end within the cleanup limit
/// ([`Config::cleanup`]) and a second is left as it is, for ever, and a line on standard error says which.
///
/// ```
/// let answer = overlapped::run(|| {
///     let half = overlapped::spawn(|| 21);
///     2 * half.join().unwrap()
/// });
/// assert_eq!(answer, 42);
/// ```
///
/// # Panics
/// Where no port can be had (the system is out of descriptors or memory, or `OVERLAPPED_BACKEND` names a backend that
/// does not start: see [`try_run`]), where `run` is called inside `run`, in a program that is built with
/// `panic = "abort"`, and with the panic of `main`.
#[track_caller]
pub fn run<T>(main: impl FnOnce() -> T) -> T {
    Config::new().run(main)
}

/// As [`run`], with an error instead of a panic where it cannot start.
///
/// # Errors
/// Where no port can be had, or a scheduler runs on this thread already; `Unsupported` in a program that is built with
/// `panic = "abort"`.
#[track_caller]
pub fn try_run<T>(main: impl FnOnce() -> T) -> io::Result<T> {
    Config::new().try_run(main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_unwind_is_told_what_to_change() {
        let error = can_unwind(false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("panic = \"unwind\""), "{error}");
        assert!(can_unwind(true).is_ok());
    }
}
