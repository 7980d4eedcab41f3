//! Who is ready to run, in order.
//!
//! A list through a table by index, so that whoever is in it can be taken out at once: a deque would be searched. A tasklet
//! is in it once at most.

use super::id::TaskletId;

/// No place: the end of the list.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    id: TaskletId,
    before: u32,
    after: u32,
    listed: bool,
}

/// The queue of ready tasklets.
pub(super) struct Ready {
    links: Vec<Link>,
    first: u32,
    last: u32,
    length: usize,
}

impl Ready {
    pub(super) fn new() -> Ready {
        Ready { links: Vec::new(), first: NONE, last: NONE, length: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    #[inline]
    pub(super) fn push_back(&mut self, id: TaskletId) {
        let before = std::mem::replace(&mut self.last, id.index);
        self.link(Link { id, before, after: NONE, listed: true });
        match self.links.get_mut(before as usize) {
            Some(link) => link.after = id.index,
            None => self.first = id.index,
        }
    }

    #[inline]
    pub(super) fn push_front(&mut self, id: TaskletId) {
        let after = std::mem::replace(&mut self.first, id.index);
        self.link(Link { id, before: NONE, after, listed: true });
        match self.links.get_mut(after as usize) {
            Some(link) => link.before = id.index,
            None => self.last = id.index,
        }
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<TaskletId> {
        let link = self.links.get_mut(self.first as usize)?;
        link.listed = false;
        self.length -= 1;
        let Link { id, after, .. } = *link;
        self.first = after;
        match self.links.get_mut(after as usize) {
            Some(link) => link.before = NONE,
            None => self.last = NONE,
        }
        Some(id)
    }

    /// Takes a tasklet out; false where it was not in the queue.
    pub(super) fn remove(&mut self, id: TaskletId) -> bool {
        let Some(&Link { before, after, .. }) = self.place(id) else { return false };
        self.links[id.index()].listed = false;
        self.length -= 1;
        self.join(before, after);
        true
    }

    /// Turns the queue so that `id`, which is in it, comes first: those that were before it come last, and `me`, where it is
    /// given, before them. False where `id` is not in the queue.
    ///
    /// That is what a ring does whose pointer is moved to another member; `me` is where the pointer was.
    pub(super) fn turn_to(&mut self, id: TaskletId, me: Option<TaskletId>) -> bool {
        let Some(&Link { before: end, .. }) = self.place(id) else { return false };
        let start = self.first;
        if end != NONE {
            self.links[end as usize].after = NONE;
            self.links[id.index()].before = NONE;
            self.first = id.index;
        }
        if let Some(me) = me {
            self.push_back(me);
        }
        if end != NONE {
            self.join(self.last, start);
            self.last = end;
        }
        true
    }

    pub(super) fn has(&self, id: TaskletId) -> bool {
        self.place(id).is_some()
    }

    pub(super) fn first(&self) -> Option<TaskletId> {
        self.at(self.first)
    }

    /// The first and the one after it.
    #[inline]
    pub(super) fn first_two(&self) -> Option<(TaskletId, TaskletId)> {
        let first = self.links.get(self.first as usize)?;
        Some((first.id, self.at(first.after)?))
    }

    pub(super) fn last(&self) -> Option<TaskletId> {
        self.at(self.last)
    }

    /// Who is before `id`, which is in the queue, and who is after it.
    pub(super) fn neighbours(&self, id: TaskletId) -> (Option<TaskletId>, Option<TaskletId>) {
        let Some(&Link { before, after, .. }) = self.place(id) else { return (None, None) };
        (self.at(before), self.at(after))
    }

    fn at(&self, index: u32) -> Option<TaskletId> {
        self.links.get(index as usize).map(|link| link.id)
    }

    fn place(&self, id: TaskletId) -> Option<&Link> {
        self.links.get(id.index()).filter(|link| link.listed && link.id == id)
    }

    #[inline]
    fn link(&mut self, link: Link) {
        let index = link.id.index();
        if self.links.len() <= index {
            self.grow(index);
        }
        debug_assert!(!self.links[index].listed, "{:?} is in the queue already", link.id);
        self.links[index] = link;
        self.length += 1;
    }

    #[cold]
    fn grow(&mut self, index: usize) {
        let unlisted = Link { id: TaskletId::ROOT, before: NONE, after: NONE, listed: false };
        self.links.resize(index + 1, unlisted);
    }

    /// Makes `after` the one that follows `before`.
    fn join(&mut self, before: u32, after: u32) {
        match self.links.get_mut(before as usize) {
            Some(link) => link.after = after,
            None => self.first = after,
        }
        match self.links.get_mut(after as usize) {
            Some(link) => link.before = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32) -> TaskletId {
        TaskletId { index, number: index + 100 }
    }

    fn drain(ready: &mut Ready) -> Vec<u32> {
        std::iter::from_fn(|| ready.pop_front()).map(|id| id.index).collect()
    }

    #[test]
    fn first_in_first_out_but_for_who_comes_to_the_front() {
        let mut ready = Ready::new();
        (0..3).for_each(|index| ready.push_back(id(index)));
        ready.push_front(id(7));
        assert_eq!(drain(&mut ready), [7, 0, 1, 2]);
        assert!(ready.is_empty() && ready.first_two().is_none());
        ready.push_back(id(1));
        assert_eq!(ready.first_two(), None, "there is one");
    }

    #[test]
    fn whoever_is_in_it_can_be_taken_out() {
        for (out, left) in [(0, [1, 2]), (1, [0, 2]), (2, [0, 1])] {
            let mut ready = Ready::new();
            (0..3).for_each(|index| ready.push_back(id(index)));
            assert!(ready.remove(id(out)));
            assert!(!ready.remove(id(out)), "it is out already");
            assert!(!ready.remove(TaskletId { index: left[0], number: 0 }), "that was another one's place");
            assert_eq!(drain(&mut ready), left);
        }
        assert!(!Ready::new().remove(id(5)));
    }

    #[test]
    fn turned_to_one_it_goes_on_from_there_as_a_ring_would() {
        for (to, order) in [(0, [0, 1, 2, 9]), (1, [1, 2, 9, 0]), (2, [2, 9, 0, 1])] {
            let mut ready = Ready::new();
            (0..3).for_each(|index| ready.push_back(id(index)));
            assert!(ready.turn_to(id(to), Some(id(9))));
            assert_eq!(ready.first_two(), Some((id(to), id(order[1]))));
            assert_eq!((ready.len(), ready.first(), ready.last()), (4, Some(id(to)), Some(id(order[3]))));
            assert_eq!(ready.neighbours(id(order[2])), (Some(id(order[1])), Some(id(order[3]))));
            assert_eq!(drain(&mut ready), order);
        }
        for (to, order) in [(0, [0, 1, 2]), (1, [1, 2, 0]), (2, [2, 0, 1])] {
            let mut ready = Ready::new();
            (0..3).for_each(|index| ready.push_back(id(index)));
            assert!(ready.turn_to(id(to), None) && !ready.turn_to(id(7), None));
            assert_eq!(drain(&mut ready), order);
            assert_eq!(ready.len(), 0);
        }
    }
}
