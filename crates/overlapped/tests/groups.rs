//! Groups: nobody outlives the block, and what fails ends the rest.

mod support;

use std::cell::Cell;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use overlapped::{Builder, Event, Group, JoinHandle, is_cancelled, sleep, spawn, tasklets, timeout, yield_now};
use support::{LONG, Log, LogsDrop, run};

const MOMENT: Duration = Duration::from_millis(10);

fn words(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<&str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => *payload.downcast::<String>().expect("a panic with words"),
    }
}

#[test]
fn a_group_ends_when_its_members_and_those_that_they_started_have() {
    run(|| {
        let log = Log::new();
        let value = Group::run(|group| {
            let (inner, theirs) = (group.clone(), log.clone());
            group.spawn(move || {
                sleep(MOMENT);
                let innermost = theirs.clone();
                inner.spawn(move || {
                    sleep(MOMENT);
                    innermost.add("the last");
                });
                theirs.add("the first");
            });
            assert_eq!(group.len(), 1);
            7
        });
        assert_eq!((value, log.take()), (7, vec!["the first".to_owned(), "the last".to_owned()]));
        assert_eq!(tasklets().len(), 1);
    });
}

#[test]
fn a_member_that_panics_ends_the_others_and_the_block_and_its_panic_goes_on() {
    run(|| {
        let log = Log::new();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            Group::run(|group| {
                let (first, second) = (LogsDrop(log.clone(), "a member"), log.clone());
                group.spawn(move || {
                    let _first = first;
                    sleep(LONG);
                });
                let fails = group.spawn(|| panic!("the disk is on fire"));
                second.add(fails.join().unwrap_err().to_string());
                let _block = LogsDrop(log.clone(), "the block");
                sleep(LONG);
            });
        }));
        assert_eq!(words(caught.unwrap_err()), "the disk is on fire");
        let mut ended = log.take();
        ended.sort();
        assert_eq!(ended, ["a member", "the block", "the tasklet panicked: the disk is on fire"]);
        // The scope was the block's: outside of it nobody is told.
        sleep(Duration::from_millis(1));
        assert_eq!(tasklets().len(), 1);
    });
}

#[test]
fn the_blocks_waits_that_have_a_result_say_that_it_was_cancelled() {
    run(|| {
        let told = Cell::new(false);
        let failed: Result<(), &str> = Group::try_run(|group| {
            let fails = group.try_spawn(|| Err::<(), _>("no such host"));
            let never = overlapped::channel::<()>();
            let error = overlapped::first_of(&mut [&mut never.receiving()]).unwrap_err();
            told.set(is_cancelled(&error));
            assert!(fails.is_finished() && fails.join().unwrap_err().is_failure());
            Ok(())
        });
        assert_eq!((failed, told.get()), (Err("no such host"), true));
    });
}

#[test]
fn the_blocks_own_error_and_panic_end_the_members() {
    run(|| {
        let log = Log::new();
        let member = |group: &Group<&'static str>| {
            let logs = LogsDrop(log.clone(), "ended");
            group.spawn(move || {
                let _logs = logs;
                sleep(LONG);
            });
            yield_now();
        };
        let failed: Result<(), _> = Group::try_run(|group| {
            member(group);
            Err("no")
        });
        assert_eq!((failed, log.take()), (Err("no"), vec!["ended".to_owned()]));
        let caught = catch_unwind(AssertUnwindSafe(|| {
            Group::try_run(|group| -> Result<(), _> {
                member(group);
                panic!("the block's")
            })
        }));
        assert_eq!(words(caught.unwrap_err()), "the block's");
        assert_eq!(log.take(), ["ended"]);
    });
}

#[test]
fn of_several_failures_the_first_goes_on_and_the_others_stay_with_their_handles() {
    run(|| {
        let mut second = None;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            Group::run(|group| {
                group.spawn(|| panic!("first"));
                second = Some(group.spawn(|| panic!("second")));
                yield_now();
            });
        }));
        assert_eq!(words(caught.unwrap_err()), "first");
        // It never began, or it ran before it could be told.
        let second = second.unwrap().join().unwrap_err();
        assert!(second.is_cancelled() || words(second.into_panic().unwrap()) == "second");
    });
}

