//! Other threads, timers, groups.

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::sim::{self, Rules, random};
use overlapped::{CancellationToken, Event, Group, Queue, ReceiveError, Semaphore, sleep, spawn, timeout};

use super::{Entered, MILLISECOND, SERVER, a_while, storm};

#[test]
fn what_other_threads_do_wakes_those_who_wait() {
    storm(Rules::default(), || {
        const EACH: usize = 4;
        let (numbers, event, permits) = (Queue::bounded(1 + random(3)), Event::new(), Semaphore::new(0));
        let stop = CancellationToken::new();
        let (put, got) = (Arc::new(AtomicUsize::new(0)), Rc::new(Cell::new(0)));
        let mut waiting = Vec::new();
        for _ in 0..2 {
            let (numbers, got) = (numbers.clone(), Rc::clone(&got));
            waiting.push(spawn(move || {
                loop {
                    let patience = (random(2) == 0).then(|| a_while(2));
                    match patience.map_or_else(|| numbers.get(), |limit| numbers.get_timeout(limit)) {
                        Ok(()) => got.set(got.get() + 1),
                        Err(ReceiveError::Closed) => break,
                        Err(_) => {}
                    }
                }
            }));
        }
        let (theirs, permitted, stopped) = (event.clone(), permits.clone(), stop.clone());
        waiting.push(spawn(move || {
            theirs.wait();
            (0..EACH).for_each(|_| permitted.acquire().forget());
            stopped.wait();
        }));
        for _ in 0..EACH {
            let (numbers, event, permits, put) = (numbers.clone(), event.clone(), permits.clone(), Arc::clone(&put));
            sim::on_other_thread(a_while(6), move || {
                put.fetch_add(usize::from(numbers.try_put(()).is_ok()), Ordering::Relaxed);
            });
            sim::on_other_thread(a_while(6), move || event.set());
            sim::on_other_thread(a_while(6), move || permits.release());
        }
        sim::on_other_thread(8 * MILLISECOND, move || numbers.close());
        sim::on_other_thread(9 * MILLISECOND, move || stop.cancel());
        waiting.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        assert_eq!(got.get(), put.load(Ordering::Relaxed));
        assert_eq!(permits.value(), 0);
    });
}

#[test]
fn timers_are_kept_in_order_and_never_early() {
    storm(Rules::default(), || {
        let rung = Rc::new(RefCell::new(Vec::new()));
        let sleepers: Vec<_> = (0..10)
            .map(|_| {
                let (rung, length) = (Rc::clone(&rung), MILLISECOND + a_while(20));
                let due = sim::now() + length;
                spawn(move || {
                    let slept = if random(3) == 0 {
                        timeout(length, || sleep(length * 2)).is_err()
                    } else {
                        sleep(due - sim::now());
                        true
                    };
                    assert!(slept && sim::now() >= due);
                    rung.borrow_mut().push(sim::now());
                })
            })
            .collect();
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        assert!(rung.borrow().is_sorted());
        // A block within a block: the nearer deadline fires, and the wait after it goes on.
        let before = sim::now();
        let outer = timeout(MILLISECOND * 10, || {
            let inner = timeout(MILLISECOND * 3, || sleep(MILLISECOND * 100));
            assert!(inner.is_err());
            sleep(MILLISECOND * 100);
        });
        assert!(outer.is_err() && sim::now() - before < MILLISECOND * 50);
    });
}

#[test]
fn groups_end_with_all_their_members() {
    storm(Rules::default(), || {
        let (alive, listener) = (Rc::new(Cell::new(0)), TcpListener::bind(SERVER).unwrap());
        let _peer = TcpStream::connect(SERVER).unwrap();
        let stream = Rc::new(listener.accept().unwrap().0);
        let fails = random(2) == 0;
        let ended = Group::try_run(|group: &Group<u8>| {
            for number in 0..4 {
                let (alive, stream, limit) = (Rc::clone(&alive), Rc::clone(&stream), a_while(3));
                group.try_spawn(move || {
                    let _entered = Entered::new(&alive);
                    match number {
                        0 if fails => {
                            sleep(limit);
                            return Err(7);
                        }
                        1 => drop((&*stream).read(&mut [0; 4])),
                        2 => sleep(Duration::from_secs(5)),
                        _ => sleep(limit),
                    }
                    Ok(())
                });
            }
            if !fails {
                sleep(a_while(5));
                group.cancel();
            }
            Ok(())
        });
        assert_eq!(ended.err(), fails.then_some(7));
        assert_eq!(alive.get(), 0, "a member outlives its group");
    });
}
