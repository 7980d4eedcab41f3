//! Cancelling: it asks, it does not undo, and the final completion comes all the same.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use overlapped_port::sys::{MSG_WAITALL, raw_socket};
use overlapped_port::{Config, Interest, Op};

use crate::driver::{CANARY, Driver, Flight, assert_cancelled, bytes_at, count};
use crate::loopback::{is_closed_by_peer, listener, pair, shrink_buffers};
use crate::system;

crate::on_every_backend!(
    accept_that_waits,
    recv_that_waits,
    recv_provided_that_waits,
    recv_message_that_waits,
    send_that_waits,
    send_message_that_waits,
    readiness_that_is_waited_for,
    call_that_has_not_begun_is_never_run,
    call_that_has_begun_runs_to_its_end,
    cancel_before_the_operation_reached_the_kernel,
    cancel_twice_is_cancel_once,
    cancel_after_completion_is_nothing,
    cancel_of_an_ended_operation_spares_its_successor,
    cancel_of_one_operation_spares_the_others,
    cancel_of_all_on_a_socket,
    a_buffer_is_left_alone_after_a_cancel,
    recv_racing_with_bytes_loses_none,
    recv_provided_racing_with_bytes_loses_none,
    recv_message_racing_with_bytes_loses_none,
    recv_that_waits_for_all_reports_what_it_has,
    send_all_reports_what_the_system_took,
    send_racing_with_its_reader_counts_every_byte,
    accept_racing_with_a_connection_loses_none,
    connect_racing_with_a_cancel_connects_or_does_not,
);

fn accept_that_waits(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let accept = driver.begin_accept(raw_socket(&listener));
    driver.assert_waits(accept);
    driver.cancel_waiting(accept);
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    driver.accept(raw_socket(&listener)).expect("the listener works as before");
}

/// Cancels a receive, and checks that the socket works as before.
fn receive_is_cancelled<K: 'static>(config: Config, begin: impl Fn(&mut Driver, &TcpStream) -> Flight<K>) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    for round in 0..10_u8 {
        let receive = begin(&mut driver, &server);
        driver.assert_waits(receive);
        driver.cancel_waiting(receive);
        client.write_all(&[round]).unwrap();
        assert_eq!(driver.recv(raw_socket(&server), 8).unwrap(), [round]);
    }
}

fn recv_that_waits(config: Config) {
    receive_is_cancelled(config, |driver, server| driver.begin_recv(raw_socket(server), 8, 0));
}

fn recv_provided_that_waits(config: Config) {
    receive_is_cancelled(config, |driver, server| driver.begin_recv_provided(raw_socket(server), 8));
}

fn recv_message_that_waits(config: Config) {
    receive_is_cancelled(config, |driver, server| driver.begin_recv_message(raw_socket(server), &[4, 4], 64, 0));
}

fn readiness_that_is_waited_for(config: Config) {
    receive_is_cancelled(config, |driver, server| driver.begin_poll(raw_socket(server), Interest::READABLE));
}

/// Sends until a send waits; the bytes are those of stream 9, and how many were taken is told.
fn fill(driver: &mut Driver, socket: &TcpStream) -> usize {
    let mut taken = 0;
    loop {
        let send = driver.begin_send(raw_socket(socket), bytes_at(9, taken, 1 << 16), false);
        if driver.waits(send) {
            driver.cancel(send);
            let (result, _) = driver.finish(send);
            match result {
                Ok(outcome) => taken += count(outcome),
                Err(_) => {
                    assert_cancelled(&result);
                    return taken;
                }
            }
        } else {
            taken += driver.counted(send).unwrap();
        }
    }
}

fn send_that_waits(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    shrink_buffers(&server, &client);
    let taken = fill(&mut driver, &server);
    let send = driver.begin_send(raw_socket(&server), vec![0; 1 << 16], true);
    driver.assert_waits(send);
    driver.cancel_waiting(send);
    let mut received = vec![0; taken];
    client.read_exact(&mut received).unwrap();
    assert!(received == bytes_at(9, 0, taken), "what a cancelled send did not report did not go out");
    assert_eq!(driver.send(raw_socket(&server), b"after").unwrap(), 5);
    drop(server);
    received.clear();
    client.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"after");
}

fn send_message_that_waits(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    shrink_buffers(&server, &client);
    fill(&mut driver, &server);
    let big = vec![0; 1 << 16];
    let send = driver.begin_send_message(raw_socket(&server), &[&big, &big], None, &[]);
    driver.assert_waits(send);
    driver.cancel_waiting(send);
}

