//! A socket on its way, as its giver and as the journal hold it.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::scheduler::told;
use crate::sync::{Event, Permit};
use crate::workers::sys::OwnedSocket;

/// A socket on its way: see [`Server::give`](super::Server::give). Dropped, it goes on; what comes back is closed then.
#[derive(Debug)]
#[must_use = "a socket that no worker takes is closed if nobody waits for it; `drop` says that this is meant"]
pub struct Giving(pub(super) Rc<Outcome>);

impl Giving {
    /// Waits until a worker has taken the socket over, and returns its process's number.
    ///
    /// # Errors
    /// [`NotTaken`] where as many as may be asked did not, or the server has stopped: the socket and its bytes come
    /// back. Where the tasklet is told to leave, without them: they stay on their way.
    pub fn wait(self) -> Result<u32, NotTaken> {
        if let Err(interrupted) = self.0.is_known.wait_until(None) {
            return Err(NotTaken { error: told(interrupted), given: None });
        }
        self.0.result.take().expect("it is known")
    }

    /// Whether it is known what has become of it, so that [`Giving::wait`] does not wait.
    pub fn is_known(&self) -> bool {
        self.0.is_known.is_set()
    }
}

/// A socket that was not given, or that no worker has taken over.
#[derive(Debug)]
pub struct NotTaken {
    /// Why.
    pub error: io::Error,
    /// The socket and its context; `None` where a tasklet that waited was told to leave, and they are on their way
    /// still.
    pub given: Option<(OwnedSocket, Vec<u8>)>,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a socket was not handed over: {}", self.error)
    }
}

impl std::error::Error for NotTaken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<NotTaken> for io::Error {
    fn from(not_taken: NotTaken) -> io::Error {
        not_taken.error
    }
}

#[derive(Default)]
pub(super) struct Outcome {
    is_known: Event,
    result: RefCell<Option<Result<u32, NotTaken>>>,
}

impl Outcome {
    pub(super) fn tell(&self, result: Result<u32, NotTaken>) {
        *self.result.borrow_mut() = Some(result);
        self.is_known.set();
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("is_known", &self.is_known.is_set()).finish()
    }
}

/// What is in the journal: the server's copy of a socket.
pub(super) struct Gift {
    pub(super) socket: OwnedSocket,
    pub(super) context: Vec<u8>,
    pub(super) outcome: Rc<Outcome>,
    /// Given back to whoever waits for room.
    pub(super) _room: Permit,
}

impl Gift {
    /// Back to whoever gave it; where nobody waits, that closes it.
    pub(super) fn came_back(gift: Rc<Gift>, why: &str) {
        let error = io::Error::new(io::ErrorKind::ConnectionAborted, why);
        let (outcome, given) = match Rc::try_unwrap(gift) {
            Ok(Gift { socket, context, outcome, .. }) => (outcome, Some((socket, context))),
            // The writer is in the middle of sending it, to a worker that is not heard any more.
            Err(gift) => {
                let copy = gift.socket.try_clone().ok().map(|socket| (socket, gift.context.clone()));
                (Rc::clone(&gift.outcome), copy)
            }
        };
        outcome.tell(Err(NotTaken { error, given }));
    }
}
