//! Waiting for the first of several things.
//!
//! Each thing is a *branch*. First each is asked, in order, whether it is there already. Where none is, all are listed where
//! they wait, under one ticket for all. When the ticket has been claimed, every branch takes its place back, and one of them
//! finds that it was served.

use std::io;
use std::time::{Duration, Instant};

use crate::interrupt::{Interrupted, Telling};
use crate::scheduler::{park, pass_on, passed};
use crate::ticket::Ticket;
use crate::time::deadline_after;

/// One of several things to wait for with [`first_of`]: what [`Channel::receiving`](crate::Channel::receiving),
/// [`Channel::sending`](crate::Channel::sending), [`Queue::getting`](crate::Queue::getting),
/// [`Queue::putting`](crate::Queue::putting), [`Event::waiting`](crate::Event::waiting),
/// [`Semaphore::acquiring`](crate::Semaphore::acquiring), [`JoinHandle::finishing`](crate::JoinHandle::finishing),
/// [`readable`](crate::readable()), [`writable`](crate::writable()) and [`after`] return.
#[allow(private_bounds, reason = "the branches there are, are this crate's")]
pub trait Branch: Listed {}

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

impl Branch for After {}

impl Listed for After {
    fn take_now(&mut self) -> bool {
        Instant::now() >= self.deadline
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
    let told = |interrupted| {
        pass_on(&interrupted);
        io::Error::from(interrupted)
    };
    passed(Telling::Error).map_err(told)?;
    loop {
        if let Some(place) = branches.iter_mut().position(|branch| branch.take_now()) {
            return Ok(place);
        }
        if let Some(place) = wait_listed(branches, waits_for).map_err(told)? {
            return Ok(place);
        }
    }
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
        if waited.is_err() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
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