/// A port with one thread, and that thread busy until the sender is dropped.
fn with_a_busy_thread(config: Config) -> (Driver, Flight, mpsc::Sender<()>) {
    let mut driver = Driver::new(config.threads(1));
    let (release, released) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let busy = driver.begin_call(move || {
        begun.send(()).unwrap();
        let _ = released.recv();
        Ok(1)
    });
    has_begun.recv().unwrap();
    (driver, busy, release)
}

fn call_that_has_not_begun_is_never_run(config: Config) {
    let (mut driver, busy, release) = with_a_busy_thread(config);
    let ran = Arc::new(AtomicBool::new(false));
    let waiting = {
        let ran = Arc::clone(&ran);
        driver.begin_call(move || {
            ran.store(true, Ordering::SeqCst);
            Ok(2)
        })
    };
    driver.assert_waits(waiting);
    driver.cancel_waiting(waiting);
    assert_eq!(Arc::strong_count(&ran), 1, "the function was dropped");
    drop(release);
    assert_eq!(driver.counted(busy).unwrap(), 1);
    let last = driver.begin_call(|| Ok(3));
    assert_eq!(driver.counted(last).unwrap(), 3);
    assert!(!ran.load(Ordering::SeqCst));
}

fn call_that_has_begun_runs_to_its_end(config: Config) {
    let (mut driver, busy, release) = with_a_busy_thread(config);
    driver.cancel(busy);
    driver.assert_waits(busy);
    drop(release);
    assert_eq!(driver.counted(busy).unwrap(), 1, "its true result");
}

fn cancel_before_the_operation_reached_the_kernel(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    for round in 0..100_u8 {
        let recv = driver.begin_recv(raw_socket(&server), 8, 0);
        // No poll lies between: a submission queue holds both, or the cancel alone finds nothing to cancel.
        driver.cancel_waiting(recv);
        client.write_all(&[round]).unwrap();
        assert_eq!(driver.recv(raw_socket(&server), 8).unwrap(), [round]);
    }
}

fn cancel_twice_is_cancel_once(config: Config) {
    let mut driver = Driver::new(config);
    let (_client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 8, 0);
    driver.assert_waits(recv);
    (0..5).for_each(|_| driver.cancel(recv));
    driver.cancel_waiting(recv);
    driver.turn(Duration::from_millis(5));
    assert_eq!(driver.port().in_flight(), 0);
}

fn cancel_after_completion_is_nothing(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 8, 0);
    driver.turn(Duration::ZERO);
    client.write_all(b"done").unwrap();
    driver.until("the receive", |driver| driver.has_ended(recv));
    let cancels = driver.port().report().counters.cancels;
    driver.cancel(recv);
    driver.turn(Duration::from_millis(5));
    assert_eq!(driver.port().report().counters.cancels, cancels);
    assert_eq!(driver.received(recv).unwrap(), b"done");
}

fn cancel_of_an_ended_operation_spares_its_successor(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    for round in 0..50_u8 {
        let first = driver.begin_recv(raw_socket(&server), 8, 0);
        driver.turn(Duration::ZERO);
        client.write_all(&[round]).unwrap();
        driver.until("the receive", |driver| driver.has_ended(first));
        // It has the same slot in the port's table, and the same socket.
        let second = driver.begin_recv(raw_socket(&server), 8, 0);
        driver.cancel(first);
        driver.turn(Duration::ZERO);
        assert_eq!(driver.received(first).unwrap(), [round]);
        client.write_all(b"second").unwrap();
        assert_eq!(driver.received(second).unwrap(), b"second");
    }
    let recv = driver.begin_recv(raw_socket(&server), 8, 0);
    driver.assert_waits(recv);
}

fn cancel_of_one_operation_spares_the_others(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let first = driver.begin_recv(raw_socket(&server), 4, 0);
    let second = driver.begin_recv(raw_socket(&server), 4, 0);
    let third = driver.begin_poll(raw_socket(&server), Interest::READABLE);
    driver.assert_waits(third);
    driver.cancel_waiting(first);
    driver.assert_waits(second);
    client.write_all(b"12345678").unwrap();
    assert_eq!(driver.received(second).unwrap(), b"1234");
    assert!(driver.readiness(third).contains(Interest::READABLE));
}

