//! Which connection is on its way to which worker: decisions without I/O.
//!
//! A connection that a worker gave away *waits*, is *sent* to another one, and leaves the book when that says that it has
//! taken it over. Until then it is here, whatever becomes of the worker. Where the hand-off's journal has places with a
//! line each, workers come and go here: the newest get what an old one gives, for an old one would soon give it away
//! again. In a restart they come one after the other, so each gets what those before it have got already, and all have
//! about as many in the end; how many a worker has accepted itself is not known here.

use std::collections::{BTreeMap, VecDeque};

/// How many workers may die with a connection on its way to them before it is given up: they may have died of it.
const DEATHS: u32 = 8;

/// A worker that takes connections, and how new it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taker {
    pub(super) worker: u64,
    pub(super) generation: u64,
}

/// What a worker cannot have meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotYours(pub(super) u64);

struct Entry<T> {
    moved: T,
    /// How many workers have died with it, and who had it last.
    deaths: u32,
    last: Option<u64>,
}

pub(super) struct Book<T> {
    entries: BTreeMap<u64, Entry<T>>,
    waiting: VecDeque<u64>,
    /// What each worker was sent and has not confirmed.
    sent: BTreeMap<u64, Vec<u64>>,
    /// How many each worker was sent and has not given back.
    given: BTreeMap<u64, u64>,
    next: u64,
    /// How many a worker may have of those.
    limit: usize,
}

impl<T> Book<T> {
    pub(super) fn new(limit: usize) -> Book<T> {
        let (entries, waiting, sent, given) = Default::default();
        Book { entries, waiting, sent, given, next: 0, limit }
    }

    /// Writes a connection down, with the worker that gave it.
    pub(super) fn add(&mut self, moved: T, from: u64) {
        self.entries.insert(self.next, Entry { moved, deaths: 0, last: Some(from) });
        self.waiting.push_back(self.next);
        self.next += 1;
    }

    /// How many are on their way.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many a worker has not confirmed.
    pub(super) fn unconfirmed(&self, worker: u64) -> usize {
        self.sent.get(&worker).map_or(0, Vec::len)
    }

    /// Chooses who gets the first of those that wait: of the newest ones with room, the one that has been given fewest; not
    /// the one that had it last, where there is another. Returns the worker, the number, and what is to be sent.
    pub(super) fn send(&mut self, takers: &[Taker]) -> Option<(u64, u64, &T)> {
        let number = *self.waiting.front()?;
        let last = self.entries[&number].last;
        let with_room = takers.iter().filter(|taker| self.unconfirmed(taker.worker) < self.limit);
        let chosen = with_room.max_by_key(|taker| {
            let given = self.given.get(&taker.worker).copied().unwrap_or(0);
            let fewest = std::cmp::Reverse((given, taker.worker));
            (Some(taker.worker) != last, taker.generation, fewest)
        });
        let worker = chosen?.worker;
        self.waiting.pop_front();
        self.sent.entry(worker).or_default().push(number);
        *self.given.entry(worker).or_default() += 1;
        let entry = self.entries.get_mut(&number).expect("what waits is written down");
        entry.last = Some(worker);
        Some((worker, number, &entry.moved))
    }

    /// A worker has taken a connection over: it leaves the book.
    pub(super) fn taken(&mut self, worker: u64, number: u64) -> Result<T, NotYours> {
        self.leaves(worker, number)?;
        Ok(self.entries.remove(&number).expect("what was sent is written down").moved)
    }

    /// A worker does not take a connection: it waits again, however often.
    pub(super) fn back(&mut self, worker: u64, number: u64) -> Result<(), NotYours> {
        self.leaves(worker, number)?;
        self.given.entry(worker).and_modify(|given| *given -= 1);
        // It has waited longest.
        self.waiting.push_front(number);
        Ok(())
    }

    fn leaves(&mut self, worker: u64, number: u64) -> Result<(), NotYours> {
        let sent = self.sent.get_mut(&worker).ok_or(NotYours(number))?;
        let at = sent.iter().position(|sent| *sent == number).ok_or(NotYours(number))?;
        sent.remove(at);
        Ok(())
    }

    /// A worker is no more: what it has not confirmed waits again. Returns what too many have died with.
    pub(super) fn ended(&mut self, worker: u64) -> Vec<T> {
        self.given.remove(&worker);
        let sent = self.sent.remove(&worker).unwrap_or_default();
        sent.into_iter().rev().filter_map(|number| self.outlived(number)).collect()
    }

