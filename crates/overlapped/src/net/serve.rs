//! Serving on all threads of a run: what the listeners' `serve` have in common.
//!
//! One tasklet accepts, and gives each connection to the thread that has the fewest tasklets ([`crate::threads`]).
//!
//! Rejected: a listener for each thread with `SO_REUSEPORT` (socket(7)), where the kernel chooses by a hash of the
//! addresses. Few connections then lie as chance has it, a thread that holds a long tasklet gets as many as the others,
//! connections that wait in the line of a listener that is closed are reset, and Windows has no such thing. Rejected
//! too: an accept of each thread on the same listener. Whoever is awake takes what there is, now and then all of it. In
//! the benchmarks' scene `threads` a connection that is served and closed costs the same processor time by either,
//! within some percent, and one that stays is served where it was given: by one acceptor, in equal numbers.
//!
//! Listeners of named pipes have no such call: a pipe belongs to the port that waited for its client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::interrupt::Interrupted;
use crate::tasklet::Builder;
use crate::time::sleep;

/// How long to accept nothing where there is no descriptor, or no stack, for the next connection: it stays in the
/// system's queue.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until that fails for good, and has each served wherever there is the least to do.
pub(super) fn serve<S: Send + 'static, A: Send + 'static, R: 'static>(
    accept: impl Fn() -> io::Result<(S, A)>,
    handler: impl Fn(S, A) -> R + Send + Sync + 'static,
) -> io::Result<()> {
    let handler = Arc::new(handler);
    Err(accept_each(accept, ends, |(stream, address)| {
        let handler = Arc::clone(&handler);
        Builder::new().spawn_anywhere(move || drop(handler(stream, address))).map(drop)
    }))
}

/// Takes connections and hands each to `take`, until an error `ends` it, which is returned. Others pass, as where `take` can
/// begin nothing for want of a stack.
pub(crate) fn accept_each<C>(
    accept: impl Fn() -> io::Result<C>,
    ends: impl Fn(&io::Error) -> bool,
    take: impl Fn(C) -> io::Result<()>,
) -> io::Error {
    loop {
        match accept() {
            Ok(connection) => {
                if take(connection).is_err() {
                    sleep(PAUSE);
                }
            }
            Err(error) if ends(&error) => return error,
            // It concerns the connection that was to come.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => sleep(PAUSE),
        }
    }
}

/// Whether nothing more is to be had: the tasklet is told to leave, the accept time-out is up, or the listener is none
/// any more.
fn ends(error: &io::Error) -> bool {
    Interrupted::is(error) || matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::InvalidInput)
}
