//! Turns at a file's own position.
//!
//! Reads and writes without an offset go on where the one before ended (the contract at the top of [`backend`]). What is
//! done at once is over before the next begins. But once one has gone to a thread, perhaps with a part of it moved, the
//! next must not be done at once however much of it is in the cache: it goes to a thread too, and waits there until those
//! before it have ended. The threads take their work in the order in which it was given to them, so the one whose turn
//! it is has a thread, and those behind it wait for the disk and for nothing else.
//!
//! Rejected: to queue here what waits for a turn, and hand it out when the one before has ended. The end of a thread's work is
//! the port's to know, and what it would hand out, the pool's to run: a second way through both for the rare case.
//!
//! [`backend`]: crate::backend

use std::collections::{BTreeSet, HashMap};
use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The files on whose position somebody waits or works.
#[derive(Default)]
pub(super) struct Turns(HashMap<RawFd, Arc<Line>>);

impl Turns {
    /// Whether somebody is before us.
    pub(super) fn is_taken(&mut self, fd: RawFd) -> bool {
        let taken = self.0.get(&fd).is_some_and(|line| !line.numbers().is_empty());
        if !taken {
            self.0.remove(&fd);
        }
        taken
    }

    /// The turn behind all that were taken before.
    pub(super) fn take(&mut self, fd: RawFd) -> Turn {
        let line = Arc::clone(self.0.entry(fd).or_default());
        let mut numbers = line.numbers();
        let number = numbers.last().map_or(0, |last| last + 1);
        numbers.insert(number);
        drop(numbers);
        Turn { line, number }
    }
}

/// The turns that were taken and have not ended.
#[derive(Default)]
struct Line {
    numbers: Mutex<BTreeSet<u64>>,
    ended: Condvar,
}

impl Line {
    fn numbers(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a line; it ends when this is dropped, whether or not it came.
pub(super) struct Turn {
    line: Arc<Line>,
    number: u64,
}

impl Turn {
    /// Waits until all before it have ended.
    pub(super) fn wait(&self) {
        let not_yet = |numbers: &mut BTreeSet<u64>| numbers.first() != Some(&self.number);
        drop(self.line.ended.wait_while(self.line.numbers(), not_yet).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.line.numbers().remove(&self.number);
        self.line.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn turns_come_in_the_order_in_which_they_were_taken() {
        for _ in 0..20 {
            let mut turns = Turns::default();
            let first = turns.take(3);
            let (sender, came) = mpsc::channel();
            for number in 0..4 {
                let (turn, sender) = (turns.take(3), sender.clone());
                std::thread::spawn(move || {
                    turn.wait();
                    sender.send(number).unwrap();
                });
            }
            assert!(came.try_recv().is_err(), "the first has not ended");
            drop(first);
            for number in 0..4 {
                assert_eq!(came.recv_timeout(PATIENCE), Ok(number));
            }
        }
    }

    #[test]
    fn who_leaves_before_its_turn_is_not_waited_for() {
        let mut turns = Turns::default();
        let (first, second, third) = (turns.take(3), turns.take(3), turns.take(3));
        assert!(turns.is_taken(3) && !turns.is_taken(4));
        drop(second);
        drop(first);
        third.wait();
        drop(third);
        assert!(!turns.is_taken(3));
    }
}
