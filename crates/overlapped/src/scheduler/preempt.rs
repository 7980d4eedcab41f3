//! Who holds the thread is asked to give way: a face that can interrupt its tasklets is told of each that has computed for
//! an interval without a switch.
//!
//! A thread of its own sleeps by the CPU time of the scheduler's, so that it costs nothing while that waits, and a wake-up
//! an interval while it is busy. It reads one number that the scheduler writes at each switch. What to do about a hold, and
//! whether it is done at all, is the face's: Rust's tasklets cannot be interrupted, Python's can where they execute code.
//!
//! Rejected: a timer of the system's with a signal (it ends what waits in system calls, with EINTR, and a program may want
//! the signal); a thread that wakes by the time of day (an idle program would wake 200 times a second).

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use overlapped_port::sys::{ThreadClock, start_thread};

use super::Scheduler;

/// What is called on another thread after each interval of the scheduler's CPU time, with whether one tasklet has held the
/// thread since the last time: returns the next interval; `None` ends it.
pub type Look = Box<dyn FnMut(bool) -> Option<Duration> + Send>;

/// How long peers on another core may take to answer those who have just run.
const MOMENT: Duration = Duration::from_micros(100);

impl Scheduler {
    /// Has `look` called, on a thread of its own, after each interval of this one's CPU time, the first of which is
    /// `interval`.
    ///
    /// # Errors
    /// Where the system has no thread for it, or no clock.
    pub fn preempt(&self, interval: Duration, mut look: Look) -> io::Result<()> {
        let (board, clock) = (Arc::clone(self.board()), ThreadClock::of_this_thread()?);
        let looks = move || {
            let (mut seen, mut interval) = (board.beat(), interval);
            while clock.sleep(interval).is_ok() {
                let beat = board.beat();
                let Some(next) = look(beat == seen && !beat.rests()) else { return };
                (seen, interval) = (beat, next);
            }
        };
        start_thread(std::thread::Builder::new().name("overlapped-preempt".into()), looks).map(drop)
    }

    /// Lets the others run before the tasklet that has held the thread goes on, those too whom the port or a timer makes
    /// ready, again and again while there are any, for about `most` at the most: who receives and sends in turn would else
    /// wait for one hold of this one's after each step. Where some have run, what they have asked for may be a moment away:
    /// `wait` is to make a [turn](Scheduler::turn) of at most so long. What this one is told waits until it waits itself.
    pub fn give_way_after_hold(self: &Rc<Self>, most: Duration, mut wait: impl FnMut(Duration) -> io::Result<()>) {
        let began = Instant::now();
        // Where the port fails, the next wait is told.
        let mut turned = self.turn(Some(Duration::ZERO));
        while turned.is_ok() && self.has_ready() {
            self.let_others_run();
            let left = most.saturating_sub(began.elapsed());
            if left.is_zero() {
                break;
            }
            turned = if self.has_ready() { self.turn(Some(Duration::ZERO)) } else { wait(left.min(MOMENT)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::engine::{TaskletId, park};
    use crate::scheduler::current;
    use crate::{run, spawn, yield_now};

    const INTERVAL: Duration = Duration::from_millis(5);

    #[test]
    fn who_holds_the_thread_is_told_of_again_and_again_and_who_yields_is_not() {
        run(|| {
            let (looks, held) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            let look = {
                let (looks, held) = (Arc::clone(&looks), Arc::clone(&held));
                move |is_held| {
                    held.fetch_add(u32::from(is_held), Ordering::Relaxed);
                    (looks.fetch_add(1, Ordering::Relaxed) < 1000).then_some(INTERVAL)
                }
            };
            current().unwrap().preempt(INTERVAL, Box::new(look)).unwrap();
            // By the time of day, one whom the system does not let run holds the thread too, now and then.
            let by_time_of_day = !cfg!(target_os = "linux");
            let count = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
            while count(&looks) < 4 || by_time_of_day && count(&held) >= count(&looks) {
                yield_now();
            }
            assert!(by_time_of_day || count(&held) == 0);
            let before = count(&held);
            while count(&held) < before + 3 {
                std::hint::spin_loop();
            }
        });
    }

    #[test]
    fn whoever_is_ready_a_moment_after_others_have_run_runs_too_before_the_one_that_gives_way_goes_on() {
        run(|| {
            let scheduler = current().unwrap();
            let (turns, other) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(TaskletId::ROOT)));
            let _others = {
                let (turns, other) = (Rc::clone(&turns), Rc::clone(&other));
                spawn(move || {
                    other.set(current().unwrap().current_tasklet());
                    for _ in 0..3 {
                        turns.set(turns.get() + 1);
                        park(None, "test").unwrap();
                    }
                })
            };
            let mut waits = Vec::new();
            scheduler.give_way_after_hold(Duration::from_secs(60), |most| {
                waits.push(most);
                if turns.get() < 3 {
                    scheduler.wake(other.get());
                }
                scheduler.turn(Some(Duration::ZERO))
            });
            scheduler.wake(other.get());
            assert_eq!((turns.get(), waits), (3, vec![MOMENT; 3]));
        });
    }
}
