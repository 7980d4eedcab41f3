//! Waiting for what a socket is ready for, beside other things.
//!
//! Only readiness is waited for, and nothing taken: what has come to a socket stays there until the winner receives or
//! accepts it, so that a branch which was not the first has nothing to lose. (Rejected: an accept or a receive as a branch.
//! One that was cancelled too late has a connection, or bytes, for which nobody asks any more; to give them back, the
//! handle would have to keep them, for whoever asks next and in whatever way.)
//!
//! The poll is the port's, and is over when [`first_of`](crate::first_of) returns: a loser's is cancelled, and its
//! completion awaited, as of every operation.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;

use overlapped_port::Interest;
use overlapped_port::sys::{AsSocket, RawSocket, is_ready, lent_socket};

use crate::scheduler::{self, NoUnwind, Started};
use crate::select::{Branch, Listed, first};
use crate::ticket::Ticket;

/// The wait until a receive or an accept on `socket` would find something, as one of several: see
/// [`first_of`](crate::first_of). The end of a stream and an error are something too. Nothing is taken; where several
/// tasklets receive from one socket, another may be faster, and the receive waits again.
///
/// ```
/// use overlapped::net::{TcpListener, TcpStream};
/// use overlapped::{Event, first_of, readable};
/// overlapped::run(|| {
///     let (listener, stop) = (TcpListener::bind("127.0.0.1:0")?, Event::new());
///     let _client = TcpStream::connect(listener.local_addr()?)?;
///     match first_of(&mut [&mut stop.waiting(), &mut readable(&listener)])? {
///         1 => drop(listener.accept()?),
///         _ => unreachable!("nobody sets the event"),
///     }
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub fn readable(socket: &impl AsSocket) -> Ready<'_> {
    Ready::new(lent_socket(socket), Interest::READABLE)
}

/// The wait until a send on `socket` would find room, as one of several: see [`first_of`](crate::first_of). An error is told
/// so too, by the send.
pub fn writable(socket: &impl AsSocket) -> Ready<'_> {
    Ready::new(lent_socket(socket), Interest::WRITABLE)
}

/// A wait until a socket is ready, as one of several.
pub struct Ready<'a> {
    socket: RawSocket,
    interest: Interest,
    poll: Option<Poll>,
    ended: Option<io::Result<()>>,
    borrowed: PhantomData<&'a ()>,
}

/// One that is in flight.
struct Poll {
    scheduler: Rc<scheduler::Scheduler>,
    started: Started,
    landing: Rc<Landing>,
    in_flight: NoUnwind,
}

/// Where its completion arrives.
#[derive(Default)]
struct Landing {
    has_landed: Cell<bool>,
    /// Where it has claimed the ticket.
    first: RefCell<Option<io::Result<()>>>,
}

impl Ready<'_> {
    fn new<'a>(socket: RawSocket, interest: Interest) -> Ready<'a> {
        Ready { socket, interest, poll: None, ended: None, borrowed: PhantomData }
    }

    /// As [`readable`] and [`writable`], of a socket that nobody borrows.
    ///
    /// # Safety
    /// It is open, and the caller's to use, whenever this is waited for.
    #[allow(unsafe_code, reason = "the caller makes the promise")]
    pub unsafe fn of(socket: RawSocket, interest: Interest) -> Ready<'static> {
        Ready::new(socket, interest)
    }

    /// How the wait has ended, once [`first_of`](crate::first_of) has named this.
    ///
    /// # Errors
    /// In the result: what the system says where it could not be waited for.
    pub fn take(&mut self) -> Option<io::Result<()>> {
        self.ended.take()
    }
}

impl Branch for Ready<'_> {
    type Output = io::Result<()>;

    fn output(&mut self) -> io::Result<()> {
        first(self.take())
    }
}

impl Listed for Ready<'_> {
    fn take_now(&mut self) -> bool {
        let asks = |interest| self.interest.contains(interest);
        if self.ended.is_none() && is_ready(self.socket, asks(Interest::READABLE), asks(Interest::WRITABLE)) {
            self.ended = Some(Ok(()));
        }
        self.ended.is_some()
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let scheduler = match scheduler::current() {
            Ok(scheduler) => scheduler,
            Err(nowhere) => {
                self.ended = Some(Err(nowhere));
                return false;
            }
        };
        let (landing, ticket, waits) = (Rc::<Landing>::default(), ticket.clone(), scheduler.current_tasklet());
        let lands = Rc::clone(&landing);
        let in_flight = NoUnwind("poll");
        let started = scheduler.start_poll(self.socket, self.interest, move |scheduler, result| {
            if ticket.claim() {
                lands.first.replace(Some(result));
            }
            lands.has_landed.set(true);
            scheduler.wake(waits);
        });
        self.poll = Some(Poll { scheduler, started, landing, in_flight });
        true
    }

    fn cancel(&mut self) {
        if let Some(poll) = &self.poll {
            poll.scheduler.cancel(poll.started);
        }
    }

    fn leave(&mut self) -> bool {
        let Some(poll) = self.poll.take() else { return false };
        while !poll.landing.has_landed.get() {
            poll.scheduler.park_until(None, "poll");
        }
        poll.in_flight.over();
        self.ended = poll.landing.first.take();
        self.ended.is_some()
    }
}

impl fmt::Debug for Ready<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("interest", &self.interest).field("ended", &self.ended).finish()
    }
}
