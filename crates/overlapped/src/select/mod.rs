//! Waiting for the first of several things.
//!
//! Each thing is a *branch*. First each is asked, in order, whether it is there already. Where none is, all are listed where
//! they wait, under one ticket for all. When the ticket has been claimed, every branch takes its place back, and one of them
//! finds that it was served.
//!
//! [`first_of`] is the function, for a number of branches that is known when it runs; [`select!`](crate::select!) is the
//! macro over it, whose arms are given what the first has brought.
//!
//! **Fair or in order.** `first_of` takes the first in the list of those that are ready, and says so: a stop before the
//! work. `select!` begins at a place that is drawn anew each time, from a generator of the thread's, so that a branch which
//! is always ready leaves the others their share; `biased` keeps the order. (Rejected: a counter that goes on by one. Two
//! `select!`s that take turns, with two branches each, would begin at the same place always.) The generator begins with the
//! same number in each thread: a run can be repeated.
//!
//! **The macro's patterns** have to match, or there is an `else`. (Rejected: tokio's rule, by which what does not match is
//! dropped and the others are waited for. A value is gone then, without a word.) The branches are gone before an arm's body
//! runs, which so can use what they had borrowed.
//!
//! **Operations as branches.** What is ready is waited for ([`readable`](crate::readable()), where it is said why), and the
//! operation follows.

pub mod arms;

use std::io;
use std::time::{Duration, Instant};

use overlapped_port::sim::now;

use crate::interrupt::{Interrupted, Telling};
use crate::scheduler::{park, passed, told};
use crate::ticket::Ticket;
use crate::time::deadline_after;

/// One of several things to wait for with [`first_of`]: what [`Channel::receiving`](crate::Channel::receiving),
/// [`Channel::sending`](crate::Channel::sending), [`Queue::getting`](crate::Queue::getting),
/// [`Queue::putting`](crate::Queue::putting), [`Event::waiting`](crate::Event::waiting),
/// [`Semaphore::acquiring`](crate::Semaphore::acquiring), [`JoinHandle::finishing`](crate::JoinHandle::finishing),
/// [`readable`](crate::readable()), [`writable`](crate::writable()) and [`after`] return.
///
/// A `&mut` of a branch is one: it is there still when another was the first. So is an `Option`; `None` never comes.
#[allow(private_bounds, reason = "the branches there are, are this crate's")]
pub trait Branch: Listed {
    /// What it brings.
    type Output
    where
        Self: Sized;

    /// What it has brought, once [`first_of`] has named it: what [`select!`](crate::select!) gives to its arm.
    ///
    /// # Panics
    /// Where it was not the first, or this was called before, and there is something to bring.
    fn output(&mut self) -> Self::Output
    where
        Self: Sized;
}

/// What the first has brought.
#[track_caller]
pub(crate) fn first<T>(brought: Option<T>) -> T {
    brought.expect("overlapped::Branch::output: ask the one that was the first, and once")
}

/// What [`first_of`] does with a branch.
pub(crate) trait Listed {
    /// Takes what is there; whether something was. It is in no line.
    fn take_now(&mut self) -> bool;
    /// Joins the line, with the ticket; false where there is something to take by now.
    fn list(&mut self, ticket: &Ticket) -> bool;
    /// When to be asked again, where it comes by the clock.
    fn deadline(&self) -> Option<Instant> {
        None
    }
    /// Asks for the end of what has to be waited for when it is to leave.
    fn cancel(&mut self) {}
    /// Takes its place back, if it has one; whether it was served there.
    fn leave(&mut self) -> bool;
}

/// The wait for some time to pass, as one of several: see [`first_of`]. The time counts from here on; once it has passed,
/// this is ready always.
///
/// ```
/// use overlapped::{Queue, after, first_of};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let lines: Queue<String> = Queue::new();
///     let mut idle = after(Duration::from_millis(5));
///     assert_eq!(first_of(&mut [&mut lines.getting(), &mut idle])?, 1);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub fn after(duration: Duration) -> After {
    After { deadline: deadline_after(duration) }
}

/// A wait for some time to pass, as one of several.
#[derive(Debug)]
pub struct After {
    deadline: Instant,
}

impl Branch for After {
    type Output = ();

    fn output(&mut self) {}
}