#[test]
fn a_member_that_is_cancelled_alone_is_no_failure_even_if_it_unwraps_the_error() {
    run(|| {
        let other = Group::run(|group| {
            let never = overlapped::channel::<()>();
            let unwraps = group.spawn(move || never.receive().unwrap());
            let sleeps = group.spawn(|| sleep(LONG));
            let other = group.spawn(|| {
                sleep(MOMENT);
                "its value"
            });
            yield_now();
            unwraps.cancel();
            sleeps.cancel();
            assert!(unwraps.join().unwrap_err().is_cancelled() && sleeps.join().unwrap_err().is_cancelled());
            other
        });
        assert_eq!(other.join().unwrap(), "its value");
    });
}

#[test]
fn whoever_is_cancelled_while_it_waits_cancels_its_members_and_waits_for_them() {
    run(|| {
        let log = Log::new();
        let theirs = log.clone();
        let owner = spawn(move || {
            let _owner = LogsDrop(theirs.clone(), "the owner");
            Group::run(|group| {
                for _ in 0..3 {
                    let logs = LogsDrop(theirs.clone(), "a member");
                    group.spawn(move || {
                        let _logs = logs;
                        sleep(LONG);
                    });
                }
            });
            theirs.add("never");
        });
        yield_now();
        yield_now();
        owner.cancel();
        assert!(owner.join().unwrap_err().is_cancelled());
        assert_eq!(log.take(), ["a member", "a member", "a member", "the owner"]);
        let late = timeout(MOMENT, || {
            Group::run(|group| {
                group.spawn(|| sleep(LONG));
            })
        });
        assert!(late.is_err());
        assert_eq!(tasklets().len(), 1);
    });
}

#[test]
fn a_group_that_is_cancelled_starts_nobody_any_more_and_its_block_goes_on() {
    run(|| {
        let begun = Rc::new(Cell::new(false));
        let value = Group::run(|group| {
            let sleeps = group.spawn(|| sleep(LONG));
            yield_now();
            group.cancel();
            let begins = Rc::clone(&begun);
            let late = group.spawn(move || begins.set(true));
            assert!(late.join().unwrap_err().is_cancelled() && sleeps.join().unwrap_err().is_cancelled());
            sleep(Duration::from_millis(1));
            "not disturbed"
        });
        assert_eq!((value, begun.get()), ("not disturbed", false));
    });
}

/// A destructor that waits.
struct Flushes(Log);

impl Drop for Flushes {
    fn drop(&mut self) {
        let begun = Instant::now();
        sleep(MOMENT);
        self.0.add(if begun.elapsed() >= MOMENT { "flushed" } else { "hurried" });
    }
}

#[test]
fn the_destructors_of_a_block_that_is_ended_may_wait() {
    run(|| {
        let log = Log::new();
        let failed: Result<(), &str> = Group::try_run(|group| {
            let _flushes = Flushes(log.clone());
            group.try_spawn(|| Err::<(), _>("no"));
            sleep(LONG);
            Ok(())
        });
        assert_eq!((failed, log.take()), (Err("no"), vec!["flushed".to_owned()]));
    });
}

#[test]
fn what_a_member_leaves_behind_is_dropped_before_the_block_ends() {
    run(|| {
        let log = Log::new();
        Group::run(|group| {
            let theirs = log.clone();
            drop(group.spawn(move || Flushes(theirs)));
        });
        assert_eq!(log.take(), ["flushed"]);
    });
}

#[test]
fn an_inner_groups_failure_is_told_inside_of_it_alone() {
    run(|| {
        let value = Group::run(|outer| {
            let steady = outer.spawn(|| {
                sleep(MOMENT);
                "steady"
            });
            let inner: Result<(), &str> = Group::try_run(|inner| {
                inner.try_spawn(|| Err::<(), _>("inner"));
                sleep(LONG);
                Ok(())
            });
            assert_eq!(inner, Err("inner"));
            steady.join().unwrap()
        });
        assert_eq!(value, "steady");
    });
}

