//! Association with a completion port: at a handle's first operation, once in the life of its object.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use overlapped_port::sys::{RawSocket, raw_file, raw_socket};
use overlapped_port::{Config, Interest, Op};

use crate::driver::{Driver, socket as new_socket};
use crate::loopback::{listener, pair};
use crate::system;

crate::on_every_backend!(
    a_number_that_names_another_socket_is_associated_anew,
    a_number_that_became_a_file_is_a_file,
    a_socket_of_another_port_is_refused_in_words,
    a_file_of_another_port_is_refused_in_words,
    an_accepted_socket_belongs_to_no_port_yet,
    readiness_associates_nothing,
    a_duplicate_works_beside_its_original,
    a_duplicate_works_after_its_original,
    what_is_there_on_an_accepted_socket_is_brought_at_once,
);

fn exchange(driver: &mut Driver, mut client: &TcpStream, server: RawSocket) {
    let recv = driver.begin_recv(server, 8, 0);
    driver.assert_waits(recv);
    client.write_all(b"to").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"to");
    assert_eq!(driver.send(server, b"from").unwrap(), 4);
    assert_eq!(driver.recv(raw_socket(client), 8).unwrap(), b"from");
}

fn a_number_that_names_another_socket_is_associated_anew(config: Config) {
    let mut driver = Driver::new(config);
    let mut numbers = Vec::new();
    for _ in 0..20 {
        // Dropped without the port's knowledge; the next round gets the same numbers.
        let (client, server) = pair();
        exchange(&mut driver, &client, raw_socket(&server));
        numbers.push(raw_socket(&server));
    }
    numbers.sort_unstable();
    assert!(numbers.windows(2).any(|two| two[0] == two[1]), "no number came again: {numbers:?}");
}

fn a_number_that_became_a_file_is_a_file(config: Config) {
    let mut driver = Driver::new(config);
    for round in 0..20 {
        let (client, server) = pair();
        exchange(&mut driver, &client, raw_socket(&server));
        drop((client, server));
        let file = if round % 2 == 0 { tempfile::tempfile().unwrap() } else { system::file_with(b"") };
        assert_eq!(driver.write(raw_file(&file), b"content", Some(0)).unwrap(), 7);
        assert_eq!(driver.read(raw_file(&file), 64, Some(0)).unwrap(), b"content");
    }
}

fn a_socket_of_another_port_is_refused_in_words(config: Config) {
    let (mut one, mut other) = (Driver::new(config.clone()), Driver::new(config));
    let (client, server) = pair();
    exchange(&mut one, &client, raw_socket(&server));
    let error = other.recv(raw_socket(&server), 8).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains("socket") && text.contains("another completion port") && text.contains("87"), "{text}");
    exchange(&mut one, &client, raw_socket(&server));
}

fn a_file_of_another_port_is_refused_in_words(config: Config) {
    let (mut one, mut other) = (Driver::new(config.clone()), Driver::new(config));
    let file = system::file_with(b"content");
    assert_eq!(one.read(raw_file(&file), 8, Some(0)).unwrap(), b"content");
    let error = other.read(raw_file(&file), 8, Some(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("another completion port"), "{error}");
}

fn an_accepted_socket_belongs_to_no_port_yet(config: Config) {
    let (mut one, mut other) = (Driver::new(config.clone()), Driver::new(config));
    let listener = listener();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = one.accept(raw_socket(&listener)).unwrap();
    let server = TcpStream::from(server);
    let recv = other.begin_recv(raw_socket(&server), 8, 0);
    (&client).write_all(b"to").unwrap();
    assert_eq!(other.received(recv).unwrap(), b"to");
}

fn readiness_associates_nothing(config: Config) {
    let (mut one, mut other) = (Driver::new(config.clone()), Driver::new(config));
    let (client, server) = pair();
    exchange(&mut one, &client, raw_socket(&server));
    // Of another port's socket too.
    let writable = other.begin_poll(raw_socket(&server), Interest::WRITABLE);
    assert_eq!(other.readiness(writable), Interest::WRITABLE);
    let (client, server) = pair();
    let writable = other.begin_poll(raw_socket(&server), Interest::WRITABLE);
    assert_eq!(other.readiness(writable), Interest::WRITABLE);
    exchange(&mut one, &client, raw_socket(&server));
}

fn a_duplicate_works_beside_its_original(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    exchange(&mut driver, &client, raw_socket(&server));
    let duplicate = server.try_clone().unwrap();
    let recv = driver.begin_recv(raw_socket(&server), 3, 0);
    driver.assert_waits(recv);
    let second = driver.begin_recv(raw_socket(&duplicate), 3, 0);
    driver.assert_waits(second);
    (&client).write_all(b"onetwo").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"one");
    assert_eq!(driver.received(second).unwrap(), b"two");
    exchange(&mut driver, &client, raw_socket(&duplicate));
}

fn a_duplicate_works_after_its_original(config: Config) {
    for by_the_port in [true, false] {
        let mut driver = Driver::new(config.clone());
        let (client, server) = pair();
        exchange(&mut driver, &client, raw_socket(&server));
        let duplicate = server.try_clone().unwrap();
        if by_the_port {
            let socket = system::give_up(server);
            driver.run(Op::CloseSocket { socket }).unwrap();
        } else {
            drop(server);
        }
        exchange(&mut driver, &client, raw_socket(&duplicate));
    }
}

fn what_is_there_on_an_accepted_socket_is_brought_at_once(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let accepts = driver.begin(Op::AcceptMultishot { listener: raw_socket(&listener) });
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = TcpStream::from(new_socket(driver.next(accepts).result.unwrap()));
    driver.cancel_waiting(accepts);
    let socket = raw_socket(&server);
    exchange(&mut driver, &client, socket);
    let immediate = |driver: &mut Driver| driver.port().report().counters.immediate;
    let before = immediate(&mut driver);
    client.write_all(b"there").unwrap();
    let readable = driver.begin_poll(socket, Interest::READABLE);
    driver.readiness(readable);
    let recv = driver.begin_recv(socket, 5, 0);
    assert!(driver.has_ended(recv), "no packet is waited for");
    assert_eq!(driver.received(recv).unwrap(), b"there");
    assert_eq!(driver.send(socket, b"back").unwrap(), 4);
    assert_eq!(immediate(&mut driver), before + 2);
    // On the other end's socket, which was made elsewhere, packets come.
    assert_eq!(driver.recv(raw_socket(&client), 8).unwrap(), b"back");
    assert_eq!(immediate(&mut driver), before + 2);
    exchange(&mut driver, &client, socket);
}
