//! Pools: so many at a time, in order or as they come, and nobody left.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use overlapped::{Pool, sleep, spawn, tasklets, timeout, yield_now};
use support::{LONG, run};

/// How many are inside, and how many were at most.
#[derive(Clone, Default)]
struct Crowd(Rc<Cell<(usize, usize)>>);

impl Crowd {
    fn enter(&self) -> Leaves {
        let (now, most) = self.0.get();
        self.0.set((now + 1, most.max(now + 1)));
        Leaves(self.clone())
    }
}

struct Leaves(Crowd);

impl Drop for Leaves {
    fn drop(&mut self) {
        let (now, most) = self.0.0.get();
        self.0.0.set((now - 1, most));
    }
}

#[test]
fn so_many_run_at_a_time_and_whoever_starts_more_waits() {
    run(|| {
        let crowd = Crowd::default();
        Pool::run(3, |pool| {
            for _ in 0..20 {
                let crowd = crowd.clone();
                pool.spawn(move || {
                    let _inside = crowd.enter();
                    sleep(Duration::from_millis(1));
                });
                assert!(pool.group().len() <= 3, "no tasklet is started that has no place");
            }
        });
        assert_eq!((crowd.0.get(), tasklets().len()), ((0, 3), 1));
        let no_place = catch_unwind(AssertUnwindSafe(|| Pool::run(0, |_| ())));
        assert!(no_place.is_err());
    });
}

#[test]
fn a_map_gives_results_in_the_order_of_the_items_or_as_they_come() {
    run(|| {
        let pauses = [30, 1, 2, 3, 1, 1];
        let crowd = Crowd::default();
        Pool::run(2, |pool| {
            let theirs = crowd.clone();
            let waits = move |pause| {
                let _inside = theirs.enter();
                sleep(Duration::from_millis(pause));
                pause
            };
            let map = pool.map(pauses, waits.clone());
            assert_eq!(map.collect::<Vec<_>>(), pauses);
            let mut unordered = pool.map_unordered(pauses, waits);
            assert_ne!(unordered.next(), Some(30), "the slow one holds back no other");
            let mut rest: Vec<_> = unordered.collect();
            rest.sort_unstable();
            assert_eq!(rest, [1, 1, 2, 3, 30]);
            // Two at once share the places.
            let both = pool.map(0..10, |n| n).zip(pool.map_unordered(0..10, |n| n));
            assert_eq!(both.map(|(a, b)| a + b).sum::<i32>(), 90);
        });
        assert_eq!(crowd.0.get(), (0, 2));
    });
}

#[test]
fn a_map_takes_no_more_items_than_it_has_places_for() {
    run(|| {
        let taken = Rc::new(Cell::new(0));
        Pool::run(3, |pool| {
            let counts = Rc::clone(&taken);
            let mut map = pool.map((0..).inspect(move |_| counts.set(counts.get() + 1)), |n| n);
            for n in 0..5 {
                assert_eq!(map.next(), Some(n));
                yield_now();
                assert!(taken.get() <= n + 4);
            }
        });
    });
}

#[test]
fn a_member_that_fails_ends_the_pool_and_whoever_waits_for_a_place_or_a_result() {
    run(|| {
        let waits_for_a_place: Result<(), &str> = Pool::try_run(1, |pool| {
            pool.try_spawn(|| Err::<(), _>("no"));
            pool.spawn(|| sleep(LONG));
            pool.spawn(|| unreachable!("there is no place"));
            Ok(())
        });
        assert_eq!(waits_for_a_place, Err("no"));
        for ordered in [true, false] {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                Pool::run(2, |pool| {
                    let fails = |n| if n == 3 { std::panic::resume_unwind(Box::new(n)) } else { n };
                    if ordered { pool.map(0..9, fails).sum::<i32>() } else { pool.map_unordered(0..9, fails).sum() }
                })
            }));
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&3));
        }
        let waits = spawn(|| Pool::run(1, |pool| (0..2).for_each(|_| drop(pool.spawn(|| sleep(LONG))))));
        yield_now();
        waits.cancel();
        assert!(waits.join().unwrap_err().is_cancelled());
        assert_eq!(tasklets().len(), 1);
    });
}

#[test]
fn pools_in_a_storm_keep_their_limit_and_leave_no_tasklet() {
    let first = fastrand::u64(..1 << 32);
    run(|| {
        for seed in first..first + 80 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (limit, crowd) = (random.usize(1..5), Crowd::default());
            let time = Duration::from_micros(random.u64(100..4000));
            let done = timeout(time, || {
                Pool::try_run(limit, |pool| {
                    let mut sum = 0;
                    for _ in 0..random.u32(1..10) {
                        let (theirs, inside) = (random.fork(), crowd.clone());
                        let work = move |n: u32| {
                            let _inside = inside.enter();
                            sleep(Duration::from_micros(theirs.clone().u64(0..100) * u64::from(n)));
                            n
                        };
                        let handle = match random.u32(0..5) {
                            0 => pool.try_spawn(move || if work(1) == 1 { Err("at random") } else { Ok(0) }),
                            1 => {
                                sum += pool.map(0..5, work).sum::<u32>();
                                continue;
                            }
                            2 => {
                                sum += pool.map_unordered(0..5, work).take(3).sum::<u32>();
                                continue;
                            }
                            _ => pool.spawn(move || work(2)),
                        };
                        if random.bool() {
                            handle.cancel();
                        }
                    }
                    Ok(sum)
                })
            });
            let (inside, most) = crowd.0.get();
            assert!(inside == 0 && most <= limit, "seed {seed}: {most} of {limit}, {done:?}");
            assert_eq!(tasklets().len(), 1, "seed {seed}");
        }
    });
}