    fn outlived(&mut self, number: u64) -> Option<T> {
        let entry = self.entries.get_mut(&number).expect("what was sent is written down");
        entry.deaths += 1;
        if entry.deaths < DEATHS {
            self.waiting.push_front(number);
            return None;
        }
        self.entries.remove(&number).map(|entry| entry.moved)
    }

    /// Takes everything out.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.waiting.clear();
        self.sent.clear();
        std::mem::take(&mut self.entries).into_values().map(|entry| entry.moved).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takers(of: &[(u64, u64)]) -> Vec<Taker> {
        of.iter().map(|(worker, generation)| Taker { worker: *worker, generation: *generation }).collect()
    }

    fn send_all(book: &mut Book<&'static str>, takers: &[Taker]) -> Vec<(u64, &'static str)> {
        std::iter::from_fn(|| book.send(takers).map(|(worker, _, moved)| (worker, *moved))).collect()
    }

    #[test]
    fn the_newest_get_what_waits_and_of_those_the_one_that_has_fewest() {
        let mut book = Book::new(2);
        ["a", "b", "c", "d", "e", "f"].into_iter().for_each(|name| book.add(name, 9));
        let sent = send_all(&mut book, &takers(&[(1, 1), (2, 2), (3, 2)]));
        assert_eq!(
            sent,
            [(2, "a"), (3, "b"), (2, "c"), (3, "d"), (1, "e"), (1, "f")],
            "the old one where none has room"
        );
        assert_eq!((book.len(), book.unconfirmed(2)), (6, 2));
        assert!(book.send(&[]).is_none());
    }

    #[test]
    fn who_comes_later_gets_what_those_before_have_got_already() {
        let mut book = Book::new(9);
        ["a", "b"].into_iter().for_each(|name| book.add(name, 9));
        send_all(&mut book, &takers(&[(1, 2)]));
        (0..2).for_each(|number| assert!(book.taken(1, number).is_ok()));
        ["c", "d", "e", "f"].into_iter().for_each(|name| book.add(name, 9));
        let both = takers(&[(1, 2), (2, 2)]);
        assert_eq!(send_all(&mut book, &both), [(2, "c"), (2, "d"), (1, "e"), (2, "f")]);
        // What was given back does not count.
        book.back(2, 5).unwrap();
        book.add("g", 9);
        assert_eq!(send_all(&mut book, &both), [(1, "f"), (2, "g")]);
    }

    #[test]
    fn what_a_dead_worker_had_not_confirmed_goes_to_others_in_its_order() {
        let mut book = Book::new(9);
        ["a", "b", "c"].into_iter().for_each(|name| book.add(name, 9));
        send_all(&mut book, &takers(&[(1, 1)]));
        assert_eq!(book.taken(1, 1), Ok("b"));
        book.add("d", 9);
        assert!(book.ended(1).is_empty());
        assert_eq!(send_all(&mut book, &takers(&[(2, 1)])), [(2, "a"), (2, "c"), (2, "d")]);
    }

    #[test]
    fn nobody_confirms_what_he_does_not_have() {
        let mut book = Book::new(9);
        book.add("a", 9);
        assert_eq!(book.taken(1, 0), Err(NotYours(0)), "it was not sent");
        send_all(&mut book, &takers(&[(1, 1)]));
        assert_eq!(book.taken(2, 0), Err(NotYours(0)), "it is another's");
        assert_eq!(book.back(1, 5), Err(NotYours(5)), "there is none");
        assert_eq!(book.taken(1, 0), Ok("a"));
        assert_eq!(book.taken(1, 0), Err(NotYours(0)), "it is gone");
    }

    #[test]
    fn what_comes_back_goes_to_somebody_else_first_and_is_never_given_up() {
        let mut book = Book::new(9);
        book.add("a", 9);
        let (mut been, takers) = (Vec::new(), takers(&[(1, 1), (2, 2)]));
        for _ in 0..100 {
            let (worker, number, _) = book.send(&takers).unwrap();
            been.push(worker);
            book.back(worker, number).unwrap();
        }
        assert_eq!(been, [2, 1].repeat(50));
        assert_eq!(book.len(), 1);
        assert_eq!(book.clear(), ["a"]);
        assert!(book.send(&takers).is_none());
    }

    #[test]
    fn what_eight_workers_have_died_with_comes_out() {
        let mut book = Book::new(9);
        book.add("a", 9);
        for worker in 1..=8 {
            let (_, number, _) = book.send(&takers(&[(worker, 1)])).unwrap();
            book.back(worker, number).unwrap();
            book.send(&takers(&[(worker, 1)])).unwrap();
            let out = book.ended(worker);
            assert_eq!(out, if worker == 8 { vec!["a"] } else { vec![] }, "worker {worker}");
        }
        assert_eq!(book.len(), 0);
    }
}
