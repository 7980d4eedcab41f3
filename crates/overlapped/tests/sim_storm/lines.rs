//! Who waits in a line, for a value, a turn or news: each is served once, and who leaves takes nothing along.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::rc::Rc;

use overlapped::sim::{Rules, random};
use overlapped::{
    Barrier, Condition, Event, Lock, Notify, Queue, RwLock, Semaphore, after, channel, readable, select, sleep, spawn,
    yield_now,
};

use super::{Entered, MILLISECOND, a_while, pair, storm};

#[test]
fn selects_take_each_thing_once() {
    storm(Rules::default(), || {
        const EACH: usize = 10;
        let (numbers, words, permits) = (channel::<usize>(), Queue::<usize>::bounded(2), Semaphore::new(0));
        let (client, mut server) = pair();
        let came = Rc::new(RefCell::new(Vec::new()));
        let acquired = Rc::new(Cell::new(0));
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let (numbers, words, permits) = (numbers.clone(), words.clone(), permits.clone());
                let (came, acquired) = (Rc::clone(&came), Rc::clone(&acquired));
                spawn(move || {
                    loop {
                        let goes_on = select! {
                            number = numbers.receiving() => number.map(|number| came.borrow_mut().push(number)).is_ok(),
                            word = words.getting() => word.map(|word| came.borrow_mut().push(word)).is_ok(),
                            permit = permits.acquiring() => {
                                permit.forget();
                                acquired.set(acquired.get() + 1);
                                true
                            }
                            () = after(a_while(2)) => true,
                        };
                        if !goes_on.unwrap() {
                            return;
                        }
                    }
                })
            })
            .collect();
        let producers = [
            spawn({
                let numbers = numbers.clone();
                move || {
                    for number in 0..EACH {
                        if random(3) == 0 {
                            let mut value = number;
                            while let Err(left) = numbers.send_timeout(value, a_while(1)) {
                                value = left.into_inner();
                            }
                        } else {
                            numbers.send(number).unwrap();
                        }
                    }
                }
            }),
            spawn({
                let words = words.clone();
                move || (EACH..2 * EACH).for_each(|number| words.put(number).unwrap())
            }),
            spawn({
                let permits = permits.clone();
                move || {
                    for _ in 0..EACH {
                        permits.release();
                        sleep(a_while(1));
                    }
                }
            }),
            spawn(move || (&client).write_all(b"0123456789").unwrap()),
        ];
        let mut bytes = Vec::new();
        while bytes.len() < 10 {
            select! {
                _ = readable(&server) => {
                    let mut room = [0; 4];
                    let count = server.read(&mut room).unwrap();
                    bytes.extend_from_slice(&room[..count]);
                }
                () = after(a_while(1)) => {}
            }
            .unwrap();
        }
        assert_eq!(bytes, b"0123456789");
        let _ = producers.map(|producer| producer.join().unwrap());
        while came.borrow().len() < 2 * EACH || acquired.get() < EACH {
            sleep(MILLISECOND);
        }
        numbers.close();
        words.close();
        consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
        let came = came.borrow();
        let each: BTreeSet<usize> = came.iter().copied().collect();
        assert_eq!((came.len(), each.len()), (2 * EACH, 2 * EACH), "{came:?}");
        assert_eq!((acquired.get(), permits.value()), (EACH, 0));
    });
}

#[test]
fn what_is_sent_is_received_once() {
    storm(Rules::default(), || {
        const EACH: usize = 8;
        let (words, numbers) = (channel::<usize>(), Queue::<usize>::bounded(1 + random(2)));
        let came = Rc::new(RefCell::new(Vec::new()));
        // All of them may leave at any time, with what they have, and are then asked again.
        let tasklets: Vec<_> = (0..4)
            .map(|which| {
                let (words, numbers, came) = (words.clone(), numbers.clone(), Rc::clone(&came));
                spawn(move || {
                    let patience = || (random(2) == 0).then(|| a_while(2));
                    for number in 0..EACH {
                        if random(3) == 0 {
                            sleep(a_while(2));
                        }
                        match which {
                            0 => {
                                let mut value = number;
                                while let Err(left) = match patience() {
                                    Some(limit) => words.send_timeout(value, limit),
                                    None => words.send(value),
                                } {
                                    value = left.into_inner();
                                }
                            }
                            1 => {
                                let mut value = EACH + number;
                                while let Err(left) = match patience() {
                                    Some(limit) => numbers.put_timeout(value, limit),
                                    None => numbers.put(value),
                                } {
                                    value = left.into_inner();
                                }
                            }
                            _ => loop {
                                let got = match (which, patience()) {
                                    (2, Some(limit)) => words.receive_timeout(limit),
                                    (2, None) => words.receive(),
                                    (_, Some(limit)) => numbers.get_timeout(limit),
                                    (_, None) => numbers.get(),
                                };
                                if let Ok(value) = got {
                                    came.borrow_mut().push(value);
                                    break;
                                }
                            },
                        }
                    }
                })
            })
            .collect();
        tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        let mut came = came.take();
        for half in [0..EACH, EACH..2 * EACH] {
            assert!(came.iter().filter(|value| half.contains(value)).is_sorted(), "{came:?}");
        }
        came.sort_unstable();
        assert_eq!(came, Vec::from_iter(0..2 * EACH));
    });
}

