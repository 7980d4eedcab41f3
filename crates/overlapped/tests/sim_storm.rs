//! Scenes that do at random what programs do, in a simulated world, under many seeds: what must hold of each is checked. They
//! are what `scripts/planted.py` looks for planted faults with.
//!
//! `OVERLAPPED_SEEDS=1000..2000` runs other seeds than the first hundred of each scene.
#![cfg(unix)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use overlapped::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use overlapped::reactor::{self, Protocol, Transport};
use overlapped::sim::{self, Rules, Simulation, random};
use overlapped::{
    Barrier, CancellationToken, Condition, Event, Group, Lock, Notify, Queue, ReceiveError, RwLock, Semaphore, after,
    channel, is_cancelled, readable, select, sleep, spawn, timeout, yield_now,
};

const SERVER: &str = "10.0.0.1:80";
const MILLISECOND: Duration = Duration::from_millis(1);

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("OVERLAPPED_SEEDS") else { return 0..100 };
    let (first, end) = text.split_once("..").expect("OVERLAPPED_SEEDS=first..end");
    first.parse().expect("a number")..end.parse().expect("a number")
}

/// Runs a scene under each seed; at its end nothing is in flight, and no tasklet is left.
fn storm(rules: Rules, scene: fn()) {
    let ran = Simulation::new().rules(rules).limit(Duration::from_secs(20)).explore(seeds(), move || {
        scene();
        let left = overlapped::tasklets().len();
        assert_eq!(left, 2, "run's own and the scene: {:?}", overlapped::tasklets());
        let report = overlapped::report().unwrap();
        assert!(report.in_flight.is_empty(), "{report}");
        assert_eq!(overlapped::engine::current().unwrap().in_flight(), 0, "slots that are in use by none");
        assert_eq!(report.timers, 0, "{report}");
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}

/// No more than so many milliseconds, of few lengths: things are to happen at the same time.
fn a_while(most: usize) -> Duration {
    Duration::from_micros(random(4 * most) as u64 * 250)
}

/// A connection, and the other end of it.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("10.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (client, server)
}

/// The bytes from `start` on of a stream in which each place has its own.
fn bytes_at(start: usize, count: usize) -> Vec<u8> {
    (start..start + count).map(|place| (place * 31 % 251) as u8).collect()
}

/// Sends a stream in pieces, each in another way, and ends it.
fn send_all(stream: &TcpStream, whole: usize) {
    let mut sent = 0;
    while sent < whole {
        let bytes = bytes_at(sent, (1 + random(3000)).min(whole - sent));
        sent += match random(4) {
            0 => (&*stream).write(&bytes).unwrap(),
            1 => {
                let (front, back) = bytes.split_at(bytes.len() / 2);
                (&*stream).write_vectored(&[IoSlice::new(front), IoSlice::new(back)]).unwrap()
            }
            _ => {
                (&*stream).write_all(&bytes).unwrap();
                bytes.len()
            }
        };
        if random(4) == 0 {
            sleep(a_while(3));
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Receives a stream by reads that time out, are cancelled and are asked again: nothing is lost and nothing comes twice.
fn receive_all(stream: TcpStream, whole: usize) {
    let (stream, came) = (Rc::new(stream), Rc::new(RefCell::new(Vec::new())));
    loop {
        let room = 1 + random(2000);
        let read = {
            let (stream, came) = (Rc::clone(&stream), Rc::clone(&came));
            move || {
                let mut room = vec![0; room];
                let count = (&*stream).read(&mut room)?;
                came.borrow_mut().extend_from_slice(&room[..count]);
                std::io::Result::Ok(count)
            }
        };
        let ended = match random(5) {
            0 => {
                let reader = spawn(read);
                sleep(a_while(2));
                reader.cancel();
                match reader.join() {
                    Ok(Ok(count)) => count == 0,
                    Ok(Err(error)) => !assert_cancelled(&error),
                    Err(error) => !assert_true(error.is_cancelled()),
                }
            }
            1 => match timeout(a_while(2), &read) {
                Ok(Ok(count)) => count == 0,
                Ok(Err(error)) => !assert_true(error.kind() == ErrorKind::TimedOut),
                Err(_) => false,
            },
            2 => {
                select! { _ = readable(&*stream) => () }.unwrap();
                read().unwrap() == 0
            }
            _ => read().unwrap() == 0,
        };
        if ended {
            break;
        }
    }
    assert!(*came.borrow() == bytes_at(0, whole), "{} bytes of {whole} came, or others", came.borrow().len());
}

fn assert_true(is_so: bool) -> bool {
    assert!(is_so);
    true
}

fn assert_cancelled(error: &std::io::Error) -> bool {
    assert_true(is_cancelled(error))
}

#[test]
fn streams_both_ways() {
    storm(Rules::default(), || {
        let conversations: Vec<_> = (0..1 + random(3))
            .map(|_| {
                let (client, server) = pair();
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)].map(|(from, to)| {
                    let whole = random(20_000);
                    (spawn(move || send_all(&from, whole)), spawn(move || receive_all(to, whole)))
                })
            })
            .collect();
        for (sends, receives) in conversations.into_iter().flatten() {
            sends.join().unwrap();
            receives.join().unwrap();
        }
    });
}

#[test]
fn receives_of_several_are_served_in_order() {
    storm(Rules { short: 0, ..Rules::default() }, || {
        let (client, server) = pair();
        let (server, order) = (Rc::new(server), Rc::new(RefCell::new(Vec::new())));
        let many = 2 + random(5);
        let readers: Vec<_> = (0..many)
            .map(|number| {
                let (server, order) = (Rc::clone(&server), Rc::clone(&order));
                let reader = spawn(move || {
                    let mut room = [0];
                    (&*server).read_exact(&mut room).map(|()| order.borrow_mut().push((number, room[0])))
                });
                yield_now();
                reader
            })
            .collect();
        // One leaves the line; the others keep their places.
        let leaves = random(many + 2);
        sleep(a_while(2));
        if let Some(reader) = readers.get(leaves) {
            reader.cancel();
        }
        for number in 0..many as u8 {
            (&client).write_all(&[number]).unwrap();
            sleep(a_while(2));
        }
        let mut ended = 0;
        for reader in readers {
            ended += usize::from(reader.join().is_ok_and(|read| read.is_ok()));
        }
        let order = order.borrow();
        assert!(ended >= many - 1 && order.len() == ended);
        let mut by_byte = order.clone();
        by_byte.sort_by_key(|(_, byte)| *byte);
        assert!(by_byte.is_sorted_by_key(|(number, _)| *number), "{order:?}");
        assert!(by_byte.iter().enumerate().all(|(place, (_, byte))| usize::from(*byte) == place), "{order:?}");
    });
}

#[test]
fn sends_of_all_do_not_mix() {
    storm(Rules { window: 2000, ..Rules::default() }, || {
        const EACH: usize = 3000;
        let (client, mut server) = pair();
        let client = Rc::new(client);
        let writers: Vec<_> = (1..=3_u8)
            .map(|mark| {
                let client = Rc::clone(&client);
                spawn(move || (&*client).write_all(&[mark; EACH]).unwrap())
            })
            .collect();
        let mut came = vec![0; 3 * EACH];
        server.read_exact(&mut came).unwrap();
        assert!(came.chunks(EACH).all(|chunk| chunk.iter().all(|byte| *byte == chunk[0])));
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
}

#[test]
fn sends_go_out_in_the_order_in_which_they_were_asked() {
    storm(Rules { window: 3000, ..Rules::default() }, || {
        const BLOCK: usize = 1000;
        const BLOCKS: u8 = 12;
        let (client, mut server) = pair();
        let (client, next) = (Rc::new(client), Rc::new(Cell::new(0)));
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let (client, next) = (Rc::clone(&client), Rc::clone(&next));
                spawn(move || {
                    while next.get() < BLOCKS {
                        let number = next.replace(next.get() + 1);
                        (&*client).write_all(&[number; BLOCK]).unwrap();
                        if random(2) == 0 {
                            sleep(a_while(2));
                        }
                    }
                })
            })
            .collect();
        let (mut came, mut room) = (Vec::new(), [0; 1500]);
        while came.len() < usize::from(BLOCKS) * BLOCK {
            let count = server.read(&mut room).unwrap();
            came.extend_from_slice(&room[..count]);
            if random(3) == 0 {
                yield_now();
            }
        }
        assert!(
            came.is_sorted(),
            "{:?}",
            came.chunk_by(|one, other| one == other).map(|part| part[0]).collect::<Vec<_>>()
        );
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
}

#[test]
fn a_slow_reader_is_sent_all_as_long_as_it_takes_something() {
    storm(Rules { window: 4000, ..Rules::default() }, || {
        const WHOLE: usize = 40_000;
        let (client, mut server) = pair();
        client.set_write_timeout(Some(MILLISECOND * 20)).unwrap();
        let sends = spawn(move || (&client).write_all(&bytes_at(0, WHOLE)).unwrap());
        let mut came = Vec::new();
        let mut room = [0; 2000];
        while came.len() < WHOLE {
            let count = server.read(&mut room).unwrap();
            came.extend_from_slice(&room[..count]);
            sleep(a_while(2));
        }
        assert!(came == bytes_at(0, WHOLE));
        sends.join().unwrap();
    });
}

#[test]
fn connections_come_and_go() {
    storm(Rules { reset: 30, refused: 10, no_descriptors: 40, ..Rules::default() }, || {
        let listener = loop {
            if let Ok(listener) = TcpListener::bind(SERVER) {
                break listener;
            }
        };
        let (served, asked) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let server = {
            let served = Rc::clone(&served);
            spawn(move || {
                loop {
                    let mut stream = match listener.accept() {
                        Ok((stream, _)) => stream,
                        Err(error) if is_cancelled(&error) => return,
                        Err(_) => continue,
                    };
                    let served = Rc::clone(&served);
                    spawn(move || {
                        let mut number = [0; 4];
                        stream.read_exact(&mut number)?;
                        served.set(served.get() + 1);
                        stream.write_all(&number)
                    });
                }
            })
        };
        let clients: Vec<_> = (0..1 + random(6))
            .map(|_| {
                let asked = Rc::clone(&asked);
                spawn(move || {
                    for _ in 0..3 {
                        let number = (asked.get() as u32).to_be_bytes();
                        asked.set(asked.get() + 1);
                        let _ = timeout(a_while(20), || {
                            let mut stream = TcpStream::connect(SERVER)?;
                            stream.write_all(&number)?;
                            let mut answer = [0; 4];
                            stream.read_exact(&mut answer)?;
                            assert_eq!(answer, number, "another's answer");
                            std::io::Result::Ok(())
                        });
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(served.get() <= asked.get());
        server.cancel();
        let _ = server.join();
        while overlapped::tasklets().len() > 2 {
            sleep(Duration::from_secs(1));
        }
    });
}

#[test]
fn a_connect_that_is_given_up_leaves_nothing() {
    storm(Rules::default(), || {
        let listener = Rc::new(TcpListener::bind(SERVER).unwrap());
        for _ in 0..4 {
            let (theirs, accepted) = (Rc::clone(&listener), random(3));
            let accepts = spawn(move || {
                let taken = timeout(a_while(4), || theirs.accept());
                matches!(taken, Ok(Ok(_)))
            });
            let connects = spawn(|| timeout(a_while(4), || TcpStream::connect(SERVER)).is_ok_and(|made| made.is_ok()));
            if accepted == 0 {
                sleep(a_while(3));
                accepts.cancel();
            }
            let _ = (accepts.join(), connects.join());
        }
        // Who was not accepted waits in the backlog, and whoever is the next to accept gets it, or nobody.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("10.0.0.2:5000".parse().unwrap()).unwrap();
        let client = socket.connect(SERVER.parse().unwrap()).unwrap();
        while listener.accept().unwrap().1 != client.local_addr().unwrap() {}
    });
}

#[test]
fn datagrams_come_whole_or_not_at_all() {
    let rules = Rules { loss: 8, doubled: 8, ..Rules::default() };
    storm(rules, || {
        let server = UdpSocket::bind("10.0.0.1:53").unwrap();
        let client = UdpSocket::bind("10.0.0.2:0").unwrap();
        let address = client.local_addr().unwrap();
        let sender = spawn(move || {
            for number in 0..20 {
                let length = random(300);
                let mut datagram = vec![number; length + 1];
                datagram[0] = length as u8;
                client.send_to(&datagram, "10.0.0.1:53").unwrap();
                if random(3) == 0 {
                    sleep(a_while(3));
                }
            }
        });
        server.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut room = [0; 200];
        loop {
            let received = match server.recv_message(&mut room) {
                Ok(received) => received,
                Err(error) if sender.is_finished() => break assert_eq!(error.kind(), ErrorKind::TimedOut),
                Err(_) => continue,
            };
            let bytes = &room[..received.length];
            assert_eq!(received.from, address);
            assert!(bytes[1..].iter().all(|byte| Some(byte) == bytes.get(1)), "{bytes:?}");
            assert!(received.truncated || (received.length - 1) as u8 == bytes[0], "{bytes:?}");
            assert_eq!(received.truncated, received.length == 200 && bytes[0] as usize != 199);
        }
        sender.join().unwrap();
    });
}

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

/// Counts who is inside, also where the wait in it is told to leave.
struct Entered(Rc<Cell<i32>>);

impl Entered {
    fn new(count: &Rc<Cell<i32>>) -> Entered {
        count.set(count.get() + 1);
        Entered(Rc::clone(count))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
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

#[test]
fn files_are_as_they_were_written() {
    let rules = Rules { short_files: 3, ..Rules::default() };
    storm(rules, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = Rc::new(overlapped::fs::File::create(&path).unwrap());
        let writers: Vec<_> = (0..3_usize)
            .map(|number| {
                let file = Rc::clone(&file);
                spawn(move || {
                    let mut written = 0;
                    while written < 500 {
                        let place = number * 500 + written;
                        written += file.write_at(&bytes_at(place, 500 - written), place as u64).unwrap();
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        file.sync_all().unwrap();
        assert!(overlapped::fs::read(&path).unwrap() == bytes_at(0, 1500));
    });
}

/// Sends back what comes, by callbacks.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
        transport.write(bytes);
    }
}

#[test]
fn a_protocol_and_tasklets_talk_to_each_other() {
    storm(Rules::default(), || {
        let listening = reactor::listen(TcpListener::bind(SERVER).unwrap(), || Echo).unwrap();
        let clients: Vec<_> = (0..1 + random(3))
            .map(|_| {
                spawn(|| {
                    let whole = random(10_000);
                    let stream = TcpStream::connect(SERVER).unwrap();
                    let from = stream.try_clone().unwrap();
                    let sends = spawn(move || send_all(&from, whole));
                    receive_all(stream, whole);
                    sends.join().unwrap();
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        listening.close();
        sleep(Duration::from_secs(1));
    });
}
