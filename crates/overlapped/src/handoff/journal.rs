//! Who has which socket, and who gets the next: decisions without I/O.
//!
//! A socket that was given *waits*, is *assigned* to a worker, is *sent* to it, and leaves the journal when that says
//! it has taken it over. Until then it is here, whatever becomes of the worker. Workers have *places*, which stay when
//! the process in one is replaced.
//!
//! The line of those that wait is looked through from the front for one whose worker has room: linear, but it is no
//! longer than all limits together, and only sockets with a key let others pass.

use std::collections::{BTreeMap, VecDeque};

/// Which worker gets a socket, of those that have room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// The one with the fewest sockets that it has not taken over yet; of several, the one that has taken fewest so
    /// far.
    #[default]
    LeastBusy,
    /// One after the other.
    RoundRobin,
}

/// What a worker cannot have meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotYours(pub(super) u64);

pub(super) struct Journal<T> {
    places: Vec<Place>,
    entries: BTreeMap<u64, Entry<T>>,
    /// In the order in which they are to be assigned.
    waiting: VecDeque<u64>,
    /// The number of the next socket.
    next: u64,
    /// The place that round robin begins at.
    turn: usize,
    choice: Choice,
    limit: usize,
    attempts: u32,
}

#[derive(Clone, Default)]
struct Place {
    ready: bool,
    assigned: VecDeque<u64>,
    sent: Vec<u64>,
    taken: u64,
}

impl Place {
    fn unconfirmed(&self) -> usize {
        self.assigned.len() + self.sent.len()
    }
}

struct Entry<T> {
    given: T,
    key: Option<u64>,
    /// How many workers it was sent to, and which was the last.
    attempts: u32,
    last: Option<usize>,
}

impl<T> Journal<T> {
    /// For so many workers, of which each has at most `limit` unconfirmed; a socket is sent to `attempts` of them at
    /// most.
    pub(super) fn new(places: usize, choice: Choice, limit: usize, attempts: u32) -> Journal<T> {
        Journal {
            places: vec![Place::default(); places],
            entries: BTreeMap::new(),
            waiting: VecDeque::new(),
            next: 0,
            turn: 0,
            choice,
            limit,
            attempts,
        }
    }

    /// Writes a socket down. One with a key goes to that key's place only.
    pub(super) fn add(&mut self, given: T, key: Option<u64>) {
        let number = self.next;
        self.next += 1;
        self.entries.insert(number, Entry { given, key, attempts: 0, last: None });
        self.waiting.push_back(number);
    }

    /// Whether no socket is unconfirmed.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many sockets are unconfirmed.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many a worker has not confirmed, and how many it has in all.
    pub(super) fn counts(&self, place: usize) -> (usize, u64) {
        (self.places[place].unconfirmed(), self.places[place].taken)
    }

    /// The worker in a place takes sockets from now on.
    pub(super) fn ready(&mut self, place: usize) {
        self.places[place].ready = true;
    }

    /// Assigns the next socket that can be, and says to which place.
    pub(super) fn assign(&mut self) -> Option<usize> {
        let (at, place) = self.waiting.iter().enumerate().find_map(|(at, number)| Some((at, self.choose(*number)?)))?;
        let number = self.waiting.remove(at).expect("it was there");
        self.places[place].assigned.push_back(number);
        self.turn = (place + 1) % self.places.len();
        Some(place)
    }

    fn choose(&self, number: u64) -> Option<usize> {
        let entry = &self.entries[&number];
        let has_room = |place: &usize| self.places[*place].ready && self.places[*place].unconfirmed() < self.limit;
        if let Some(key) = entry.key {
            return Some((key % self.places.len() as u64) as usize).filter(has_room);
        }
        let count = self.places.len();
        // From the turn on, so that equal ones take turns as well.
        let open = || (0..count).map(|step| (self.turn + step) % count).filter(has_room);
        let others = || open().filter(|place| Some(*place) != entry.last);
        let best = |mut places: &mut dyn Iterator<Item = usize>| match self.choice {
            Choice::RoundRobin => places.next(),
            Choice::LeastBusy => {
                (&mut places).min_by_key(|place| (self.places[*place].unconfirmed(), self.places[*place].taken))
            }
        };
        // One who did not take it is asked again only where there is nobody else.
        best(&mut others()).or_else(|| best(&mut open()))
    }

