//! Several schedulers in one run, each on a thread of its own and with a port of its own.
//!
//! [`Config::schedulers`](crate::Config::schedulers) says how many. The first is that of the thread that calls
//! [`run`](crate::run), and `main` runs there; the others are started before `main` and end with it. What
//! [`spawn`](crate::spawn()) starts stays on its thread, and [`spawn_anywhere`] gives a function away before it begins,
//! and so does a listener's [`serve`](crate::net::TcpListener::serve) with each connection; [`handles`] names the
//! threads. All that works between threads works between these: joins and cancels, [`Event`](crate::Event),
//! [`Channel`](crate::Channel), [`Queue`](crate::Queue).
//!
//! **What moves.** What has not begun, and nothing else: the kernel may own memory on a tasklet's stack, and code looks
//! at the data of its thread. So work is spread when it begins, and a function that is given away has to be [`Send`]. A
//! socket may go along: nothing of it is the port's that accepted it. (On Windows it becomes a port's with its first
//! operation, which is one of the thread that it was given to.)
//!
//! **Where it goes.** To the thread with the fewest tasklets that have not ended, those on their way counted; where the
//! giver's own is among the fewest, there. Most tasklets are a connection each, and with equal numbers of them threads
//! have equal work. The number is true at once, so that a burst of connections is spread before the first of them has
//! begun; and to keep it costs a scheduler nothing that it did not pay before. Each choice looks at all threads, which
//! is linear in their number, and small beside what is given.
//!
//! Rejected: how many tasklets are *ready* (it changes within microseconds, and would be a store at each switch); the
//! processor's time (it is late: a burst goes to whoever was idle before it); each in turn (what has ended is not
//! counted, and long connections gather where chance puts them); of several, the next (a lone client then has another
//! thread woken for each connection, which is half as much again of the processor's time, and spreads no better); to
//! take what another thread has been given and not begun (a thread that falls idle would mostly take what its neighbour
//! is just waking up for: the spread is undone, at the price of a shared queue). What is given begins when its thread
//! next polls its port, after some 64 switches at most; a tasklet that holds its thread for longer is what
//! [`watch`](crate::watch) tells of.
//!
//! **The end.** When `main` has returned, all threads cancel their tasklets at once, as the end of [`run`](crate::run)
//! does; `run` returns when all have ended. What is given to a thread that has ended is dropped, and its joiner told of
//! a cancel. A thread that does not end within the cleanup limit and some seconds, because a tasklet holds it, is left,
//! with a line on standard error. A panic is its tasklet's, on whatever thread; one between tasklets ends the process.
//!
//! ```text
//!   crew    the threads of a run as each of them knows them, and the choice
//!   others  how those beside the first begin and end
//! ```

mod crew;
mod others;

pub(crate) use others::Others;

use std::io;

use crew::Crew;

use crate::tasklet::{Builder, Handle, JoinHandle};

/// Starts a tasklet on the thread of this run that has the fewest. With one scheduler, which is what
/// [`run`](crate::run) has unless told, that is this one.
///
/// ```
/// use overlapped::{Config, spawn_anywhere};
/// let sum: u64 = Config::new().schedulers(2).run(|| {
///     let parts = [0, 1, 2, 3].map(|part| spawn_anywhere(move || (part..1000).step_by(4).sum::<u64>()));
///     parts.into_iter().map(|part| part.join().unwrap()).sum()
/// });
/// assert_eq!(sum, 499_500);
/// ```
///
/// # Panics
/// Outside [`run`](crate::run), and where this thread has the fewest and no room for one more stack. Where another has
/// no room, the joiner is told.
#[track_caller]
pub fn spawn_anywhere<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().spawn_anywhere(function).unwrap_or_else(|error| panic!("overlapped::spawn_anywhere: {error}"))
}

/// The threads of this run, the first first: to start a tasklet on one of them ([`Handle::spawn`]), or to see what they
/// have to do ([`Handle::load`]).
///
/// ```
/// overlapped::Config::new().schedulers(2).run(|| {
///     let names = overlapped::handles().into_iter().map(|thread| {
///         thread.spawn(|| std::thread::current().name().map(String::from)).join().unwrap()
///     });
///     assert_eq!(names.last().unwrap().as_deref(), Some("overlapped-2"));
/// });
/// ```
///
/// # Panics
/// Outside [`run`](crate::run).
pub fn handles() -> Vec<Handle> {
    crew::look(|crew| crew.handles().to_vec()).unwrap_or_else(|| vec![crate::handle()])
}

impl Builder {
    /// Starts the tasklet as [`spawn_anywhere`] does.
    ///
    /// # Errors
    /// As for [`Builder::spawn`], where this thread has the fewest tasklets. Where another has no room, the joiner is
    /// told.
    ///
    /// # Panics
    /// Outside [`run`](crate::run).
    #[track_caller]
    pub fn spawn_anywhere<T: Send + 'static>(
        self,
        function: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        match crew::look(Crew::least_loaded).flatten() {
            Some(other) => Ok(self.spawn_on(&other, function)),
            None => self.spawn(function),
        }
    }
}
