//! What was attempted when an error came, beside the error.
//!
//! `open /etc/shadow: Permission denied` says more than `Permission denied`. But [`io::Error`] has either the system's number
//! or words of ours, and programs match on the number ([`io::Error::raw_os_error`]: `EMFILE` at an accept, `ENXIO` at a fifo),
//! some of them without knowing that their sockets are not the standard library's. An error type of our own beside
//! `io::Error` would fit no trait of [`std::io`], and words in the error with the number in its source, which this was once,
//! hide the number from everyone who does not know to look there. So the error is the system's, as it came, and the words are
//! kept beside it: by thread, for its last [`KEPT`] failures, and [`attempted`] finds them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;

use crate::scheduler::{self, TaskletId};

/// How many failures a thread remembers. A tasklet looks at its error soon, but others may fail meanwhile.
const KEPT: usize = 64;

/// One failure: whose, the system's number, and what was attempted.
struct Failure {
    tasklet: Option<TaskletId>,
    number: i32,
    what: String,
}

thread_local! {
    /// The newest is the last.
    static FAILURES: RefCell<VecDeque<Failure>> = const { RefCell::new(VecDeque::new()) };
}

fn this_tasklet() -> Option<TaskletId> {
    scheduler::try_current().map(|scheduler| scheduler.current_tasklet())
}

/// An error with what the calling tasklet attempted when it came: `open /etc/shadow: Permission denied (os error 13)`.
///
/// The error itself is the system's, so that its number is there ([`io::Error::raw_os_error`]); what was attempted is
/// remembered beside it, for the last 64 failures of the thread. Ask soon: this tells of the last call of this crate
/// that failed with that number in this tasklet. Where there was none, it is the error's own text.
///
/// ```
/// overlapped::run(|| {
///     let error = overlapped::fs::File::open("/no/such/file").unwrap_err();
///     assert!(error.raw_os_error().is_some());
///     assert!(overlapped::attempted(&error).starts_with("open /no/such/file: "));
/// });
/// ```
pub fn attempted(error: &io::Error) -> String {
    let tasklet = this_tasklet();
    let what = error.raw_os_error().and_then(|number| {
        FAILURES.with_borrow(|failures| {
            let ours = |failure: &&Failure| failure.tasklet == tasklet && failure.number == number;
            failures.iter().rev().find(ours).map(|failure| failure.what.clone())
        })
    });
    match what {
        Some(what) => format!("{what}: {error}"),
        None => error.to_string(),
    }
}

/// An error without a number, with what was attempted: `connect to 192.0.2.1:80: connect timed out`.
#[derive(Debug)]
struct Attempt {
    what: String,
    error: io::Error,
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

impl std::error::Error for Attempt {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Notes what was attempted when the system answered with this error, which stays as it is. A time-out, which has no number,
/// gets the words into its text. Errors that are not about the attempt (an interrupt to be passed on, no scheduler) are left
/// alone.
pub(crate) fn attempt(error: io::Error, what: impl FnOnce() -> String) -> io::Error {
    if let Some(number) = error.raw_os_error() {
        let failure = Failure { tasklet: this_tasklet(), number, what: what() };
        // A thread that is ending has nobody left to ask.
        let _ = FAILURES.try_with(|failures| {
            let mut failures = failures.borrow_mut();
            if failures.len() == KEPT {
                failures.pop_front();
            }
            failures.push_back(failure);
        });
        return error;
    }
    if error.kind() == io::ErrorKind::TimedOut {
        return io::Error::new(error.kind(), Attempt { what: what(), error });
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(number: i32, what: &str) -> io::Error {
        attempt(io::Error::from_raw_os_error(number), || what.to_owned())
    }

    #[test]
    fn the_last_failure_with_that_number_is_told_and_the_number_stays() {
        let (two, three) = (fail(2, "open a"), fail(3, "open b"));
        assert_eq!((two.raw_os_error(), three.raw_os_error()), (Some(2), Some(3)));
        assert!(attempted(&two).starts_with("open a: "), "{}", attempted(&two));
        assert!(attempted(&three).starts_with("open b: "));
        fail(2, "open c");
        assert!(attempted(&two).starts_with("open c: "));
        let stranger = io::Error::from_raw_os_error(4);
        assert_eq!(attempted(&stranger), stranger.to_string());
        std::thread::spawn(move || assert_eq!(attempted(&two), two.to_string(), "another thread's")).join().unwrap();
    }

    #[test]
    fn what_is_remembered_does_not_grow() {
        let first = fail(5, "the first");
        (0..KEPT).for_each(|_| drop(fail(6, "another")));
        assert_eq!(attempted(&first), first.to_string());
        assert_eq!(FAILURES.with_borrow(VecDeque::len), KEPT);
    }

    #[test]
    fn a_time_out_says_in_its_own_text_what_it_was() {
        let error = attempt(io::Error::new(io::ErrorKind::TimedOut, "too late"), || "connect to x".to_owned());
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::TimedOut, "connect to x: too late".to_owned()));
        let refused = attempt(io::Error::other("no scheduler"), || unreachable!("it is not about the attempt"));
        assert_eq!(refused.to_string(), "no scheduler");
    }
}
