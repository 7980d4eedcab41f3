//! What a completion is for, in the 64 bits that the port hands back.

use super::id::TaskletId;

/// What a completion is for.
pub(super) enum Token {
    /// An operation of a tasklet: a slot in `waits`.
    Operation(u32),
    /// The time of such an operation is up.
    Deadline(u32),
    /// A tasklet is to be woken.
    Wake(TaskletId),
    /// A timer's function is due: a slot in `callbacks`.
    Callback(u32),
    /// Another thread has left functions to be called.
    Calls,
    /// An operation that calls back: a slot in `flights`.
    Flight(u32),
}

impl Token {
    pub(super) fn pack(self) -> u64 {
        match self {
            Token::Operation(slot) => u64::from(slot) << 3,
            Token::Deadline(slot) => u64::from(slot) << 3 | 1,
            Token::Wake(id) => id.pack() << 3 | 2,
            Token::Callback(slot) => u64::from(slot) << 3 | 3,
            Token::Calls => 4,
            Token::Flight(slot) => u64::from(slot) << 3 | 5,
        }
    }

    pub(super) fn unpack(token: u64) -> Token {
        let rest = token >> 3;
        match token & 7 {
            0 => Token::Operation(rest as u32),
            1 => Token::Deadline(rest as u32),
            2 => Token::Wake(TaskletId::unpack(rest)),
            3 => Token::Callback(rest as u32),
            5 => Token::Flight(rest as u32),
            _ => Token::Calls,
        }
    }
}
