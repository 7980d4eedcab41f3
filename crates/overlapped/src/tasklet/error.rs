//! Why a tasklet has no result.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use crate::interrupt::Interrupted;

/// Why a tasklet has no result.
pub struct JoinError(pub(super) Ending);

pub(super) enum Ending {
    /// The lock is there for errors that are shared between threads: a payload itself may not be.
    Panicked {
        payload: Mutex<Box<dyn Any + Send>>,
        was_told: bool,
    },
    Cancelled,
    /// It returned an error, which its group has.
    Failed,
    /// It was cancelled, and has not ended.
    Overdue,
    /// The system gave no stack for it: it never began.
    NoStack(io::Error),
    /// The system gave no thread for what it was to run there.
    NoThread(io::Error),
    /// The joiner itself was told to leave.
    Interrupted(Interrupted),
}

impl JoinError {
    /// Whether the tasklet panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0, Ending::Panicked { .. })
    }

    /// Whether the tasklet was cancelled, and ended for that: by unwinding, or by a panic after one of its waits had told
    /// it (an `unwrap` of the error, say).
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0, Ending::Cancelled | Ending::Panicked { was_told: true, .. })
    }

    /// Whether the tasklet was cancelled and has not ended within the cleanup limit
    /// ([`Config::cleanup`](crate::Config::cleanup)) and a second: a destructor may wait for what never comes. It goes on
    /// by itself.
    pub fn is_overdue(&self) -> bool {
        matches!(self.0, Ending::Overdue)
    }

    /// Whether the tasklet, a member of a [`Group`](crate::Group), returned an error: the group has it.
    pub fn is_failure(&self) -> bool {
        matches!(self.0, Ending::Failed)
    }

    /// Whether it was the joining tasklet that was told to leave, and the other one has not ended.
    pub fn is_interrupted(&self) -> bool {
        matches!(self.0, Ending::Interrupted(_))
    }

    /// The payload of the tasklet's panic, to be looked at or thrown again with
    /// [`resume_unwind`](std::panic::resume_unwind).
    ///
    /// # Errors
    /// The error itself where the tasklet did not panic.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.0 {
            Ending::Panicked { payload, .. } => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            ending => Err(JoinError(ending)),
        }
    }
}

impl JoinError {
    /// For a member whose error its group has.
    pub(crate) fn failed() -> JoinError {
        JoinError(Ending::Failed)
    }

    /// For one whose function found no thread to run on.
    pub(crate) fn no_thread(error: io::Error) -> JoinError {
        JoinError(Ending::NoThread(error))
    }

    /// For one that returned because it was told to end.
    pub(crate) fn cancelled() -> JoinError {
        JoinError(Ending::Cancelled)
    }

    /// The payload for somebody else; its text, if it has one, is what stays.
    pub(crate) fn split_panic(self) -> Result<(Box<dyn Any + Send>, JoinError), JoinError> {
        let Ending::Panicked { payload, was_told } = self.0 else { return Err(self) };
        let payload = payload.into_inner().unwrap_or_else(PoisonError::into_inner);
        let copy: Box<dyn Any + Send> = match text_of(&*payload) {
            Some(text) => Box::new(text.to_owned()),
            None => Box::new(()),
        };
        Ok((payload, JoinError(Ending::Panicked { payload: Mutex::new(copy), was_told })))
    }
}

/// What a panic said.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ending::Cancelled => f.write_str("the tasklet was cancelled"),
            Ending::Failed => f.write_str("the tasklet returned an error, which its group has"),
            Ending::Overdue => f.write_str("the tasklet was cancelled and has not ended within the cleanup limit"),
            Ending::NoStack(error) => write!(f, "the tasklet could not begin, for want of a stack: {error}"),
            Ending::NoThread(error) => write!(f, "the function could not begin, for want of a thread: {error}"),
            Ending::Interrupted(interrupted) => write!(f, "the wait for the tasklet was given up: {interrupted}"),
            Ending::Panicked { payload, .. } => {
                let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                match text_of(&**payload) {
                    Some(text) => write!(f, "the tasklet panicked: {text}"),
                    None => f.write_str("the tasklet panicked"),
                }
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        match error.0 {
            // It is about the caller, and so [`is_cancelled`](crate::is_cancelled) has to know it.
            Ending::Interrupted(interrupted) => interrupted.into(),
            ending => io::Error::other(JoinError(ending)),
        }
    }
}
