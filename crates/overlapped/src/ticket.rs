//! One claim for which several possible wakers of a waiting tasklet compete.
//!
//! A tasklet that waits for several things is in several lists, of which each has a lock of its own, and threads that serve
//! from two of them at once know nothing of each other. So who wants to serve it claims its ticket first, and only one
//! can: what the others have goes to the next in their line, and nothing is given to somebody who has enough. A deadline,
//! and a tasklet that is told to leave, claim it as well: after that nothing comes any more. (Rejected: to take from the
//! first and give back what else came. A value that is given back to a channel has lost its place, and its sender has gone
//! on.)
//!
//! Who waits for one thing alone has no ticket, and pays nothing.
//!
//! **Two that wait for several things each** can be what the other waits for: one would send where the other receives. Then
//! both tickets had to be claimed at once. So whoever serves is in no line itself: it looks first, and is listed after
//! that; and where somebody has come meanwhile whom it could serve, from another thread, it leaves all lines and looks
//! again. (Rejected: to claim one's own ticket, then the other's, and take the first claim back where that fails: who finds
//! a claimed ticket passes it over, for good.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::scheduler::Waiter;

/// The claim; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Ticket(Arc<AtomicBool>);

impl Ticket {
    /// Claims it: true for one caller alone.
    pub(crate) fn claim(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Whoever can be served from a list.
pub(crate) trait Claims {
    /// Whether it may be served now; it then has to be.
    fn claim(&self) -> bool;
    /// Whether it could be served by whoever has `ticket`: it has not been, and is not the same.
    fn waits_beside(&self, ticket: &Ticket) -> bool;
}

/// One in a list: who waits, and the ticket where it waits for other things too.
pub(crate) struct Claimant {
    pub(crate) waiter: Waiter,
    ticket: Option<Ticket>,
}

impl Claimant {
    /// The one that calls, which waits for this alone.
    pub(crate) fn current() -> Claimant {
        Claimant { waiter: Waiter::current(), ticket: None }
    }

    /// The one that calls, with a ticket.
    pub(crate) fn with(ticket: &Ticket) -> Claimant {
        Claimant { waiter: Waiter::current(), ticket: Some(ticket.clone()) }
    }
}

/// Wakes those that were served together.
pub(crate) fn wake_all(served: Vec<Claimant>) {
    served.into_iter().for_each(|claimant| claimant.waiter.wake());
}

impl Claims for Claimant {
    fn claim(&self) -> bool {
        self.ticket.as_ref().is_none_or(Ticket::claim)
    }

    fn waits_beside(&self, ticket: &Ticket) -> bool {
        self.ticket.as_ref().is_none_or(|own| !own.is_claimed() && !Arc::ptr_eq(&own.0, &ticket.0))
    }
}

impl<T> Claims for (Claimant, T) {
    fn claim(&self) -> bool {
        self.0.claim()
    }

    fn waits_beside(&self, ticket: &Ticket) -> bool {
        self.0.waits_beside(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_threads_one_claims_it() {
        let ticket = Ticket::default();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let ticket = ticket.clone();
                std::thread::spawn(move || usize::from(ticket.claim()))
            })
            .collect();
        assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 1);
        assert!(ticket.is_claimed() && !ticket.claim());
    }
}