    /// The next socket that is to be sent to a worker: its number, and what was given. It counts as sent.
    pub(super) fn send(&mut self, place: usize) -> Option<(u64, &T)> {
        let number = self.places[place].assigned.pop_front()?;
        self.places[place].sent.push(number);
        let entry = self.entries.get_mut(&number).expect("what is assigned is written down");
        entry.attempts += 1;
        entry.last = Some(place);
        Some((number, &entry.given))
    }

    /// A worker has taken a socket over: it leaves the journal.
    pub(super) fn taken(&mut self, place: usize, number: u64) -> Result<T, NotYours> {
        self.leaves(place, number)?;
        self.places[place].taken += 1;
        Ok(self.entries.remove(&number).expect("what was sent is written down").given)
    }

    /// A worker does not want a socket: it goes to the next, or out of the journal where it has been to enough of them.
    pub(super) fn back(&mut self, place: usize, number: u64) -> Result<Option<T>, NotYours> {
        self.leaves(place, number)?;
        Ok(self.again(number))
    }

    fn leaves(&mut self, place: usize, number: u64) -> Result<(), NotYours> {
        let sent = &mut self.places[place].sent;
        let at = sent.iter().position(|sent| *sent == number).ok_or(NotYours(number))?;
        sent.remove(at);
        Ok(())
    }

    fn again(&mut self, number: u64) -> Option<T> {
        if self.entries[&number].attempts < self.attempts {
            // It has waited longest.
            self.waiting.push_front(number);
            return None;
        }
        self.entries.remove(&number).map(|entry| entry.given)
    }

    /// The worker in a place is no more: what it has not confirmed goes to the next ones. Returns what has been to
    /// enough of them.
    pub(super) fn ended(&mut self, place: usize) -> Vec<T> {
        let place = &mut self.places[place];
        place.ready = false;
        let unsent = std::mem::take(&mut place.assigned);
        let sent = std::mem::take(&mut place.sent);
        for number in unsent.into_iter().rev() {
            self.waiting.push_front(number);
        }
        sent.into_iter().rev().filter_map(|number| self.again(number)).collect()
    }

