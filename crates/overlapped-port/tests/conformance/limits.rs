//! More than fits: full queues, few slots.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use overlapped_port::sys::{raw_file, raw_socket};
use overlapped_port::{Config, Op};

use crate::driver::{Driver, assert_cancelled, bytes_at, socket as new_socket};
use crate::loopback::{datagram_pair, listener, pair};
use crate::patience::patience;
use crate::system;

crate::on_every_backend!(
    two_thousand_reads_before_one_poll,
    two_thousand_receives_before_one_poll,
    two_thousand_sends_before_one_poll,
    two_thousand_cancels_before_one_poll,
    idle_receives_hold_back_nothing_however_many,
    a_shutdown_does_not_overtake_a_send,
    a_small_port_takes_many_connections,
    ports_of_one_thread_do_not_disturb_each_other,
    a_port_for_each_of_many_threads,
);

const MANY: usize = 2_000;

fn two_thousand_reads_before_one_poll(config: Config) {
    let mut driver = Driver::new(config);
    let all = bytes_at(1, 0, MANY + 8);
    let file = system::file_with(&all);
    let reads: Vec<_> = (0..MANY).map(|at| driver.begin_read(raw_file(&file), 8, Some(at as u64))).collect();
    for (at, read) in reads.into_iter().enumerate() {
        assert_eq!(driver.received(read).unwrap(), all[at..at + 8], "at {at}");
    }
}

fn two_thousand_receives_before_one_poll(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    let receives: Vec<_> = (0..MANY).map(|_| driver.begin_recv(raw_socket(&right), 8, 0)).collect();
    driver.turn(Duration::ZERO);
    let mut ended = 0;
    for number in 0..MANY {
        left.send(&number.to_ne_bytes()).unwrap();
        if number % 50 == 49 {
            // The socket's buffer holds some hundred datagrams, and then loses them.
            driver.until("the datagrams so far", |driver| {
                ended = receives.iter().filter(|receive| driver.has_ended(**receive)).count();
                ended == number + 1
            });
        }
    }
    let mut received: Vec<_> = receives.into_iter().map(|receive| driver.received(receive).unwrap()).collect();
    received.sort();
    let mut wanted: Vec<_> = (0..MANY).map(|number| number.to_ne_bytes().to_vec()).collect();
    wanted.sort();
    assert!(received == wanted);
}

fn two_thousand_sends_before_one_poll(config: Config) {
    let mut driver = Driver::new(config);
    let (pairs, each) = (20, MANY / 20);
    let pairs: Vec<_> = (0..pairs).map(|_| pair()).collect();
    let mut sends = Vec::new();
    for _ in 0..each {
        for (client, _) in &pairs {
            sends.push(driver.begin_send(raw_socket(client), b"x".to_vec(), true));
        }
    }
    for send in sends {
        assert_eq!(driver.counted(send).unwrap(), 1);
    }
    for (_, server) in &pairs {
        assert_eq!(driver.recv_exactly(raw_socket(server), each).unwrap(), vec![b'x'; each]);
    }
}

fn two_thousand_cancels_before_one_poll(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = pair();
    let receives: Vec<_> = (0..MANY).map(|_| driver.begin_recv(raw_socket(&left), 8, 0)).collect();
    driver.turn(Duration::ZERO);
    receives.iter().for_each(|receive| driver.cancel(*receive));
    receives.into_iter().for_each(|receive| assert_cancelled(&driver.finish(receive).0));
    assert_eq!(driver.port().in_flight(), 0);
    (&right).write_all(b"on").unwrap();
    assert_eq!(driver.recv(raw_socket(&left), 8).unwrap(), b"on");
}

