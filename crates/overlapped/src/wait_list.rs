//! Those that wait for one thing, in order.
//!
//! Whoever waits has a place, which is its own until it takes it back: it is *waiting*, or it was *served* and will find
//! there what it was served with. Serving the first and leaving from the middle cost the same however many wait: the
//! places lie in a table and know their neighbours. (Deques, as they were, are searched by each one that leaves: 16,000
//! receivers that timed out together took seconds.)

use slab::Slab;

use crate::ticket::{Claims, Ticket};

/// A place in a [`WaitList`].
pub(crate) type Place = usize;

/// No place: the end of the list.
const NONE: Place = usize::MAX;

struct Spot<W, S> {
    holds: Left<W, S>,
    /// Its neighbours, while it is in the line: until its turn has come.
    line: Option<(Place, Place)>,
}

/// Those that wait, with a `W` each; whoever is served finds an `S`.
pub(crate) struct WaitList<W, S = ()> {
    spots: Slab<Spot<W, S>>,
    first: Place,
    last: Place,
    waiting: usize,
    served: usize,
}

/// What was found at a place.
pub(crate) enum Left<W, S> {
    /// It was not served.
    Waiting(W),
    Served(S),
}

impl<W, S> Default for WaitList<W, S> {
    fn default() -> Self {
        WaitList::new()
    }
}

impl<W, S> WaitList<W, S> {
    /// One in which nobody waits.
    pub(crate) const fn new() -> Self {
        WaitList { spots: Slab::new(), first: NONE, last: NONE, waiting: 0, served: 0 }
    }
}

impl<W: Claims, S> WaitList<W, S> {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Those that wait, the first of them first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &W> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let spot = self.spots.get(next)?;
            (_, next) = spot.line?;
            match &spot.holds {
                Left::Waiting(who) => Some(who),
                Left::Served(_) => unreachable!("the line is of those that wait"),
            }
        })
    }

    /// Whether somebody waits that whoever has `ticket` could serve. It looks at those that come before, which were served
    /// elsewhere and have not left, or are the same one's.
    pub(crate) fn has_other(&self, ticket: &Ticket) -> bool {
        self.iter().any(|who| who.waits_beside(ticket))
    }

    /// Whether some were served that have not taken note of it.
    pub(crate) fn has_served(&self) -> bool {
        self.served > 0
    }

    /// One more waits, after the others.
    #[inline]
    pub(crate) fn push(&mut self, who: W) -> Place {
        let line = Some((self.last, NONE));
        let place = self.spots.insert(Spot { holds: Left::Waiting(who), line });
        match self.spots.get_mut(self.last).and_then(|spot| spot.line.as_mut()) {
            Some((_, after)) => *after = place,
            None => self.first = place,
        }
        self.last = place;
        self.waiting += 1;
        place
    }

    /// Serves the one that has waited longest, of those that can be: others, whose ticket is claimed, have had their turn.
    ///
    /// # Errors
    /// What it was to be served with, where nobody waits.
    #[inline]
    pub(crate) fn serve(&mut self, with: S) -> Result<W, S> {
        self.serve_at(with).map(|(_, who)| who)
    }

    /// As [`WaitList::serve`]; and its place, at which [`WaitList::served`] gives it what is made of itself.
    #[inline]
    pub(crate) fn serve_at(&mut self, with: S) -> Result<(Place, W), S> {
        while self.first != NONE {
            let place = self.first;
            self.unlink(place);
            let spot = &mut self.spots[place];
            let Left::Waiting(who) = &spot.holds else { unreachable!("the line is of those that wait") };
            if !who.claim() {
                continue;
            }
            self.served += 1;
            match std::mem::replace(&mut spot.holds, Left::Served(with)) {
                Left::Waiting(who) => return Ok((place, who)),
                Left::Served(_) => unreachable!("just looked"),
            }
        }
        Err(with)
    }

    /// Serves all that wait and can be served, each with what `with` makes; they are to be woken outside of the list's lock.
    pub(crate) fn serve_all(&mut self, with: impl Fn() -> S) -> Vec<W> {
        std::iter::from_fn(|| self.serve(with()).ok()).collect()
    }

    /// Whether the one at `place` was served.
    fn is_served(&self, place: Place) -> bool {
        matches!(self.spots[place].holds, Left::Served(_))
    }

    /// What the one at `place` was served with.
    pub(crate) fn served(&mut self, place: Place) -> Option<&mut S> {
        match &mut self.spots[place].holds {
            Left::Served(with) => Some(with),
            Left::Waiting(_) => None,
        }
    }

    /// Leaves `place`, which is free for others then.
    #[inline]
    pub(crate) fn leave(&mut self, place: Place) -> Left<W, S> {
        self.unlink(place);
        let left = self.spots.remove(place).holds;
        self.served -= usize::from(matches!(left, Left::Served(_)));
        left
    }

    /// Leaves `place`, unless the one there `waits` on and was not served: what [`await_place`](crate::scheduler::await_place)
    /// asks for.
    #[inline]
    pub(crate) fn leave_unless(&mut self, place: Place, waits: bool) -> Option<Left<W, S>> {
        (!waits || self.is_served(place)).then(|| self.leave(place))
    }

    /// Takes a place out of the line, if it is there.
    #[inline]
    fn unlink(&mut self, place: Place) {
        if let Some((before, after)) = self.spots[place].line.take() {
            self.join(before, after);
            self.waiting -= 1;
        }
    }

    /// Makes `after` the one that follows `before`.
    #[inline]
    fn join(&mut self, before: Place, after: Place) {
        match self.spots.get_mut(before).and_then(|spot| spot.line.as_mut()) {
            Some((_, next)) => *next = after,
            None => self.first = after,
        }
        match self.spots.get_mut(after).and_then(|spot| spot.line.as_mut()) {
            Some((previous, _)) => *previous = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    impl Claims for i32 {
        fn claim(&self) -> bool {
            true
        }

        fn waits_beside(&self, _: &Ticket) -> bool {
            true
        }
    }

    impl Claims for &Cell<bool> {
        fn claim(&self) -> bool {
            !self.replace(true)
        }

        fn waits_beside(&self, _: &Ticket) -> bool {
            !self.get()
        }
    }

    #[test]
    fn who_was_served_elsewhere_is_passed_over_and_keeps_its_place_until_it_leaves() {
        let (first, second) = (Cell::new(false), Cell::new(false));
        let mut list = WaitList::<&Cell<bool>>::default();
        let places = [list.push(&first), list.push(&second)];
        first.set(true);
        assert!(list.has_other(&Ticket::default()));
        assert!(std::ptr::eq(list.serve(()).unwrap(), &second));
        assert!(!list.has_other(&Ticket::default()));
        assert_eq!((list.len(), list.serve(())), (0, Err(())));
        assert!(matches!(list.leave(places[0]), Left::Waiting(_)));
        assert!(matches!(list.leave(places[1]), Left::Served(())));
    }

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
        let first = list.push(1);
        list.push(2);
        list.leave(first);
        assert_eq!(list.push(3), first);
        assert_eq!(list.serve(()), Ok(2));
        assert_eq!(list.serve(()), Ok(3));
    }
}