#[test]
fn members_have_names_and_a_group_that_has_ended_takes_none() {
    run(|| {
        let kept = Group::run(|group| {
            let never = Event::new();
            let waits = never.clone();
            group.spawn_with(Builder::new().name("the reader"), move || waits.wait()).unwrap();
            yield_now();
            assert!(tasklets().iter().any(|status| status.name.as_deref() == Some("the reader")));
            never.set();
            group.clone()
        });
        assert!(catch_unwind(AssertUnwindSafe(|| kept.spawn(|| ()))).is_err());
    });
}

#[test]
fn a_member_that_does_not_end_after_a_cancel_holds_its_block_no_longer_than_the_limit() {
    struct Waits(Event);
    impl Drop for Waits {
        fn drop(&mut self) {
            while !self.0.is_set() {
                self.0.wait();
            }
        }
    }
    let _watch = support::Watch::new();
    overlapped::Config::new().cleanup(MOMENT).run(|| {
        let end = Event::new();
        let waits = Waits(end.clone());
        Group::run(|group| {
            group.spawn(move || {
                let _waits = waits;
                sleep(LONG);
            });
            yield_now();
            group.cancel();
        });
        assert_eq!(tasklets().len(), 2);
        end.set();
        while tasklets().len() > 1 {
            sleep(Duration::from_millis(1));
        }
    });
}

/// Starts members at random that sleep, start others, end, fail or are cancelled, to some depth.
fn storm(random: &mut fastrand::Rng, group: &Group<u32>, alive: &Rc<Cell<i32>>, depth: u32) -> Result<u32, u32> {
    struct Alive(Rc<Cell<i32>>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    let mut handles: Vec<JoinHandle<u32>> = Vec::new();
    for _ in 0..random.u32(1..6) {
        let (mut theirs, members, counts) = (random.fork(), group.clone(), Rc::clone(alive));
        handles.push(group.try_spawn(move || {
            counts.set(counts.get() + 1);
            let _alive = Alive(Rc::clone(&counts));
            sleep(Duration::from_micros(theirs.u64(0..500)));
            match theirs.u32(0..20) {
                0 => Err(depth),
                1 => panic!("{depth}"),
                2..8 if depth < 3 => storm(&mut theirs, &members, &counts, depth + 1),
                8..12 if depth < 3 => Group::try_run(|inner| storm(&mut theirs, inner, &counts, depth + 1)),
                12 => {
                    timeout(Duration::from_micros(100), || sleep(Duration::from_micros(200))).map_or(Ok(0), |()| Ok(1))
                }
                _ => Ok(1),
            }
        }));
    }
    let mut sum = 0;
    for handle in handles {
        match random.u32(0..8) {
            0 => handle.cancel(),
            1 => drop(handle),
            _ => sum += handle.join().unwrap_or(0),
        }
    }
    Ok(sum)
}

#[test]
fn groups_in_a_storm_leave_no_tasklet() {
    let first = fastrand::u64(..1 << 32);
    std::panic::set_hook(Box::new({
        let usual = std::panic::take_hook();
        move |info| {
            // The storm's own panics are one digit.
            if info.payload().downcast_ref::<String>().is_none_or(|text| text.len() > 1) {
                eprintln!("the storm began with seed {first}");
                usual(info);
            }
        }
    }));
    run(|| {
        for seed in first..first + 100 {
            let (mut random, alive) = (fastrand::Rng::with_seed(seed), Rc::new(Cell::new(0)));
            let limit = Duration::from_micros(random.u64(100..3000));
            let _ = catch_unwind(AssertUnwindSafe(|| {
                timeout(limit, || Group::try_run(|group| storm(&mut random, group, &alive, 0)))
            }));
            assert_eq!((alive.get(), tasklets().len()), (0, 1), "seed {seed}");
            yield_now();
        }
    });
    let nothing_fails: Result<u32, Infallible> = run(|| Group::try_run(|_| Ok(1)));
    assert_eq!(nothing_fails, Ok(1));
}
