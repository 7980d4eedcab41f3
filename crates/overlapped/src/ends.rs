//! Waiting for the ends of several tasklets, and for one that goes on whatever happens to who waits.
//!
//! Each tasklet of which the end is waited for has a watcher in its list, which puts the tasklet's number into one
//! [`Queue`] for all; so each end costs the same however many there are. (Rejected: [`first_of`] again and again, which
//! joins and leaves all lists for each end; a join of one after the other, which says nothing of the order.)
//!
//! What waits here *looks*: the results stay with the handles, and whoever stops waiting has them still.

use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::time::Duration;

use crate::select::{after, first_of};
use crate::sync::Queue;
use crate::tasklet::{Join, JoinError, spawn, yield_now};
use crate::wait_list::Place;

/// The ends of some tasklets, by their numbers, as they come.
struct Ends<'a, J: Join> {
    tasklets: &'a [J],
    places: Vec<Place>,
    ended: Queue<usize>,
}

impl<J: Join> Ends<'_, J> {
    fn of(tasklets: &[J]) -> Ends<'_, J> {
        let ended = Queue::new();
        let places = tasklets.iter().enumerate().map(|(number, tasklet)| tasklet.watch(&ended, number)).collect();
        Ends { tasklets, places, ended }
    }
}

impl<J: Join> Drop for Ends<'_, J> {
    fn drop(&mut self) {
        self.tasklets.iter().zip(&self.places).for_each(|(tasklet, place)| tasklet.unwatch(*place));
    }
}

/// Waits until `count` of these tasklets have ended (all unless given), at most `timeout`. Returns how many have by then;
/// which, [`Join::is_finished`] says. (Python's `wait` returns them, as two lists: here they are the caller's already,
/// and a list of borrowed handles could not be joined, for a join takes its handle.)
///
/// ```
/// use overlapped::{sleep, spawn, wait};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let tasklets = [1, 60_000].map(|pause| spawn(move || sleep(Duration::from_millis(pause))));
///     assert_eq!(wait(&tasklets, None, Some(1))?, 1);
///     assert_eq!(wait(&tasklets, Some(Duration::from_millis(5)), None)?, 1);
///     tasklets.iter().filter(|tasklet| !tasklet.is_finished()).for_each(|tasklet| tasklet.cancel());
///     assert_eq!(wait(&tasklets, None, None)?, 2);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Where the calling tasklet is told to leave: [`is_cancelled`](crate::is_cancelled), or `TimedOut`.
pub fn wait<J: Join>(tasklets: &[J], timeout: Option<Duration>, count: Option<usize>) -> io::Result<usize> {
    let count = count.unwrap_or(usize::MAX);
    let ends = Ends::of(tasklets);
    let mut time_is_up = after(timeout.unwrap_or(Duration::MAX));
    for number in 0..count.min(tasklets.len()) {
        if first_of(&mut [&mut ends.ended.getting(), &mut time_is_up])? == 1 {
            return Ok(number);
        }
    }
    Ok(tasklets.iter().filter(|tasklet| tasklet.is_finished()).count())
}

/// Waits for the first of these tasklets to end, and returns its place; the others run on.
///
/// ```
/// use overlapped::{first_completed, sleep, spawn};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let ask = |server: &'static str, pause| {
///         spawn(move || {
///             sleep(Duration::from_millis(pause));
///             server
///         })
///     };
///     let mut answers = vec![ask("far", 60_000), ask("near", 1)];
///     let quickest = first_completed(&answers)?;
///     assert_eq!(answers.swap_remove(quickest).join().unwrap(), "near");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Where the calling tasklet is told to leave: [`is_cancelled`](crate::is_cancelled), or `TimedOut`. `InvalidInput` where
/// there are no tasklets.
pub fn first_completed<J: Join>(tasklets: &[J]) -> io::Result<usize> {
    if tasklets.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no first of no tasklets"));
    }
    let ends = Ends::of(tasklets);
    let mut first = ends.ended.getting();
    first_of(&mut [&mut first])?;
    Ok(first.take().and_then(Result::ok).expect("the queue is never closed"))
}