    /// Takes everything out.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.waiting.clear();
        for place in &mut self.places {
            place.assigned.clear();
            place.sent.clear();
        }
        std::mem::take(&mut self.entries).into_values().map(|entry| entry.given).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(places: usize, choice: Choice, limit: usize) -> Journal<&'static str> {
        let mut journal = Journal::new(places, choice, limit, 3);
        (0..places).for_each(|place| journal.ready(place));
        journal
    }

    fn add_all(journal: &mut Journal<&'static str>, given: &[&'static str]) {
        given.iter().for_each(|given| journal.add(given, None));
    }

    fn assign_all(journal: &mut Journal<&'static str>) -> Vec<usize> {
        std::iter::from_fn(|| journal.assign()).collect()
    }

    fn send_all(journal: &mut Journal<&'static str>, place: usize) -> Vec<(u64, &'static str)> {
        std::iter::from_fn(|| journal.send(place).map(|(number, given)| (number, *given))).collect()
    }

    fn take_all(journal: &mut Journal<&'static str>, place: usize) {
        for (number, _) in send_all(journal, place) {
            journal.taken(place, number).unwrap();
        }
    }

    #[test]
    fn what_a_dead_worker_had_not_confirmed_goes_to_the_others_in_its_order_before_what_came_later() {
        let mut journal = journal(2, Choice::RoundRobin, 10);
        add_all(&mut journal, &["a", "b", "c", "d", "e"]);
        assert_eq!(assign_all(&mut journal), [0, 1, 0, 1, 0]);
        assert_eq!(journal.send(0).unwrap(), (0, &"a"));
        assert_eq!(journal.send(0).unwrap(), (2, &"c"));
        assert_eq!(journal.taken(0, 0), Ok("a"));
        add_all(&mut journal, &["f"]);
        assert!(journal.ended(0).is_empty());
        assert_eq!(assign_all(&mut journal), [1, 1, 1]);
        assert_eq!(send_all(&mut journal, 1), [(1, "b"), (3, "d"), (2, "c"), (4, "e"), (5, "f")]);
        for number in 1..=5 {
            journal.taken(1, number).unwrap();
        }
        assert!(journal.is_empty());
    }

    #[test]
    fn nobody_confirms_or_gives_back_what_he_does_not_have() {
        let mut journal = journal(2, Choice::RoundRobin, 10);
        add_all(&mut journal, &["a"]);
        assert_eq!(journal.assign(), Some(0));
        assert_eq!(journal.taken(0, 0), Err(NotYours(0)), "it was not sent");
        journal.send(0);
        assert_eq!(journal.taken(1, 0), Err(NotYours(0)), "it is another's");
        assert_eq!(journal.back(0, 9), Err(NotYours(9)), "there is none");
        assert_eq!(journal.taken(0, 0), Ok("a"));
        assert_eq!(journal.taken(0, 0), Err(NotYours(0)), "it is gone");
    }

    #[test]
    fn a_full_worker_gets_no_more_until_it_confirms() {
        let mut journal = journal(1, Choice::LeastBusy, 2);
        add_all(&mut journal, &["a", "b", "c"]);
        assert_eq!(assign_all(&mut journal), [0, 0]);
        send_all(&mut journal, 0);
        assert_eq!(journal.assign(), None);
        journal.taken(0, 1).unwrap();
        assert_eq!(journal.assign(), Some(0));
        assert_eq!((journal.counts(0), journal.len()), ((2, 1), 2));
    }

    #[test]
    fn the_least_busy_worker_is_chosen_and_of_equals_the_one_that_has_taken_least() {
        let mut journal = journal(3, Choice::LeastBusy, 10);
        add_all(&mut journal, &["a", "b", "c"]);
        let mut places = assign_all(&mut journal);
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2]);
        let (number, _) = journal.send(1).unwrap();
        add_all(&mut journal, &["d"]);
        journal.taken(1, number).unwrap();
        assert_eq!(journal.assign(), Some(1), "it has none");
        take_all(&mut journal, 2);
        take_all(&mut journal, 1);
        add_all(&mut journal, &["e"]);
        assert_eq!(journal.assign(), Some(2), "it has taken one, the other two");
    }

    #[test]
    fn a_key_goes_to_its_place_and_waits_for_it_while_others_pass() {
        let mut journal = journal(3, Choice::RoundRobin, 10);
        journal.ended(2);
        journal.add("keyed", Some(5));
        journal.add("free", None);
        assert_eq!(assign_all(&mut journal), [0], "the free one");
        journal.ready(2);
        assert_eq!(assign_all(&mut journal), [2]);
        assert_eq!(send_all(&mut journal, 2), [(0, "keyed")]);
    }

    #[test]
    fn what_is_given_back_goes_to_somebody_else_first_and_out_after_the_last_attempt() {
        let mut journal = journal(2, Choice::LeastBusy, 10);
        add_all(&mut journal, &["a"]);
        let mut been = Vec::new();
        loop {
            let place = journal.assign().unwrap();
            been.push(place);
            let (number, _) = journal.send(place).unwrap();
            if let Some(given) = journal.back(place, number).unwrap() {
                assert_eq!(given, "a");
                break;
            }
        }
        assert_eq!(been.len(), 3);
        assert!(been[0] != been[1] && been[1] != been[2], "{been:?}");
        assert!(journal.is_empty());
    }

    #[test]
    fn what_kills_every_worker_comes_out_and_what_was_never_sent_stays() {
        let mut journal = journal(1, Choice::LeastBusy, 2);
        add_all(&mut journal, &["poison", "innocent"]);
        for attempt in 1..=3 {
            assert_eq!(assign_all(&mut journal), [0, 0]);
            journal.send(0).unwrap();
            let out = journal.ended(0);
            assert_eq!(out, if attempt == 3 { vec!["poison"] } else { vec![] });
            journal.ready(0);
        }
        assert_eq!(journal.clear(), ["innocent"]);
        assert!(journal.is_empty());
    }
}
