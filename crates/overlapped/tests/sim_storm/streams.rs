//! Sockets: what is sent, what comes, and what becomes of who gives up.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use overlapped::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use overlapped::sim::{Rules, random};
use overlapped::{is_cancelled, readable, select, sleep, spawn, timeout, yield_now};

use super::{MILLISECOND, SERVER, a_while, bytes_at, pair, storm};

/// Sends a stream in pieces, each in another way, and ends it.
pub(super) fn send_all(stream: &TcpStream, whole: usize) {
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
pub(super) fn receive_all(stream: TcpStream, whole: usize) {
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
