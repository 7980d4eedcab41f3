//! The threads of a run, as each of them knows them.

use std::cell::RefCell;
use std::sync::Arc;

use crate::tasklet::Handle;

/// The threads of a run, and which of them this is.
pub(super) struct Crew {
    handles: Arc<[Handle]>,
    here: usize,
}

thread_local! {
    /// None in a run of one thread.
    static CREW: RefCell<Option<Crew>> = const { RefCell::new(None) };
}

impl Crew {
    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// The thread with the least to do; `None`: this one.
    pub(super) fn least_loaded(&self) -> Option<Handle> {
        let place = least(self.handles.iter().map(Handle::load), self.here);
        (place != self.here).then(|| self.handles[place].clone())
    }
}

/// The place of the least; `first` where it is among the least, else the next after it.
fn least(loads: impl ExactSizeIterator<Item = usize>, first: usize) -> usize {
    let count = loads.len();
    let from_here_on = |place: usize| (place + count - first) % count;
    let places = loads.enumerate().map(|(place, load)| (load, from_here_on(place), place));
    places.min().map_or(first, |(_, _, place)| place)
}

/// This thread, the one at `here` among them, belongs to a run from now on, until [`leave`].
pub(super) fn join(handles: &Arc<[Handle]>, here: usize) {
    CREW.set(Some(Crew { handles: Arc::clone(handles), here }));
}

/// Ends what [`join`] began: what is given from now on stays here.
pub(super) fn leave() {
    drop(CREW.take());
}

/// Looks at the threads of the run, where there are several.
pub(super) fn look<R>(look: impl FnOnce(&Crew) -> R) -> Option<R> {
    CREW.with_borrow(|crew| crew.as_ref().map(look))
}

#[cfg(test)]
mod tests {
    use super::least;

    fn chosen<const N: usize>(loads: [usize; N], first: usize) -> usize {
        least(loads.into_iter(), first)
    }

    #[test]
    fn the_least_is_chosen_wherever_it_is() {
        assert_eq!(chosen([3, 1, 2], 0), 1);
        assert_eq!(chosen([3, 2, 1], 0), 2);
        assert_eq!(chosen([0, 2, 1], 2), 0);
    }

    #[test]
    fn of_several_it_is_the_chooser_or_who_comes_next_after_it() {
        assert_eq!(chosen([1, 1, 1], 1), 1);
        assert_eq!(chosen([1, 2, 1], 1), 2);
        assert_eq!(chosen([1, 1, 2], 2), 0);
        assert_eq!(chosen([5], 0), 0);
    }

    #[test]
    fn given_one_by_one_they_spread_evenly() {
        let mut loads = [0; 4];
        (0..10).for_each(|_| loads[chosen(loads, 1)] += 1);
        assert_eq!(loads, [2, 3, 3, 2]);
    }
}