impl Listed for After {
    fn take_now(&mut self) -> bool {
        now() >= self.deadline
    }

    fn list(&mut self, _: &Ticket) -> bool {
        true
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }

    fn leave(&mut self) -> bool {
        false
    }
}

impl<B: Branch + ?Sized> Listed for &mut B {
    fn take_now(&mut self) -> bool {
        (**self).take_now()
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        (**self).list(ticket)
    }

    fn deadline(&self) -> Option<Instant> {
        (**self).deadline()
    }

    fn cancel(&mut self) {
        (**self).cancel();
    }

    fn leave(&mut self) -> bool {
        (**self).leave()
    }
}

impl<B: Branch> Branch for &mut B {
    type Output = B::Output;

    fn output(&mut self) -> B::Output {
        (**self).output()
    }
}

impl<B: Branch> Listed for Option<B> {
    fn take_now(&mut self) -> bool {
        self.as_mut().is_some_and(Listed::take_now)
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        self.as_mut().is_none_or(|branch| branch.list(ticket))
    }

    fn deadline(&self) -> Option<Instant> {
        self.as_ref().and_then(Listed::deadline)
    }

    fn cancel(&mut self) {
        if let Some(branch) = self {
            branch.cancel();
        }
    }

    fn leave(&mut self) -> bool {
        self.as_mut().is_some_and(Listed::leave)
    }
}

impl<B: Branch> Branch for Option<B> {
    type Output = B::Output;

    fn output(&mut self) -> B::Output {
        first(self.as_mut()).output()
    }
}

/// Waits for the first of `branches`, and returns its place. Of several that are ready the first in the list is taken.
/// Nothing is taken from the others, however close they were.
///
/// ```
/// use overlapped::{Event, channel, first_of, spawn};
/// overlapped::run(|| {
///     let (numbers, stop) = (channel(), Event::new());
///     let sender = numbers.clone();
///     spawn(move || sender.send(7));
///     let (mut number, mut stopped) = (numbers.receiving(), stop.waiting());
///     match first_of(&mut [&mut number, &mut stopped])? {
///         0 => assert_eq!(number.take(), Some(Ok(7))),
///         _ => unreachable!("nobody sets the event"),
///     }
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Where the tasklet is told to leave: [`is_cancelled`](crate::is_cancelled), or `TimedOut`. Nothing was taken then.
pub fn first_of(branches: &mut [&mut dyn Branch]) -> io::Result<usize> {
    first_of_as(branches, "the first of several")
}

/// As [`first_of`]; `waits_for` is what a listing of the tasklets shows.
///
/// # Errors
/// As for [`first_of`].
pub fn first_of_as(branches: &mut [&mut dyn Branch], waits_for: &'static str) -> io::Result<usize> {
    passed(Telling::Error).map_err(told)?;
    loop {
        if let Some(place) = take_first(branches) {
            return Ok(place);
        }
        if let Some(place) = wait_listed(branches, waits_for).map_err(told)? {
            return Ok(place);
        }
    }
}

/// Takes what the first has that has something.
fn take_first(branches: &mut [&mut dyn Branch]) -> Option<usize> {
    branches.iter_mut().position(|branch| branch.take_now())
}

/// Waits until one is served, and returns its place; or until they are to be asked again.
fn wait_listed(branches: &mut [&mut dyn Branch], waits_for: &'static str) -> Result<Option<usize>, Interrupted> {
    let ticket = Ticket::default();
    for branch in &mut *branches {
        if !branch.list(&ticket) {
            ticket.claim();
        }
        if ticket.is_claimed() {
            break;
        }
    }
    let deadline = branches.iter().filter_map(|branch| branch.deadline()).min();
    let mut waited = Ok(());
    while !ticket.is_claimed() {
        waited = park(deadline, waits_for);
        if waited.is_err() || deadline.is_some_and(|deadline| now() >= deadline) {
            // Whoever has claimed it before has served.
            ticket.claim();
        }
    }
    branches.iter_mut().for_each(|branch| branch.cancel());
    let mut first = None;
    for (place, branch) in branches.iter_mut().enumerate() {
        if branch.leave() {
            first = Some(place);
        }
    }
    match first {
        Some(place) => Ok(Some(place)),
        None => waited.map(|()| None),
    }
}
