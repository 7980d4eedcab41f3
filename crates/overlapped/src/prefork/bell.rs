//! A bell that makes waits end, and loses nothing that they had: how a worker's tasklets hear that it is to drain.
//!
//! A cancel is a level that stays until its tasklet has ended, and a time-out wants a time. This is a scope like a
//! time-out's, whose end is told when the bell rings. What a wait had got by then (bytes, a connection) is its result.

use std::cell::{Cell, RefCell};
use std::io;

use slab::Slab;

use crate::interrupt::{self, Level};
use crate::scheduler::{TaskletId, current, try_current};

#[derive(Default)]
pub(super) struct Bell {
    rung: Cell<bool>,
    waiting: RefCell<Slab<(TaskletId, Level)>>,
}

impl Bell {
    /// Runs `body`, which waits, until it ends; `None` where the bell has rung before it had anything.
    pub(super) fn until_rung<T>(&self, body: impl FnOnce() -> io::Result<T>) -> io::Result<Option<T>> {
        if self.rung.get() {
            return Ok(None);
        }
        let scheduler = current()?;
        let level = scheduler.begin_scope(Level::OutOfTime);
        let place = self.waiting.borrow_mut().insert((scheduler.current_tasklet(), level));
        let _leave = Leave { bell: self, place };
        match body() {
            Err(error) if interrupt::level_in(&error) == Some(level) => Ok(None),
            result => result.map(Some),
        }
    }

    /// Ends all waits, and those that come.
    pub(super) fn ring(&self) {
        self.rung.set(true);
        let Some(scheduler) = try_current() else { return };
        let waiting: Vec<_> = self.waiting.borrow().iter().map(|(_, wait)| *wait).collect();
        waiting.into_iter().for_each(|(tasklet, level)| scheduler.expire_scope(tasklet, level));
    }
}

/// Ends the scope, also where the body unwinds.
struct Leave<'a> {
    bell: &'a Bell,
    place: usize,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let (_, level) = self.bell.waiting.borrow_mut().remove(self.place);
        if let Some(scheduler) = try_current() {
            scheduler.end_scope(level);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{Event, Queue, first_of, sleep, spawn, yield_now};

    #[test]
    fn it_ends_the_waits_of_all_and_what_they_had_by_then_is_theirs() {
        crate::run(|| {
            let (bell, values) = (Rc::new(Bell::default()), Queue::new());
            let waiting = (0..3).map(|_| {
                let (bell, values) = (Rc::clone(&bell), values.clone());
                spawn(move || {
                    bell.until_rung(|| {
                        let mut getting = values.getting();
                        first_of(&mut [&mut getting])?;
                        Ok(getting.take().unwrap().unwrap())
                    })
                })
            });
            let waiting: Vec<_> = waiting.collect();
            yield_now();
            values.put(7).unwrap();
            bell.ring();
            let had: Vec<Option<i32>> = waiting.into_iter().map(|one| one.join().unwrap().unwrap()).collect();
            assert_eq!(had, [Some(7), None, None]);
            assert!(bell.until_rung(|| -> io::Result<()> { unreachable!("it has rung") }).unwrap().is_none());
            assert!(bell.waiting.borrow().is_empty());
        });
    }

    #[test]
    fn the_tasklet_waits_on_as_ever_after_it() {
        crate::run(|| {
            let (bell, never) = (Rc::new(Bell::default()), Event::new());
            let theirs = Rc::clone(&bell);
            let waits = spawn(move || {
                let left = theirs.until_rung(|| first_of(&mut [&mut never.waiting()])).unwrap();
                sleep(std::time::Duration::from_millis(1));
                left
            });
            yield_now();
            bell.ring();
            assert_eq!(waits.join().unwrap(), None);
        });
    }
}