fn cancel_of_all_on_a_socket(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let other = driver.begin_recv(raw_socket(&client), 8, 0);
    let recv = driver.begin_recv(raw_socket(&server), 8, 0);
    let readable = driver.begin_poll(raw_socket(&server), Interest::READABLE);
    let receives = driver.begin(Op::RecvMultishot { socket: raw_socket(&server) });
    driver.assert_waits(recv);
    assert_eq!(driver.port().in_flight_on_socket(raw_socket(&server)), 3);
    assert_eq!(driver.port().cancel_socket(raw_socket(&server)), 3);
    assert_cancelled(&driver.finish(recv).0);
    assert_cancelled(&driver.finish(readable).0);
    assert_cancelled(&driver.finish(receives).0);
    assert_eq!(driver.port().in_flight_on_socket(raw_socket(&server)), 0);
    assert_eq!(driver.port().cancel_socket(raw_socket(&server)), 0);
    driver.assert_waits(other);
    driver.cancel_waiting(other);
    client.write_all(b"on").unwrap();
    assert_eq!(driver.recv(raw_socket(&server), 8).unwrap(), b"on");
}

fn a_buffer_is_left_alone_after_a_cancel(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    for round in 0..50 {
        let recv = driver.begin_recv(raw_socket(&server), 4096, 0);
        driver.turn(Duration::from_micros(round * 20));
        let buffer = driver.cancel_waiting(recv);
        client.write_all(&[1; 1000]).unwrap();
        // Bytes are there, and everything that could still write them has the time to.
        driver.turn(Duration::from_millis(1));
        assert!(buffer.iter().all(|byte| *byte == CANARY), "a buffer was written that is the caller's again");
        assert_eq!(driver.recv_exactly(raw_socket(&server), 1000).unwrap(), [1; 1000]);
    }
}

/// Cancels one receive after the other while bytes arrive: each byte is reported once, and in order.
fn receive_races<K: 'static>(
    config: Config,
    begin: impl Fn(&mut Driver, &TcpStream, usize) -> Flight<K>,
    end: impl Fn(&mut Driver, Flight<K>) -> io::Result<Vec<u8>>,
) {
    const ALL: usize = 200_000;
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let writer = std::thread::spawn(move || {
        let mut random = fastrand::Rng::with_seed(1);
        let mut at = 0;
        while at < ALL {
            let length = random.usize(1..400).min(ALL - at);
            client.write_all(&bytes_at(10, at, length)).unwrap();
            at += length;
            match random.u8(0..4) {
                0 => std::thread::yield_now(),
                1 => std::thread::sleep(Duration::from_micros(random.u64(0..100))),
                _ => {}
            }
        }
    });
    let mut random = fastrand::Rng::with_seed(2);
    let (mut received, mut cancelled, mut won) = (Vec::new(), 0, 0);
    while received.len() < ALL {
        let room = random.usize(1..500);
        let receive = begin(&mut driver, &server, room);
        match random.u8(0..4) {
            0 => {}
            1 => drop(driver.turn(Duration::ZERO)),
            2 => (0..random.u32(0..3000)).for_each(|_| std::hint::spin_loop()),
            _ => drop(driver.turn(Duration::from_micros(random.u64(0..300)))),
        }
        driver.cancel(receive);
        match end(&mut driver, receive) {
            Ok(bytes) => {
                assert!(!bytes.is_empty() && bytes.len() <= room, "{} of {room} bytes", bytes.len());
                received.extend(bytes);
                won += 1;
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(system::CANCELLED), "{error}");
                cancelled += 1;
            }
        }
    }
    writer.join().unwrap();
    assert!(received == bytes_at(10, 0, ALL), "bytes were lost or swapped; {cancelled} cancelled, {won} not");
}

fn recv_racing_with_bytes_loses_none(config: Config) {
    receive_races(config, |driver, server, room| driver.begin_recv(raw_socket(server), room, 0), Driver::received);
}

fn recv_provided_racing_with_bytes_loses_none(config: Config) {
    receive_races(
        config.buffers(2, 512),
        |driver, server, room| driver.begin_recv_provided(raw_socket(server), room),
        |driver, recv| driver.finish(recv).0.map(|outcome| driver.provided(outcome)),
    );
}

fn recv_message_racing_with_bytes_loses_none(config: Config) {
    receive_races(
        config,
        |driver, server, room| {
            let (head, tail) = (room / 3, room - room / 3);
            driver.begin_recv_message(raw_socket(server), &[head, tail], 0, 0)
        },
        |driver, receive| driver.received_message(receive).map(|message| message.bytes()),
    );
}

