//! Words to one or to all, of which none is lost or heard twice.

mod support;

use std::time::Duration;

use overlapped::{Event, Notify, first_of, spawn, timeout, yield_now};
use support::{Log, run};

const MOMENT: Duration = Duration::from_millis(5);

#[test]
fn a_word_is_kept_for_one_and_goes_to_the_one_that_waits_longest() {
    run(|| {
        let (notify, log) = (Notify::new(), Log::new());
        notify.notify_one();
        notify.notify_one();
        notify.wait();
        assert!(notify.wait_timeout(MOMENT).is_err());
        let waits: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| {
                let (notify, log) = (notify.clone(), log.clone());
                spawn(move || {
                    notify.wait();
                    log.add(name);
                })
            })
            .into();
        yield_now();
        notify.notify_one();
        notify.notify_one();
        yield_now();
        assert_eq!(log.take(), ["a", "b"]);
        notify.notify_all();
        waits.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        assert_eq!(log.take(), ["c", "d"]);
        assert!(notify.wait_timeout(MOMENT).is_err(), "what is said to all is not kept");
    });
}

#[test]
fn a_word_to_one_that_is_told_to_leave_goes_to_the_next_but_not_one_to_all() {
    run(|| {
        let notify = Notify::new();
        for all in [false, true] {
            let theirs = notify.clone();
            let waits = spawn(move || theirs.wait());
            yield_now();
            // It was told, and has not run since.
            if all {
                notify.notify_all()
            } else {
                notify.notify_one()
            }
            waits.cancel();
            assert!(waits.join().unwrap_err().is_cancelled());
            assert_eq!(notify.wait_timeout(MOMENT).is_ok(), !all);
        }
    });
}

#[test]
fn a_word_is_one_of_several_to_wait_for() {
    run(|| {
        let (notify, never) = (Notify::new(), Event::new());
        let theirs = notify.clone();
        spawn(move || theirs.notify_one());
        assert_eq!(first_of(&mut [&mut never.waiting(), &mut notify.hearing()]).unwrap(), 1);
        assert!(timeout(MOMENT, || first_of(&mut [&mut notify.hearing(), &mut never.waiting()])).is_err());
        notify.notify_one();
        assert_eq!(first_of(&mut [&mut notify.hearing()]).unwrap(), 0, "the place was given back");
    });
}

#[test]
fn threads_that_talk_to_each_other_miss_no_word() {
    const ROUNDS: usize = 1000;
    run(|| {
        let (there, back) = (Notify::new(), Notify::new());
        let (theirs, mine) = (there.clone(), back.clone());
        let thread = std::thread::spawn(move || {
            for _ in 0..ROUNDS {
                theirs.wait();
                mine.notify_one();
            }
        });
        for _ in 0..ROUNDS {
            there.notify_one();
            back.wait();
        }
        thread.join().unwrap();
    });
}
