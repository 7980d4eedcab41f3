//! How much the next receive on a socket is likely to bring, from what the last ones brought. Only a hint, by the socket's
//! number: nothing is wrong when it is, or when the number is another socket's by now.

use std::cell::RefCell;

use overlapped_port::sys::RawSocket;

/// What counts as much: measured on an echo of 4 KiB messages over 500 connections, the copy of such a message and its cache
/// misses cost a seventh of the whole request.
const MUCH: u32 = 1 << 10;

/// Numbers from here on have no hint: Windows's may be far apart.
const NUMBERS: usize = 1 << 20;

#[derive(Clone, Copy, Default)]
struct Expectation {
    /// At least what the last receive brought; more where those before it did.
    bytes: u32,
    /// How many receives have begun.
    begun: u32,
}

impl Expectation {
    /// A receive has brought so much: a lesser amount is believed by and by, for messages differ.
    fn learn(&mut self, brought: u32) {
        self.bytes = brought.max(self.bytes - self.bytes.saturating_sub(brought).div_ceil(4));
    }
}

/// The hints of one thread: how much the next receive on a socket is likely to bring.
#[derive(Default)]
pub struct Expectations(RefCell<Vec<Expectation>>);

impl Expectations {
    /// A receive begins: how many bytes it is likely to bring, where these are many; and a number that is another one after the next
    /// has begun.
    pub fn begin(&self, socket: RawSocket) -> (Option<usize>, u32) {
        match self.0.borrow_mut().get_mut(socket as usize) {
            Some(expectation) => {
                expectation.begun = expectation.begun.wrapping_add(1);
                ((expectation.bytes >= MUCH).then_some(expectation.bytes as usize), expectation.begun)
            }
            None => (None, 0),
        }
    }

    /// The number that the last receive had.
    pub fn begun(&self, socket: RawSocket) -> u32 {
        self.0.borrow().get(socket as usize).map_or(0, |expectation| expectation.begun)
    }

    /// A receive has brought so many bytes.
    pub fn end(&self, socket: RawSocket, brought: usize) {
        let (mut all, index) = (self.0.borrow_mut(), socket as usize);
        let brought = u32::try_from(brought).unwrap_or(u32::MAX);
        if index >= all.len() {
            if brought < MUCH || index >= NUMBERS {
                return;
            }
            all.resize(index + 1, Expectation::default());
        }
        all[index].learn(brought);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_is_expected_after_much_and_little_only_after_little_for_a_while() {
        let expectations = Expectations::default();
        assert_eq!(expectations.begin(7).0, None);
        expectations.end(7, 64);
        assert_eq!(expectations.begin(7).0, None, "little needs no memory");
        expectations.end(7, 4096);
        assert_eq!(expectations.begin(7).0, Some(4096));
        expectations.end(7, 64);
        assert_eq!(expectations.begin(7).0, Some(3088));
        (0..10).for_each(|_| expectations.end(7, 64));
        assert_eq!(expectations.begin(7).0, None);
    }

    #[test]
    fn each_that_begins_is_seen_by_those_that_have() {
        let expectations = Expectations::default();
        expectations.end(3, 4096);
        let (_, first) = expectations.begin(3);
        assert_eq!(expectations.begun(3), first);
        expectations.begin(3);
        assert_ne!(expectations.begun(3), first);
    }

    #[test]
    fn a_wild_number_costs_no_memory() {
        let expectations = Expectations::default();
        expectations.end(!0, 1 << 20);
        expectations.end(NUMBERS as RawSocket, 1 << 20);
        assert!(expectations.0.borrow().is_empty());
    }
}