fn recv_that_waits_for_all_reports_what_it_has(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    for _ in 0..20 {
        let recv = driver.begin_recv(raw_socket(&server), 10, MSG_WAITALL);
        driver.turn(Duration::ZERO);
        client.write_all(b"part").unwrap();
        driver.assert_waits(recv);
        driver.cancel(recv);
        let mut received = match driver.received(recv) {
            Ok(bytes) => bytes,
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(system::CANCELLED), "{error}");
                Vec::new()
            }
        };
        received.extend(driver.recv_exactly(raw_socket(&server), 4 - received.len()).unwrap());
        assert_eq!(received, b"part", "reported, or in the socket still");
    }
}

fn send_all_reports_what_the_system_took(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let all = bytes_at(11, 0, 8 << 20);
    let send = driver.begin_send(raw_socket(&server), all.clone(), true);
    driver.assert_waits(send);
    driver.cancel(send);
    let taken = driver.counted(send).expect("the bytes that went out are reported, though it was cancelled");
    assert!(taken > 0 && taken < all.len());
    drop(server);
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), taken);
    assert!(received == all[..taken]);
}

fn send_racing_with_its_reader_counts_every_byte(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    shrink_buffers(&server, &client);
    let reader = std::thread::spawn(move || {
        let mut received = Vec::<u8>::new();
        let mut chunk = [0; 3000];
        loop {
            let length = client.read(&mut chunk).unwrap();
            if length == 0 {
                return received;
            }
            received.extend(&chunk[..length]);
            if received.len().is_multiple_of(7) {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    });
    let mut random = fastrand::Rng::with_seed(4);
    let mut taken = 0;
    for _ in 0..300 {
        let length = random.usize(1..20_000);
        let send = driver.begin_send(raw_socket(&server), bytes_at(12, taken, length), random.bool());
        if random.bool() {
            driver.turn(Duration::from_micros(random.u64(0..300)));
        }
        driver.cancel(send);
        let (result, _) = driver.finish(send);
        match result {
            Ok(outcome) => taken += count(outcome),
            Err(_) => assert_cancelled(&result),
        }
    }
    drop(server);
    let received = reader.join().unwrap();
    assert_eq!(received.len(), taken, "bytes received, and bytes reported as sent");
    assert!(received == bytes_at(12, 0, taken));
}

fn accept_racing_with_a_connection_loses_none(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let (ask, asked) = mpsc::channel::<()>();
    let (answer, connections) = mpsc::channel();
    let connector = std::thread::spawn(move || {
        while asked.recv().is_ok() {
            answer.send(TcpStream::connect(address).unwrap()).unwrap();
        }
    });
    let mut random = fastrand::Rng::with_seed(5);
    let (mut cancelled, mut won) = (0, 0);
    for _ in 0..300 {
        let accept = driver.begin_accept(raw_socket(&listener));
        driver.turn(Duration::ZERO);
        ask.send(()).unwrap();
        (0..random.u32(0..60_000)).for_each(|_| std::hint::spin_loop());
        if random.bool() {
            driver.turn(Duration::ZERO);
        }
        driver.cancel(accept);
        let accepted = driver.accepted(accept);
        let mut client = connections.recv().unwrap();
        let (server, peer) = match accepted {
            Ok(accepted) => {
                won += 1;
                accepted
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(system::CANCELLED), "{error}");
                cancelled += 1;
                driver.accept(raw_socket(&listener)).expect("the connection is in the listener's queue")
            }
        };
        assert_eq!(peer.to_socket_addr(), Some(client.local_addr().unwrap()));
        drop(server);
        assert!(
            is_closed_by_peer(&mut client).unwrap(),
            "somebody holds the accepted socket open; {cancelled} cancelled, {won} not"
        );
    }
    drop(ask);
    connector.join().unwrap();
    let accept = driver.begin_accept(raw_socket(&listener));
    driver.assert_waits(accept);
}

/// Who is told that the connect was cancelled has no connection; who is told of success has one that works.
fn connect_racing_with_a_cancel_connects_or_does_not(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let address: socket2::SockAddr = listener.local_addr().unwrap().into();
    for round in 0..40_u8 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let connect = driver.begin_connect(raw_socket(&socket), address.clone());
        if round % 2 == 0 {
            driver.turn(Duration::ZERO);
        }
        driver.cancel(connect);
        let (result, _) = driver.finish(connect);
        if result.is_err() {
            assert_cancelled(&result);
            continue;
        }
        let name = socket.local_addr().unwrap().as_socket().unwrap();
        // Those before it that were cancelled may have come so far too, and are gone.
        let (mut server, _) = std::iter::from_fn(|| listener.accept().ok()).find(|(_, peer)| *peer == name).unwrap();
        driver.send(raw_socket(&socket), &[round]).unwrap();
        let mut byte = [0];
        server.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [round]);
    }
}
