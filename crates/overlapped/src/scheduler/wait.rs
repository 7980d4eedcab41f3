//! The wait of a tasklet for an operation.

use std::io;

use overlapped_port::{Outcome, TimerId};

use super::id::TaskletId;
use crate::interrupt::Level;

/// What one operation of a tasklet has come to.
pub(super) struct Wait {
    pub(super) tasklet: TaskletId,
    pub(super) result: Option<io::Result<Outcome>>,
    pub(super) expired: bool,
    /// Nobody waits any more: the completion frees the slot.
    pub(super) abandoned: bool,
    pub(super) early: Option<Box<Early>>,
}

/// What a wait has to remember that may end before its operation has. It is with the wait and not on the stack, which may be
/// copied at every switch.
#[derive(Default)]
pub(super) struct Early {
    /// The level that stood already when it began.
    pub(super) told: Option<Level>,
    pub(super) timer: Option<TimerId>,
    pub(super) clean_up: Option<TimerId>,
    pub(super) stopped: Stopped,
    pub(super) may_be_left: bool,
}

/// Why an operation was cancelled.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stopped {
    #[default]
    No,
    Deadline,
    Told(Level),
}
