//! Pools: groups in which so many run at a time.
//!
//! A member has a place, one of a [`Semaphore`]'s, before it is started, and gives it back as the last thing of its tasklet.
//! So whoever starts members waits, and there are never more tasklets, nor stacks, than places. (Rejected: to start all and
//! have them wait for places, which takes a stack for each and holds back no producer; a fixed set of workers that take jobs
//! from a queue, whose results need a way back.)

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::iter::Fuse;
use std::rc::Rc;

use crate::group::Group;
use crate::sync::{Permit, Queue, Semaphore};
use crate::tasklet::{Builder, JoinHandle, yield_now};

/// A [`Group`] in which at most so many members run at a time; clones are the same pool.
///
/// ```
/// use overlapped::{Pool, sleep};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let lengths: Vec<usize> = Pool::run(2, |pool| {
///         let fetch = |url: &str| {
///             sleep(Duration::from_millis(1));
///             url.len()
///         };
///         pool.map(["a", "bb", "ccc"], fetch).collect()
///     });
///     assert_eq!(lengths, [1, 2, 3]);
/// });
/// ```
pub struct Pool<E = Infallible> {
    group: Group<E>,
    places: Semaphore,
    limit: usize,
}

impl Pool {
    /// Runs `body` with a pool of `limit` places, as [`Group::run`] does.
    ///
    /// # Panics
    /// As [`Group::run`], and where there would be no place.
    pub fn run<R>(limit: usize, body: impl FnOnce(&Pool) -> R) -> R {
        Group::run(|group| body(&Pool::of(group, limit)))
    }
}

impl<E: 'static> Pool<E> {
    /// As [`Pool::run`], for a body and members that may fail with an error: see [`Group::try_run`].
    ///
    /// # Errors
    /// As for [`Group::try_run`].
    ///
    /// # Panics
    /// As [`Pool::run`].
    pub fn try_run<R>(limit: usize, body: impl FnOnce(&Pool<E>) -> Result<R, E>) -> Result<R, E> {
        Group::try_run(|group| body(&Pool::of(group, limit)))
    }

    fn of(group: &Group<E>, limit: usize) -> Pool<E> {
        assert!(limit > 0, "overlapped::Pool::run: a pool without places would run nothing");
        Pool { group: group.clone(), places: Semaphore::new(limit), limit }
    }

    /// Starts a member, waiting for a place. A member that starts others holds its own meanwhile: in a pool that is full of
    /// those, all wait for ever.
    ///
    /// # Panics
    /// As [`Group::spawn`].
    #[track_caller]
    pub fn spawn<T: 'static>(&self, function: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        self.start(self.places.acquire(), move || Ok(function()))
    }

    /// As [`Pool::spawn`], for a member that may fail: see [`Group::try_spawn`].
    ///
    /// # Panics
    /// As [`Group::spawn`].
    #[track_caller]
    pub fn try_spawn<T: 'static>(&self, function: impl FnOnce() -> Result<T, E> + 'static) -> JoinHandle<T> {
        self.start(self.places.acquire(), function)
    }

    #[track_caller]
    fn start<T: 'static>(&self, place: Permit, function: impl FnOnce() -> Result<T, E> + 'static) -> JoinHandle<T> {
        let started = self.group.start(Builder::new(), function, place);
        started.unwrap_or_else(|error| panic!("overlapped::Pool::spawn: {error}"))
    }

    /// An iterator over `function` of each item, in the order of the items. A member runs for each, as many at a time as the
    /// pool has places, from the first `next` on; one that panics ends the pool's block.
    pub fn map<I: IntoIterator, F, R: 'static>(&self, items: I, function: F) -> Map<I::IntoIter, F, R, E>
    where
        I::Item: 'static,
        F: Fn(I::Item) -> R + 'static,
    {
        Map {
            pool: self.clone(),
            items: items.into_iter().fuse(),
            function: Rc::new(function),
            running: VecDeque::new(),
        }
    }

    /// As [`Pool::map`], but each result as it comes.
    pub fn map_unordered<I: IntoIterator, F, R: 'static>(
        &self,
        items: I,
        function: F,
    ) -> MapUnordered<I::IntoIter, F, R, E>
    where
        I::Item: 'static,
        F: Fn(I::Item) -> R + 'static,
    {
        let (items, function) = (items.into_iter().fuse(), Rc::new(function));
        MapUnordered { pool: self.clone(), items, function, results: Queue::new(), running: 0 }
    }

    /// A place for one more of `running` members of an iterator; where there are none yet, it is waited for.
    fn place(&self, running: usize) -> Option<Permit> {
        match running {
            0 => Some(self.places.acquire()),
            _ if running < self.limit => self.places.try_acquire(),
            _ => None,
        }
    }

    /// The group that the members belong to.
    pub fn group(&self) -> &Group<E> {
        &self.group
    }
}

/// What [`Pool::map`] returns.
#[must_use = "nothing runs before the first result is asked for"]
pub struct Map<I: Iterator, F, R, E = Infallible> {
    pool: Pool<E>,
    items: Fuse<I>,
    function: Rc<F>,
    running: VecDeque<JoinHandle<R>>,
}

impl<I: Iterator, F, R: 'static, E: 'static> Iterator for Map<I, F, R, E>
where
    I::Item: 'static,
    F: Fn(I::Item) -> R + 'static,
{
    type Item = R;

    fn next(&mut self) -> Option<R> {
        while let Some(place) = self.pool.place(self.running.len()) {
            let Some(item) = self.items.next() else { break };
            let function = Rc::clone(&self.function);
            self.running.push_back(self.pool.start(place, move || Ok(function(item))));
        }
        match self.running.pop_front()?.join() {
            Ok(value) => Some(value),
            Err(error) => {
                // Its group ends, and so does whoever asks here: this unwinds.
                yield_now();
                panic!("overlapped::Pool::map: {error}");
            }
        }
    }
}

/// What [`Pool::map_unordered`] returns.
#[must_use = "nothing runs before the first result is asked for"]
pub struct MapUnordered<I: Iterator, F, R, E = Infallible> {
    pool: Pool<E>,
    items: Fuse<I>,
    function: Rc<F>,
    results: Queue<R>,
    running: usize,
}

impl<I: Iterator, F, R: 'static, E: 'static> Iterator for MapUnordered<I, F, R, E>
where
    I::Item: 'static,
    F: Fn(I::Item) -> R + 'static,
{
    type Item = R;

    fn next(&mut self) -> Option<R> {
        while let Some(place) = self.pool.place(self.running) {
            let Some(item) = self.items.next() else { break };
            let (function, results) = (Rc::clone(&self.function), self.results.clone());
            self.pool.start(place, move || {
                results.try_put(function(item)).unwrap_or_else(|_| unreachable!("it has room"));
                Ok(())
            });
            self.running += 1;
        }
        if self.running == 0 {
            return None;
        }
        loop {
            match self.results.get() {
                Ok(value) => {
                    self.running -= 1;
                    return Some(value);
                }
                // It is told again here, where there is no place for it in the result: this unwinds.
                Err(_) => yield_now(),
            }
        }
    }
}

impl<E> Clone for Pool<E> {
    fn clone(&self) -> Pool<E> {
        Pool { group: self.group.clone(), places: self.places.clone(), limit: self.limit }
    }
}

impl<E> fmt::Debug for Pool<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("group", &self.group).field("limit", &self.limit).finish()
    }
}

impl<I: Iterator, F, R, E> fmt::Debug for Map<I, F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

impl<I: Iterator, F, R, E> fmt::Debug for MapUnordered<I, F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapUnordered").field("running", &self.running).finish_non_exhaustive()
    }
}
