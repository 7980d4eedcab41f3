//! Waiting for the ends of tasklets, and for the first of everything there is.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use overlapped::{
    Branch, Event, JoinHandle, Queue, Semaphore, after, as_completed, channel, first_completed, first_of, is_cancelled,
    shield, sleep, spawn, tasklets, timeout, uncancellable, wait, yield_now,
};
use support::{LONG, Log, run};

const MOMENT: Duration = Duration::from_millis(10);

/// Tasklets that end when their event is set, with its number.
fn held(count: usize) -> (Vec<Event>, Vec<JoinHandle<usize>>) {
    let events: Vec<Event> = (0..count).map(|_| Event::new()).collect();
    let waits = |(number, event): (usize, Event)| {
        spawn(move || {
            event.wait();
            number
        })
    };
    let tasklets = events.iter().cloned().enumerate().map(waits).collect();
    (events, tasklets)
}

#[test]
fn results_come_in_the_order_of_the_ends_with_their_places() {
    run(|| {
        let (events, tasklets) = held(4);
        events[2].set();
        yield_now();
        yield_now();
        assert!(tasklets[2].is_finished());
        tasklets[1].cancel();
        let mut completed = as_completed(tasklets);
        assert_eq!(completed.len(), 4);
        let (place, result) = completed.next().unwrap();
        assert_eq!((place, result.unwrap()), (2, 2));
        let (place, result) = completed.next().unwrap();
        assert!(place == 1 && result.unwrap_err().is_cancelled());
        let sets = events[3].clone();
        spawn(move || sets.set());
        assert_eq!(completed.next().map(|(place, result)| (place, result.unwrap())), Some((3, 3)));
        assert!(timeout(MOMENT, || completed.next()).is_err(), "it is told as any wait");
        let pending = completed.into_pending();
        events[0].set();
        assert_eq!(pending.into_iter().map(|tasklet| tasklet.join().unwrap()).collect::<Vec<_>>(), [0]);
    });
}

#[test]
fn twenty_thousand_ends_come_each_once() {
    run(|| {
        let tasklets: Vec<_> = (0..20_000_usize).map(|number| spawn(move || number)).collect();
        let mut seen = vec![false; tasklets.len()];
        for (place, result) in as_completed(tasklets) {
            assert!(place == result.unwrap() && !std::mem::replace(&mut seen[place], true));
        }
        assert!(seen.iter().all(|seen| *seen));
    });
}

