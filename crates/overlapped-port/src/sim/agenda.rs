//! What happens when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A list of what is due, in order of time; of what is due at the same time, in the order in which it was put there.
pub(super) struct Agenda<T> {
    due: BinaryHeap<Reverse<Due<T>>>,
    count: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Agenda<T> {
        Agenda { due: BinaryHeap::new(), count: 0 }
    }
}

struct Due<T> {
    at: u64,
    number: u64,
    what: T,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Due<T>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Due<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Due<T>) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> Agenda<T> {
    /// Puts down what is due at `at`, in nanoseconds.
    pub(super) fn add(&mut self, at: u64, what: T) {
        self.count += 1;
        self.due.push(Reverse(Due { at, number: self.count, what }));
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<u64> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    pub(super) fn take(&mut self) -> Option<T> {
        self.due.pop().map(|Reverse(due)| due.what)
    }

    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.count = 0;
    }
}
