//! Those that wait for one thing, in order.
//!
//! Whoever waits has a place, which is its own until it takes it back: it is *waiting*, or it was *served* and will find
//! there what it was served with. Serving the first and leaving from the middle cost the same however many wait: the
//! places lie in a table and know their neighbours. (Deques, as they were, are searched by each one that leaves: 16,000
//! receivers that timed out together took seconds.)

use slab::Slab;

/// A place in a [`WaitList`].
pub(crate) type Place = usize;

/// No place: the end of the list.
const NONE: Place = usize::MAX;

enum Spot<W, S> {
    Waiting { who: W, before: Place, after: Place },
    Served(S),
}

/// Those that wait, with a `W` each; whoever is served finds an `S`.
pub(crate) struct WaitList<W, S = ()> {
    spots: Slab<Spot<W, S>>,
    first: Place,
    last: Place,
    waiting: usize,
}

/// What was found at a place.
pub(crate) enum Left<W, S> {
    /// It was not served.
    Waiting(W),
    Served(S),
}

impl<W, S> Default for WaitList<W, S> {
    fn default() -> Self {
        WaitList { spots: Slab::new(), first: NONE, last: NONE, waiting: 0 }
    }
}

impl<W, S> WaitList<W, S> {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether some were served that have not taken note of it.
    pub(crate) fn has_served(&self) -> bool {
        self.spots.len() > self.waiting
    }

    /// One more waits, after the others.
    pub(crate) fn push(&mut self, who: W) -> Place {
        let place = self.spots.insert(Spot::Waiting { who, before: self.last, after: NONE });
        self.join(self.last, place);
        self.last = place;
        self.waiting += 1;
        place
    }

    /// Serves the one that has waited longest.
    ///
    /// # Errors
    /// What it was to be served with, where nobody waits.
    pub(crate) fn serve(&mut self, with: S) -> Result<W, S> {
        let Some(Spot::Waiting { before, after, .. }) = self.spots.get(self.first) else { return Err(with) };
        let (place, before, after) = (self.first, *before, *after);
        self.unlink(before, after);
        match std::mem::replace(&mut self.spots[place], Spot::Served(with)) {
            Spot::Waiting { who, .. } => Ok(who),
            Spot::Served(_) => unreachable!("the list is of those that wait"),
        }
    }

    /// Whether the one at `place` was served.
    pub(crate) fn is_served(&self, place: Place) -> bool {
        matches!(self.spots[place], Spot::Served(_))
    }

    /// Leaves `place`, which is free for others then.
    pub(crate) fn leave(&mut self, place: Place) -> Left<W, S> {
        match self.spots.remove(place) {
            Spot::Served(with) => Left::Served(with),
            Spot::Waiting { who, before, after } => {
                self.unlink(before, after);
                Left::Waiting(who)
            }
        }
    }

    fn unlink(&mut self, before: Place, after: Place) {
        self.join(before, after);
        self.waiting -= 1;
    }

    /// Makes `after` the one that follows `before`.
    fn join(&mut self, before: Place, after: Place) {
        match self.spots.get_mut(before) {
            Some(Spot::Waiting { after: next, .. }) => *next = after,
            _ => self.first = after,
        }
        match self.spots.get_mut(after) {
            Some(Spot::Waiting { before: previous, .. }) => *previous = before,
            _ => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn served_in_order_but_for_those_that_have_left() {
        let mut list = WaitList::<_, char>::default();
        let places: Vec<Place> = (0..5).map(|who| list.push(who)).collect();
        for (place, who) in [(0, 0), (4, 4), (2, 2)] {
            assert!(matches!(list.leave(places[place]), Left::Waiting(left) if left == who));
        }
        assert_eq!(list.len(), 2);
        assert_eq!(list.serve('a'), Ok(1));
        assert_eq!(list.serve('b'), Ok(3));
        assert_eq!(list.serve('c'), Err('c'));
        assert!(list.is_served(places[1]) && list.has_served());
        for (place, with) in [(1, 'a'), (3, 'b')] {
            assert!(matches!(list.leave(places[place]), Left::Served(served) if served == with));
        }
        assert!(!list.has_served());
    }

    #[test]
    fn a_place_that_was_left_is_used_again_at_the_end() {
        let mut list = WaitList::<_, ()>::default();
        let first = list.push("first");
        list.push("second");
        list.leave(first);
        list.push("third");
        assert_eq!(list.serve(()), Ok("second"));
        assert_eq!(list.serve(()), Ok("third"));
    }
}