/// An iterator over these tasklets' results, each as it ends, with the tasklet's place among them.
///
/// A limit to the whole is a [`timeout`](crate::timeout()) round it: a wait of the iterator that is told to leave unwinds.
/// The tasklets that are left when it is dropped run on.
///
/// Those of a [`scope`](crate::scope()) may be among them, as for [`wait`] and [`first_completed`]: a panic whose result is taken
/// here is not the scope's.
///
/// ```
/// use overlapped::{as_completed, sleep, spawn};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let slow_and_quick = [40, 1].map(|pause| spawn(move || sleep(Duration::from_millis(pause))));
///     let order: Vec<usize> = as_completed(slow_and_quick).map(|(place, _)| place).collect();
///     assert_eq!(order, [1, 0]);
/// });
/// ```
pub fn as_completed<J: Join>(tasklets: impl IntoIterator<Item = J>) -> AsCompleted<J> {
    let ended = Queue::new();
    let watch = |(number, tasklet): (usize, J)| {
        let place = tasklet.watch(&ended, number);
        Some((tasklet, place))
    };
    let tasklets: Vec<_> = tasklets.into_iter().enumerate().map(watch).collect();
    AsCompleted { left: tasklets.len(), tasklets, ended }
}

/// What [`as_completed`] returns.
pub struct AsCompleted<J: Join> {
    tasklets: Vec<Option<(J, Place)>>,
    left: usize,
    ended: Queue<usize>,
}

impl<J: Join> AsCompleted<J> {
    /// The tasklets whose results were not taken, in their order.
    pub fn into_pending(mut self) -> Vec<J> {
        self.leave()
    }

    fn leave(&mut self) -> Vec<J> {
        let left = self.tasklets.drain(..).flatten();
        left.inspect(|(tasklet, place)| tasklet.unwatch(*place)).map(|(tasklet, _)| tasklet).collect()
    }
}

impl<J: Join> Drop for AsCompleted<J> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<J: Join> Iterator for AsCompleted<J> {
    type Item = (usize, Result<J::Output, JoinError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let number = loop {
            match self.ended.get() {
                Ok(number) => break number,
                // It is told again here, where there is no place for it in the result: this unwinds.
                Err(_) => yield_now(),
            }
        };
        self.left -= 1;
        let (tasklet, place) = self.tasklets[number].take().expect("a tasklet ends once");
        tasklet.unwatch(place);
        Some((number, tasklet.join()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<J: Join> ExactSizeIterator for AsCompleted<J> {}

impl<J: Join> fmt::Debug for AsCompleted<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish()
    }
}

/// Runs `function` to its end though the calling tasklet is told to leave meanwhile; returns what it returns.
///
/// It runs in a tasklet of its own. The caller waits for its end whatever it is told, and its next wait tells it. Other than
/// [`uncancellable`](crate::uncancellable), for which the cleanup limit counts, it is not told at all, but by the end of
/// [`run`](crate::run). (Rejected: to let the caller leave at once. Nobody would be there for its failure, and what it works
/// on would be closed under it.)
///
/// ```
/// use overlapped::{shield, sleep, spawn};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let saves = spawn(|| {
///         shield(|| {
///             sleep(Duration::from_millis(5));
///             "saved"
///         })
///     });
///     overlapped::yield_now();
///     saves.cancel();
///     assert_eq!(saves.join().unwrap(), "saved");
/// });
/// ```
///
/// # Panics
/// With the panic of `function`, and as [`spawn`].
#[track_caller]
pub fn shield<T: 'static>(function: impl FnOnce() -> T + 'static) -> T {
    let tasklet = spawn(function);
    tasklet.await_end();
    match tasklet.join() {
        Ok(value) => value,
        Err(error) => match error.into_panic() {
            Ok(payload) => resume_unwind(payload),
            Err(error) => {
                // It was the end of `run`, and so it is for this one.
                yield_now();
                panic!("overlapped::shield: {error}");
            }
        },
    }
}