#[test]
fn whoever_leaves_a_line_leaves_what_it_was_given() {
    storm(Rules::default(), || {
        let (permits, notify, table) = (Semaphore::new(0), Notify::new(), RwLock::new(()));
        for _ in 0..3 {
            let holder = table.read();
            let heard = Rc::new(Cell::new(0));
            let waiting: Vec<_> = (0..6)
                .map(|which| {
                    let (permits, notify, table) = (permits.clone(), notify.clone(), table.clone());
                    let heard = Rc::clone(&heard);
                    let waits = spawn(move || {
                        match which {
                            0 | 1 => permits.acquire().forget(),
                            2 | 3 => notify.wait(),
                            4 => drop(table.write()),
                            _ => drop(table.read()),
                        }
                        heard.set(heard.get() + 1);
                    });
                    yield_now();
                    waits
                })
                .collect();
            // The first of each line leaves, just when it is given something, or before.
            let when = random(3);
            if when == 0 {
                [0, 2, 4].iter().for_each(|first| waiting[*first].cancel());
                sleep(a_while(1));
            }
            permits.release();
            notify.notify_one();
            if when > 0 {
                [0, 2, 4].iter().for_each(|first| waiting[*first].cancel());
            }
            for (which, tasklet) in waiting.into_iter().enumerate() {
                if which == 4 {
                    let _ = tasklet.join();
                } else if which % 2 == 1 {
                    tasklet.join().unwrap();
                } else {
                    assert!(tasklet.join().unwrap_err().is_cancelled());
                }
            }
            assert_eq!((heard.get(), permits.value()), (3, 0));
            drop(holder);
        }
    });
}

#[test]
fn locks_exclude_and_are_given_back() {
    storm(Rules::default(), || {
        let (lock, table, permits) = (Lock::new(0_u32), RwLock::new(0_u32), Semaphore::new(2));
        let (inside, readers, holders) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasklets: Vec<_> = (0..6)
            .map(|_| {
                let (lock, table, permits) = (lock.clone(), table.clone(), permits.clone());
                let (inside, readers, holders) = (Rc::clone(&inside), Rc::clone(&readers), Rc::clone(&holders));
                spawn(move || {
                    let within = |count: &Rc<Cell<i32>>, most: i32| {
                        let entered = Entered::new(count);
                        assert!(count.get() <= most, "{} are inside", count.get());
                        sleep(a_while(1));
                        drop(entered);
                    };
                    for _ in 0..4 {
                        match random(6) {
                            0 => {
                                let mut value = lock.acquire();
                                within(&inside, 1);
                                *value += 1;
                            }
                            1 => drop(lock.acquire_timeout(a_while(1)).map(|mut value| {
                                within(&inside, 1);
                                *value += 1;
                            })),
                            2 => {
                                let _read = table.read();
                                within(&readers, 6);
                            }
                            3 => {
                                let mut write = table.write();
                                assert_eq!(readers.get(), 0, "somebody reads");
                                within(&Rc::default(), 1);
                                *write += 1;
                            }
                            4 => {
                                let _permit = permits.acquire();
                                within(&holders, 2);
                            }
                            _ => drop(permits.acquire_timeout(a_while(1)).map(|_permit| within(&holders, 2))),
                        }
                    }
                })
            })
            .collect();
        for _ in 0..random(4) {
            sleep(a_while(4));
            tasklets[random(6)].cancel();
        }
        for tasklet in tasklets {
            if let Err(error) = tasklet.join() {
                assert!(error.is_cancelled(), "{error}");
            }
        }
        assert_eq!((inside.get(), readers.get(), holders.get()), (0, 0, 0));
        assert!(lock.try_acquire().is_some() && table.try_write().is_some());
        assert_eq!(permits.value(), 2);
    });
}

#[test]
fn whoever_waits_for_news_hears_them() {
    storm(Rules::default(), || {
        let (event, notify, barrier) = (Event::new(), Notify::new(), Barrier::new(3));
        let (lock, condition) = (Lock::new(0), Condition::new());
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let (event, notify, barrier) = (event.clone(), notify.clone(), barrier.clone());
                let (lock, condition) = (lock.clone(), condition.clone());
                spawn(move || {
                    sleep(a_while(2));
                    event.wait();
                    barrier.wait().unwrap();
                    notify.wait();
                    let guard = condition.wait_while(lock.acquire(), |value| *value < 3);
                    assert_eq!(*guard, 3);
                })
            })
            .collect();
        // Some wait for a moment only, and leave their places.
        for _ in 0..random(4) {
            let (event, notify) = (event.clone(), notify.clone());
            let leaves =
                spawn(move || (event.wait_timeout(a_while(2)).is_err(), notify.wait_timeout(a_while(1)).is_err()));
            sleep(a_while(1));
            leaves.cancel();
            let _ = leaves.join();
        }
        sleep(a_while(3));
        event.set();
        let mut told = 0;
        while !waiting.iter().all(|tasklet| tasklet.is_finished()) {
            sleep(a_while(2));
            match random(2) {
                0 if told < 100 => notify.notify_one(),
                0 => notify.notify_all(),
                _ => {
                    *lock.acquire() = 3;
                    condition.notify_all();
                }
            }
            told += 1;
            assert!(told < 10_000, "who waits was not told");
        }
        waiting.into_iter().for_each(|tasklet| tasklet.join().unwrap());
    });
}
