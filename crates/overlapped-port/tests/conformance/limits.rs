//! More than fits: full queues, few slots, few threads.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use overlapped_port::sys::{raw_file, raw_socket};
use overlapped_port::{Config, Op};

use crate::driver::{Driver, assert_cancelled, bytes_at, count, socket as new_socket};
use crate::loopback::{datagram_pair, listener, pair};
use crate::system;

crate::on_every_backend!(
    two_thousand_reads_before_one_poll,
    two_thousand_receives_before_one_poll,
    two_thousand_sends_before_one_poll,
    two_thousand_cancels_before_one_poll,
    operations_beyond_the_capacity_are_held_back,
    an_operation_that_is_held_back_can_be_cancelled,
    operations_that_are_held_back_begin_in_order,
    a_full_port_closes_and_shuts_down,
    a_shutdown_does_not_overtake_a_send,
    a_small_port_takes_many_connections,
    a_call_brings_its_result,
    a_call_that_panics_is_an_error,
    more_calls_than_threads_all_run,
    calls_run_beside_operations,
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

fn operations_beyond_the_capacity_are_held_back(config: Config) {
    let mut driver = Driver::new(config.capacity(8));
    let pairs: Vec<_> = (0..100).map(|_| pair()).collect();
    let receives: Vec<_> = pairs.iter().map(|(_, server)| driver.begin_recv(raw_socket(server), 8, 0)).collect();
    let report = driver.port().report();
    assert_eq!((report.capacity, report.counters.held_back), (8, 92));
    assert_eq!(driver.port().in_flight(), 100);
    // The last first: they are held back, and must wait for the eight before them.
    for (number, (client, _)) in pairs.iter().enumerate().rev() {
        (&*client).write_all(&[number as u8]).unwrap();
    }
    for (number, receive) in receives.into_iter().enumerate() {
        assert_eq!(driver.received(receive).unwrap(), [number as u8]);
    }
}

fn an_operation_that_is_held_back_can_be_cancelled(config: Config) {
    let mut driver = Driver::new(config.capacity(8));
    let pairs: Vec<_> = (0..20).map(|_| pair()).collect();
    let receives: Vec<_> = pairs.iter().map(|(_, server)| driver.begin_recv(raw_socket(server), 8, 0)).collect();
    driver.assert_waits(receives[15]);
    driver.cancel_waiting(receives[15]);
    driver.cancel_waiting(receives[19]);
    for (number, receive) in receives.into_iter().enumerate().filter(|(number, _)| ![15, 19].contains(number)) {
        (&pairs[number].0).write_all(&[number as u8]).unwrap();
        assert_eq!(driver.received(receive).unwrap(), [number as u8]);
    }
    assert_eq!(driver.port().in_flight(), 0);
}

fn operations_that_are_held_back_begin_in_order(config: Config) {
    let mut driver = Driver::new(config.capacity(8));
    let blockers: Vec<_> = (0..8).map(|_| pair()).collect();
    let blocking: Vec<_> = blockers.iter().map(|(_, server)| driver.begin_recv(raw_socket(server), 8, 0)).collect();
    let (client, server) = pair();
    let sends: Vec<_> =
        (0..100_u8).map(|number| driver.begin_send(raw_socket(&client), vec![number; 10], true)).collect();
    driver.assert_waits(sends[0]);
    (&blockers[0].0).write_all(b"go").unwrap();
    for send in sends {
        assert_eq!(driver.counted(send).unwrap(), 10);
    }
    let wanted: Vec<_> = (0..100_u8).flat_map(|number| [number; 10]).collect();
    assert_eq!(driver.recv_exactly(raw_socket(&server), 1000).unwrap(), wanted);
    assert_eq!(driver.received(blocking[0]).unwrap(), b"go");
}

fn a_full_port_closes_and_shuts_down(config: Config) {
    let mut driver = Driver::new(config.capacity(8));
    let blockers: Vec<_> = (0..8).map(|_| pair()).collect();
    let blocking: Vec<_> = blockers.iter().map(|(_, server)| driver.begin_recv(raw_socket(server), 8, 0)).collect();
    for _ in 0..20 {
        let (mut client, server) = pair();
        let shutdown = driver.run(Op::Shutdown { socket: raw_socket(&server), how: Shutdown::Write });
        assert_eq!(count(shutdown.unwrap()), 0);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(count(driver.run(Op::CloseSocket { socket: system::give_up(server) }).unwrap()), 0);
        let file = system::file_with(b"content");
        assert_eq!(count(driver.run(Op::CloseFile { file: system::give_up(file) }).unwrap()), 0);
    }
    // So one of those that fill the port can be ended.
    driver.run(Op::Shutdown { socket: raw_socket(&blockers[0].1), how: Shutdown::Both }).unwrap();
    assert_eq!(driver.received(blocking[0]).unwrap(), b"");
    assert_eq!(driver.port().report().counters.held_back, 0);
}

fn a_shutdown_does_not_overtake_a_send(config: Config) {
    let mut driver = Driver::new(config.capacity(8));
    let blockers: Vec<_> = (0..8).map(|_| pair()).collect();
    let blocking: Vec<_> = blockers.iter().map(|(_, server)| driver.begin_recv(raw_socket(server), 8, 0)).collect();
    let (mut client, server) = pair();
    let send = driver.begin_send(raw_socket(&server), b"before the end".to_vec(), true);
    let shutdown = driver.begin(Op::Shutdown { socket: raw_socket(&server), how: Shutdown::Write });
    driver.assert_waits(shutdown);
    driver.cancel_waiting(blocking[7]);
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

fn a_call_brings_its_result(config: Config) {
    let mut driver = Driver::new(config);
    let call = driver.begin_call(|| Ok(42));
    assert_eq!(driver.counted(call).unwrap(), 42);
    let call = driver.begin_call(|| Err(ErrorKind::AddrInUse.into()));
    assert_eq!(driver.counted(call).unwrap_err().kind(), ErrorKind::AddrInUse);
}

fn a_call_that_panics_is_an_error(config: Config) {
    let mut driver = Driver::new(config.threads(1));
    let call = driver.begin_call(|| std::panic::resume_unwind(Box::new("a panic that prints nothing")));
    let error = driver.counted(call).unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    let call = driver.begin_call(|| Ok(1));
    assert_eq!(driver.counted(call).unwrap(), 1, "the thread serves on");
}

fn more_calls_than_threads_all_run(config: Config) {
    let mut driver = Driver::new(config.threads(2));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let calls: Vec<_> = (0..50)
        .map(|number| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            driver.begin_call(move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(number)
            })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(driver.counted(call).unwrap(), number);
    }
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 2, "{most} calls ran at once on two threads");
}

fn calls_run_beside_operations(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let call = driver.begin_call(move || {
        let _ = released.recv();
        Ok(7)
    });
    for round in 0..20_u8 {
        driver.send(raw_socket(&client), &[round]).unwrap();
        assert_eq!(driver.recv(raw_socket(&server), 8).unwrap(), [round]);
    }
    assert!(!driver.has_ended(call));
    drop(release);
    assert_eq!(driver.counted(call).unwrap(), 7);
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
    drivers.swap_remove(0).shutdown(Duration::from_secs(5)).unwrap();
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