#[test]
fn who_waits_for_some_ends_leaves_the_results_where_they_are() {
    run(|| {
        let (events, tasklets) = held(3);
        assert_eq!(wait(&tasklets, Some(MOMENT), None).unwrap(), 0);
        events[1].set();
        assert_eq!(first_completed(&tasklets).unwrap(), 1);
        assert_eq!(wait(&tasklets, None, Some(1)).unwrap(), 1);
        assert!(timeout(MOMENT, || wait(&tasklets, None, Some(2))).is_err());
        events.iter().for_each(Event::set);
        assert_eq!(wait(&tasklets, None, Some(9)).unwrap(), 3);
        assert_eq!(tasklets.into_iter().map(|tasklet| tasklet.join().unwrap()).sum::<usize>(), 3);
        assert_eq!(first_completed::<JoinHandle<()>>(&[]).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        let waits = spawn(|| is_cancelled(&wait(&held(2).1, None, Some(1)).unwrap_err()));
        yield_now();
        waits.cancel();
        assert!(waits.join().unwrap());
    });
}

#[test]
fn a_tasklet_that_has_ended_stays_ready_and_its_result_is_there() {
    run(|| {
        let here = overlapped::handle();
        let end = Event::new();
        let waits = end.clone();
        let theirs = std::thread::spawn(move || here.spawn(move || waits.wait())).join().unwrap();
        let mut late = after(Duration::from_millis(1));
        assert_eq!(first_of(&mut [&mut theirs.finishing(), &mut late]).unwrap(), 1);
        end.set();
        let mut never = after(LONG);
        assert_eq!(first_of(&mut [&mut never, &mut theirs.finishing()]).unwrap(), 1);
        assert_eq!(first_of(&mut [&mut theirs.finishing(), &mut late]).unwrap(), 0);
        theirs.join().unwrap();
        // What has passed once has passed for good.
        assert_eq!(first_of(&mut [&mut never, &mut late]).unwrap(), 1);
    });
    // A thread without tasklets waits as well.
    assert_eq!(first_of(&mut [&mut Event::new().waiting(), &mut after(Duration::from_millis(1))]).unwrap(), 1);
}

#[test]
fn what_is_shielded_runs_to_its_end_and_the_one_that_waits_is_told_then() {
    run(|| {
        let log = Log::new();
        let theirs = log.clone();
        let waits = spawn(move || {
            let inner = theirs.clone();
            let value = shield(move || {
                sleep(MOMENT);
                inner.add("saved");
                7
            });
            theirs.add(format!("has {value}"));
            sleep(LONG);
        });
        yield_now();
        waits.cancel();
        assert!(waits.join().unwrap_err().is_cancelled());
        assert_eq!(log.take(), ["saved", "has 7"]);
        let late = timeout(Duration::from_millis(1), || {
            shield(|| sleep(MOMENT));
            sleep(LONG);
        });
        assert!(late.is_err());
        let failed = catch_unwind(AssertUnwindSafe(|| shield(|| std::panic::resume_unwind(Box::new(5)))));
        assert_eq!(failed.unwrap_err().downcast_ref(), Some(&5));
    });
}

#[test]
fn the_first_of_everything_in_a_storm_loses_nothing() {
    let first = fastrand::u64(..1 << 32);
    run(|| {
        for seed in first..first + 60 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (values, lines, permits, sent) =
                (channel(), Queue::bounded(random.usize(0..3)), Semaphore::new(0), Rc::new(Cell::new(0)));
            let givers: Vec<_> = (0..6)
                .map(|n| {
                    let (values, lines, permits, sent) = (values.clone(), lines.clone(), permits.clone(), sent.clone());
                    let mut random = random.fork();
                    spawn(move || {
                        for _ in 0..20 {
                            let limit = Duration::from_micros(random.u64(1..100));
                            let given = match n % 3 {
                                0 => values.send_timeout(1, limit).is_ok(),
                                1 => lines.put_timeout(1, limit).is_ok(),
                                _ => {
                                    permits.release();
                                    sleep(limit);
                                    true
                                }
                            };
                            sent.set(sent.get() + u32::from(given));
                        }
                    })
                })
                .collect();
            let stop = Event::new();
            let takers: Vec<JoinHandle<u32>> = (0..5)
                .map(|_| {
                    let (values, lines, permits, stop) = (values.clone(), lines.clone(), permits.clone(), stop.clone());
                    let mut random = random.fork();
                    spawn(move || {
                        let mut got = 0;
                        loop {
                            let (mut value, mut line, mut permit) =
                                (values.receiving(), lines.getting(), permits.acquiring());
                            let (mut stopped, mut late) =
                                (stop.waiting(), after(Duration::from_micros(random.u64(1..200))));
                            let mut branches: [&mut dyn Branch; 4] = [&mut value, &mut line, &mut permit, &mut late];
                            random.shuffle(&mut branches);
                            let [a, b, c, d] = branches;
                            let limit = Duration::from_micros(random.u64(1..300));
                            let place = timeout(limit, || first_of(&mut [a, b, c, d, &mut stopped]));
                            if let Some(permit) = permit.take() {
                                // It is used up.
                                permit.forget();
                                got += 1;
                            }
                            got += value.take().map_or(0, Result::unwrap) + line.take().map_or(0, Result::unwrap);
                            if matches!(place, Ok(Ok(4))) {
                                return got;
                            }
                        }
                    })
                })
                .collect();
            wait(&givers, None, None).unwrap();
            while permits.value() > 0 || !lines.is_empty() || permits.is_handed_over() {
                sleep(Duration::from_micros(100));
            }
            stop.set();
            let got: u32 = takers.into_iter().map(|taker| uncancellable(|| taker.join()).unwrap()).sum();
            assert_eq!((got, values.balance()), (sent.get(), 0), "seed {seed}");
            givers.into_iter().for_each(|giver| giver.join().unwrap());
            assert_eq!(tasklets().len(), 1, "seed {seed}");
        }
    });
}
