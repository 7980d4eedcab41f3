//! Data of which each tasklet has its own.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use overlapped::{Local, run, sleep, spawn, yield_now};

thread_local! {
    /// What destructors have told, on this thread.
    static TOLD: RefCell<Vec<String>> = RefCell::default();
}

fn told() -> Vec<String> {
    TOLD.take()
}

/// Tells its name when it is dropped, after a wait.
struct Tells(&'static str);

impl Drop for Tells {
    fn drop(&mut self) {
        sleep(Duration::from_millis(1));
        TOLD.with_borrow_mut(|told| told.push(self.0.to_owned()));
    }
}

static COUNT: Local<Cell<u32>> = Local::new(|| Cell::new(1));
static OTHER: Local<Cell<u32>> = Local::new(|| Cell::new(100));
static TELLS: Local<Tells> = Local::new(|| Tells("dropped"));
static AGAIN: Local<Again> = Local::new(|| Again);

/// Looks at a local when it is dropped.
struct Again;

impl Drop for Again {
    fn drop(&mut self) {
        TELLS.with(|_| ());
    }
}

#[test]
fn each_tasklet_has_its_own_of_each_key() {
    run(|| {
        let tasklets: Vec<_> = (0..50)
            .map(|number| {
                spawn(move || {
                    for _ in 0..number {
                        COUNT.with(|count| count.set(count.get() + 1));
                        yield_now();
                    }
                    (COUNT.with(Cell::get), OTHER.with(Cell::get))
                })
            })
            .collect();
        for (number, tasklet) in (0..).zip(tasklets) {
            assert_eq!(tasklet.join().unwrap(), (number + 1, 100));
        }
        assert_eq!(COUNT.with(Cell::get), 1);
        // A tasklet in the place of one that has ended begins anew.
        assert_eq!(spawn(|| COUNT.with(Cell::get)).join().unwrap(), 1);
    });
}

#[test]
fn a_value_is_dropped_at_the_end_of_its_tasklet_and_may_wait_and_make_others() {
    run(|| {
        let ends = Rc::new(Cell::new(false));
        let theirs = Rc::clone(&ends);
        let tasklet = spawn(move || {
            AGAIN.with(|_| theirs.set(true));
        });
        tasklet.join().unwrap();
        assert!(ends.get());
        // Its end is not waited for by a join.
        let is_told = || TOLD.with_borrow(|told| !told.is_empty());
        for _ in (0..5000).take_while(|_| !is_told()) {
            sleep(Duration::from_millis(1));
        }
        assert_eq!(told(), ["dropped"]);
        TELLS.with(|_| ());
    });
    assert_eq!(told(), ["dropped"], "the thread's own, at the end of run");
}

#[test]
fn a_tasklet_that_is_cancelled_or_panics_leaves_no_value() {
    run(|| {
        let cancelled = spawn(|| TELLS.with(|_| sleep(Duration::MAX)));
        let panics = spawn(|| TELLS.with(|_| panic!("as it should")));
        yield_now();
        cancelled.cancel();
        assert!(cancelled.join().is_err() && panics.join().is_err());
    });
    assert_eq!(told(), ["dropped", "dropped"]);
    let caught = catch_unwind(AssertUnwindSafe(|| run(|| TELLS.with(|_| panic!("as it should")))));
    assert!(caught.is_err());
    assert_eq!(told(), ["dropped"]);
}

#[test]
#[should_panic(expected = "inside overlapped::run")]
fn outside_of_run_there_is_none() {
    COUNT.with(Cell::get);
}
