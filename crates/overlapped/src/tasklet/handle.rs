//! A thread's tasklets, reached from other threads.

use std::fmt;
use std::sync::Arc;

use super::error::{Ending, JoinError};
use super::{Builder, JoinHandle, Packet, start};
use crate::coroutine;
use crate::scheduler::{Given, Remote, Status, try_current};
use crate::spans::Origin;

/// Reaches the tasklets of a thread from other threads.
///
/// ```
/// overlapped::run(|| {
///     let here = overlapped::handle();
///     let worker = std::thread::spawn(move || here.spawn(|| 6 * 7).join().unwrap());
///     while !worker.is_finished() {
///         overlapped::sleep(std::time::Duration::from_millis(1));
///     }
///     assert_eq!(worker.join().unwrap(), 42);
/// });
/// ```
#[derive(Clone)]
pub struct Handle(Arc<Remote>);

/// The handle of this thread's tasklets.
///
/// # Panics
/// Outside [`run`](crate::run).
pub fn handle() -> Handle {
    Handle(Arc::clone(try_current().expect("overlapped::handle: call it inside overlapped::run").remote()))
}

impl Handle {
    /// Starts a tasklet on the handle's thread. Where that thread's [`run`](crate::run) has ended, it never starts;
    /// where there is no room for its stack, its joiner is told.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(&self, function: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        Builder::new().spawn_on(self, function)
    }

    /// How many tasklets of its thread have not ended, beside the thread itself, those counted that are on their way:
    /// what [`spawn_anywhere`](crate::spawn_anywhere()) goes by.
    pub fn load(&self) -> usize {
        self.0.load()
    }

    /// As [`reactor::call_soon`](crate::reactor::call_soon), on the handle's thread. Where that thread's
    /// [`run`](crate::run) has ended, `callback` is dropped, and this says so by false.
    ///
    /// ```
    /// overlapped::run(|| {
    ///     let (here, told) = (overlapped::handle(), overlapped::Event::new());
    ///     let set = told.clone();
    ///     std::thread::spawn(move || assert!(here.call_soon(move || set.set())));
    ///     told.wait();
    /// });
    /// ```
    pub fn call_soon(&self, callback: impl FnOnce() + Send + 'static) -> bool {
        self.0.call(Box::new(move || crate::reactor::guarded(callback)))
    }

    /// As [`tasklets`](crate::tasklets), for the handle's thread: at any time, also while a tasklet holds that thread.
    ///
    /// ```
    /// use std::time::Duration;
    /// overlapped::run(|| {
    ///     let here = overlapped::handle();
    ///     overlapped::spawn(|| overlapped::sleep(Duration::from_millis(1)));
    ///     overlapped::yield_now();
    ///     let listed = std::thread::spawn(move || here.tasklets()).join().unwrap();
    ///     assert_eq!((listed[0].waits_for, listed[1].waits_for), ("running", "sleep"));
    /// });
    /// ```
    pub fn tasklets(&self) -> Vec<Status> {
        self.0.board().tasklets()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl Builder {
    /// Starts the tasklet on the handle's thread, as [`Handle::spawn`] does.
    #[track_caller]
    pub fn spawn_on<T: Send + 'static>(
        self,
        handle: &Handle,
        function: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let (packet, origin) = (Packet::new(None), Origin::here());
        let (theirs, given) = (Undelivered(Some(Arc::clone(&packet))), Given::to(&handle.0));
        handle.0.call(Box::new(move || {
            let mut theirs = theirs;
            let (Some(scheduler), Some(packet)) = (try_current(), theirs.0.take()) else { return };
            match coroutine::reserve(self.stack_size) {
                Ok(size) => {
                    let name = self.name.as_deref();
                    let span = origin.span("tasklet", || scheduler.next_number(), name, Some(size));
                    let id = scheduler.create_given(name);
                    packet.is_of(id, &scheduler);
                    start(&scheduler, id, size, span, packet, function, |result| result, given, |body| body);
                }
                Err(error) => {
                    packet.finish(Err(JoinError(Ending::NoStack(error))));
                    // Destructors may wait, and here nobody can: they run at the end, in the thread's own tasklet.
                    coroutine::keep_until_the_end(Box::new(function));
                    coroutine::keep_until_the_end(Box::new(packet));
                }
            }
        }));
        JoinHandle { packet, remote: Arc::clone(&handle.0) }
    }
}

/// A tasklet on its way to its thread: its joiner hears of it when it gets lost.
struct Undelivered<T>(Option<Arc<Packet<T>>>);

impl<T> Drop for Undelivered<T> {
    fn drop(&mut self) {
        if let Some(packet) = self.0.take() {
            packet.finish(Err(JoinError(Ending::Cancelled)));
        }
    }
}
