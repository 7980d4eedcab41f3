//! Waiting for the first of several things.
//!
//! Each thing is a *branch*: it takes what is there, or is listed where it waits, under one ticket for all. When the
//! ticket has been claimed, every branch takes its place back, and one of them finds that it was served.

use std::io;
use std::time::{Duration, Instant};

use crate::interrupt::Telling;
use crate::scheduler::{park, pass_on, passed};
use crate::ticket::Ticket;
use crate::time::deadline_after;

/// One of several things to wait for with [`first_of`]: what [`Channel::receiving`](crate::Channel::receiving),
/// [`Queue::getting`](crate::Queue::getting), [`Event::waiting`](crate::Event::waiting),
/// [`Semaphore::acquiring`](crate::Semaphore::acquiring), [`JoinHandle::finishing`](crate::JoinHandle::finishing) and
/// [`timer`] return.
#[allow(private_bounds, reason = "the branches there are, are this crate's")]
pub trait Branch: Listed {}

/// What [`first_of`] does with a branch.
pub(crate) trait Listed {
    /// Takes what is there, with the ticket, or joins the line.
    fn list(&mut self, ticket: &Ticket);
    /// When to list it again, where it comes by the clock.
    fn deadline(&self) -> Option<Instant> {
        None
    }
    /// Takes its place back, if it has one; whether something was taken.
    fn leave(&mut self) -> bool;
}

/// The wait for some time to pass, as one of several: see [`first_of`]. The time counts from here on; once it has passed,
/// the timer is ready always.
///
/// ```
/// use overlapped::{Queue, first_of, timer};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let lines: Queue<String> = Queue::new();
///     let mut idle = timer(Duration::from_millis(5));
///     assert_eq!(first_of(&mut [&mut lines.getting(), &mut idle])?, 1);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub fn timer(duration: Duration) -> Timer {
    Timer { deadline: deadline_after(duration), taken: false }
}

/// A wait for some time to pass, as one of several.
#[derive(Debug)]
pub struct Timer {
    deadline: Instant,
    taken: bool,
}

impl Branch for Timer {}

impl Listed for Timer {
    fn list(&mut self, ticket: &Ticket) {
        self.taken = Instant::now() >= self.deadline && ticket.claim();
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }

    fn leave(&mut self) -> bool {
        std::mem::take(&mut self.taken)
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
    let told = |interrupted| {
        pass_on(&interrupted);
        io::Error::from(interrupted)
    };
    passed(Telling::Error).map_err(told)?;
    let ticket = Ticket::default();
    for branch in &mut *branches {
        branch.list(&ticket);
        if ticket.is_claimed() {
            break;
        }
    }
    let deadline = branches.iter().filter_map(|branch| branch.deadline()).min();
    let mut waited = Ok(());
    while !ticket.is_claimed() {
        waited = park(deadline, "the first of several");
        if waited.is_err() {
            // Whoever has claimed it before has served.
            ticket.claim();
        } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            branches.iter_mut().filter(|branch| branch.deadline().is_some()).for_each(|branch| branch.list(&ticket));
        }
    }
    let mut first = None;
    for (place, branch) in branches.iter_mut().enumerate() {
        if branch.leave() {
            first = Some(place);
        }
    }
    match (first, waited) {
        (Some(place), _) => Ok(place),
        (None, Err(interrupted)) => Err(told(interrupted)),
        (None, Ok(())) => unreachable!("who claims a ticket serves"),
    }
}