/// Far more than any queue of the kernel's holds, on few sockets, for a process may have not many.
fn idle_receives_hold_back_nothing_however_many(config: Config) {
    let mut driver = Driver::new(config);
    let sockets: Vec<_> = (0..250).map(|_| datagram_pair()).collect();
    let idle: Vec<_> = (0..system::MANY_WAITS)
        .map(|number| driver.begin_recv(raw_socket(&sockets[number % sockets.len()].1), 1, 0))
        .collect();
    driver.turn(Duration::ZERO);
    assert_eq!(driver.port().in_flight(), system::MANY_WAITS);

    let (client, server) = pair();
    assert_eq!(driver.send(raw_socket(&client), b"in between").unwrap(), 10);
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"in between");
    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
    driver.assert_waits(recv);
    driver.send(raw_socket(&client), b"late").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"late");
    let file = system::file_with(b"content");
    assert_eq!(driver.read(raw_file(&file), 64, Some(0)).unwrap(), b"content");
    let call = driver.begin_call(|| Ok(7));
    assert_eq!(driver.counted(call).unwrap(), 7);
    let listener = listener();
    let accept = driver.begin_accept(raw_socket(&listener));
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    driver.accepted(accept).unwrap();
    assert_eq!(driver.port().in_flight(), system::MANY_WAITS);

    // And each of them is a receive: one datagram ends one.
    for (number, (left, _)) in sockets.iter().enumerate() {
        left.send(&[number as u8]).unwrap();
    }
    driver.until("a receive on each socket", |driver| driver.port().in_flight() == system::MANY_WAITS - sockets.len());
    let mut ended = Vec::new();
    for receive in idle {
        if driver.has_ended(receive) {
            ended.extend(driver.received(receive).unwrap());
        } else {
            driver.cancel(receive);
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, (0..sockets.len()).map(|number| number as u8).collect::<Vec<_>>());
    driver.until("the cancelled ones", |driver| driver.port().in_flight() == 0);
}

fn a_shutdown_does_not_overtake_a_send(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let send = driver.begin_send(raw_socket(&server), b"before the end".to_vec(), true);
    let shutdown = driver.begin(Op::Shutdown { socket: raw_socket(&server), how: Shutdown::Write });
    assert_eq!(driver.counted(send).unwrap(), 14);
    assert_eq!(driver.counted(shutdown).unwrap(), 0);
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"before the end");
}

fn a_small_port_takes_many_connections(config: Config) {
    let mut driver = Driver::new(config.capacity(8));
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let accepts = driver.begin(Op::AcceptMultishot { listener: raw_socket(&listener) });
    driver.turn(Duration::ZERO);
    // More completions at once than the port has room for operations.
    let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    for client in &clients {
        let completion = driver.next(accepts);
        assert!(completion.more);
        let server = TcpStream::from(new_socket(completion.result.unwrap()));
        assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
    }
    driver.cancel_waiting(accepts);
}

fn ports_of_one_thread_do_not_disturb_each_other(config: Config) {
    let mut drivers: Vec<_> = (0..4).map(|_| Driver::new(config.clone())).collect();
    let (client, server) = pair();
    // Each waits on the same socket, with the same tokens.
    let receives: Vec<_> = drivers.iter_mut().map(|driver| driver.begin_recv(raw_socket(&server), 1, 0)).collect();
    for (driver, receive) in drivers.iter_mut().zip(&receives) {
        driver.assert_waits(*receive);
    }
    drivers[1].cancel_waiting(receives[1]);
    (&client).write_all(b"xyz").unwrap();
    for (at, received) in [(0, b"x"), (2, b"y"), (3, b"z")] {
        assert_eq!(drivers[at].received(receives[at]).unwrap(), received);
    }
    drivers.swap_remove(0).shutdown(patience()).unwrap();
    for driver in &mut drivers {
        driver.send(raw_socket(&client), b"on").unwrap();
        assert_eq!(driver.recv(raw_socket(&server), 8).unwrap(), b"on");
    }
}

fn a_port_for_each_of_many_threads(config: Config) {
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let config = config.clone();
            std::thread::spawn(move || {
                let mut driver = Driver::new(config);
                let (client, server) = pair();
                for round in 0..100_usize {
                    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
                    driver.send(raw_socket(&client), &bytes_at(number, round, 40)).unwrap();
                    assert_eq!(driver.received(recv).unwrap(), bytes_at(number, round, 40));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
