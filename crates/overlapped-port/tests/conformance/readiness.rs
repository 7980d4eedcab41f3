//! Readiness of a socket: what select(2) and poll(2) tell.

use std::io::{Read, Write};

use overlapped_port::sys::raw_socket;
use overlapped_port::{Config, Interest, Op};

use crate::driver::Driver;
use crate::loopback::{listener, pair, reset};
use crate::system;

crate::on_every_backend!(
    a_socket_becomes_readable,
    a_socket_is_writable_while_there_is_room,
    what_is_ready_is_told_together,
    readiness_takes_nothing_away,
    a_listener_becomes_readable,
    the_end_of_a_stream_is_readable,
    a_reset_is_an_error,
    urgent_data_is_exceptional,
    several_wait_on_one_descriptor,
    one_of_several_is_cancelled,
    readiness_and_a_receive_wait_together,
    a_duplicate_waits_for_itself,
    a_ready_descriptor_is_ready_again,
);

const BOTH: Interest = Interest(Interest::READABLE.0 | Interest::WRITABLE.0);

fn a_socket_becomes_readable(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let readable = driver.begin_poll(raw_socket(&server), Interest::READABLE);
    driver.assert_waits(readable);
    client.write_all(b"x").unwrap();
    assert_eq!(driver.readiness(readable), Interest::READABLE);
}

fn a_socket_is_writable_while_there_is_room(config: Config) {
    let mut driver = Driver::new(config);
    let (mut left, mut right) = pair();
    let writable = driver.begin_poll(raw_socket(&left), Interest::WRITABLE);
    assert_eq!(driver.readiness(writable), Interest::WRITABLE);
    left.set_nonblocking(true).unwrap();
    let mut written = 0;
    let writable = loop {
        while let Ok(count) = left.write(&[0; 4096]) {
            written += count;
        }
        let writable = driver.begin_poll(raw_socket(&left), Interest::WRITABLE);
        // What was on its way to the other end may have made room again.
        if driver.waits(writable) {
            break writable;
        }
        assert_eq!(driver.readiness(writable), Interest::WRITABLE);
    };
    let reader = std::thread::spawn(move || right.read_exact(&mut vec![0; written]));
    assert_eq!(driver.readiness(writable), Interest::WRITABLE);
    reader.join().unwrap().unwrap();
}

fn what_is_ready_is_told_together(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let both = driver.begin_poll(raw_socket(&server), BOTH);
    assert_eq!(driver.readiness(both), Interest::WRITABLE);
    client.write_all(b"x").unwrap();
    let readable = driver.begin_poll(raw_socket(&server), Interest::READABLE);
    assert_eq!(driver.readiness(readable), Interest::READABLE, "only what was asked for");
    let both = driver.begin_poll(raw_socket(&server), BOTH);
    assert_eq!(driver.readiness(both), BOTH);
}

fn readiness_takes_nothing_away(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    client.write_all(b"still there").unwrap();
    for _ in 0..3 {
        let readable = driver.begin_poll(raw_socket(&server), Interest::READABLE);
        assert_eq!(driver.readiness(readable), Interest::READABLE);
    }
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"still there");
}

fn a_listener_becomes_readable(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let readable = driver.begin_poll(raw_socket(&listener), Interest::READABLE);
    driver.assert_waits(readable);
    let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(driver.readiness(readable), Interest::READABLE);
    driver.accept(raw_socket(&listener)).unwrap();
}

fn the_end_of_a_stream_is_readable(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let readable = driver.begin_poll(raw_socket(&server), Interest::READABLE);
    driver.assert_waits(readable);
    drop(client);
    assert!(driver.readiness(readable).contains(Interest::READABLE));
}

fn a_reset_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let readable = driver.begin_poll(raw_socket(&server), Interest::READABLE);
    driver.assert_waits(readable);
    reset(client);
    let ready = driver.readiness(readable);
    assert!(ready.contains(Interest::READABLE | Interest::ERROR | Interest::HANGUP), "{ready:?}");
}

fn urgent_data_is_exceptional(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let urgent = driver.begin_poll(raw_socket(&server), Interest::PRIORITY);
    driver.assert_waits(urgent);
    client.write_all(b"ordinary").unwrap();
    driver.assert_waits(urgent);
    let either = driver.begin_poll(raw_socket(&server), Interest::PRIORITY | Interest::READABLE);
    assert_eq!(driver.readiness(either), Interest::READABLE, "of what was there");
    let either = driver.begin_poll(raw_socket(&client), Interest::PRIORITY | Interest::READABLE);
    driver.assert_waits(either);
    (&server).write_all(b"ordinary").unwrap();
    assert_eq!(driver.readiness(either), Interest::READABLE, "of what was waited for");
    assert_eq!(socket2::SockRef::from(&client).send_out_of_band(b"!").unwrap(), 1);
    assert!(driver.readiness(urgent).contains(Interest::PRIORITY));
    let recv = driver.begin_recv(raw_socket(&server), 8, system::MSG_OOB);
    assert_eq!(driver.received(recv).unwrap(), b"!");
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"ordinary");
}

fn several_wait_on_one_descriptor(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let socket = raw_socket(&server);
    let waiting: Vec<_> = (0..5).map(|_| driver.begin_poll(socket, Interest::READABLE)).collect();
    driver.assert_waits(waiting[0]);
    client.write_all(b"x").unwrap();
    for readable in waiting {
        assert_eq!(driver.readiness(readable), Interest::READABLE);
    }
}

fn one_of_several_is_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let socket = raw_socket(&server);
    let urgent = driver.begin_poll(socket, Interest::PRIORITY);
    let readable = driver.begin_poll(socket, Interest::READABLE);
    let second = driver.begin_poll(socket, Interest::READABLE);
    driver.assert_waits(second);
    driver.cancel_waiting(readable);
    client.write_all(b"x").unwrap();
    assert_eq!(driver.readiness(second), Interest::READABLE);
    driver.assert_waits(urgent);
    driver.cancel_waiting(urgent);
}

fn readiness_and_a_receive_wait_together(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let readable = driver.begin_poll(raw_socket(&server), Interest::READABLE);
    driver.assert_waits(readable);
    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
    driver.assert_waits(recv);
    client.write_all(b"for both").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"for both");
    // The receive may have taken all before the other could be told.
    if driver.waits(readable) {
        client.write_all(b"more").unwrap();
    }
    assert_eq!(driver.readiness(readable), Interest::READABLE);
}

fn a_duplicate_waits_for_itself(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let duplicate = server.try_clone().unwrap();
    let first = driver.begin_poll(raw_socket(&server), Interest::READABLE);
    let second = driver.begin_poll(raw_socket(&duplicate), Interest::READABLE);
    driver.assert_waits(first);
    driver.assert_waits(second);
    driver.cancel_waiting(first);
    drop(server);
    client.write_all(b"x").unwrap();
    assert_eq!(driver.readiness(second), Interest::READABLE);
}

fn a_ready_descriptor_is_ready_again(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    for round in 0..50_u8 {
        let readable = driver.begin_poll(raw_socket(&server), Interest::READABLE);
        if round % 2 == 0 {
            driver.assert_waits(readable);
        }
        client.write_all(&[round]).unwrap();
        driver.readiness(readable);
        assert_eq!(driver.recv(raw_socket(&server), 8).unwrap(), [round]);
        driver.run(Op::Poll { socket: raw_socket(&server), interest: Interest::WRITABLE }).unwrap();
    }
}
