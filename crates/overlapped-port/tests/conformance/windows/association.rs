//! Association with a completion port: at a handle's first operation, once in the life of its object.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Seek, Write};
use std::net::TcpStream;
use std::os::windows::io::AsRawHandle;

use overlapped_port::sys::{self, RawSocket, raw_file, raw_socket};
use overlapped_port::{Config, Interest, Op, OpenMode};

use windows_sys::Win32::System::Pipes::{PIPE_READMODE_MESSAGE, PIPE_TYPE_MESSAGE};

use crate::child;
use crate::driver::{Driver, bytes_at, socket as new_socket};
use crate::loopback::{datagram_pair, listener, pair};
use crate::system;

crate::on_every_backend!(
    a_number_that_names_another_socket_is_associated_anew,
    a_number_that_became_a_file_is_a_file,
    a_socket_of_another_port_works,
    a_file_of_another_port_works,
    what_others_associated_works,
    packets_that_others_asked_not_to_come_are_not_waited_for,
    a_duplicate_of_what_is_closed_works_on_every_port,
    a_number_that_became_another_ports_is_looked_at_anew,
    a_socket_that_can_only_block_is_refused_in_words,
    an_accepted_socket_belongs_to_no_port_yet,
    readiness_associates_nothing,
    a_duplicate_works_beside_its_original,
    a_duplicate_works_after_its_original,
    what_is_there_on_an_accepted_socket_is_brought_at_once;
    alone: what_a_process_inherits_works,
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

fn a_socket_of_another_port_works(config: Config) {
    let (mut one, mut other) = (Driver::new(config.clone()), Driver::new(config));
    let (client, server) = pair();
    for _ in 0..3 {
        exchange(&mut one, &client, raw_socket(&server));
        exchange(&mut other, &client, raw_socket(&server));
    }
    // With an operation of each in flight.
    let first = one.begin_recv(raw_socket(&server), 2, 0);
    one.assert_waits(first);
    let second = other.begin_recv(raw_socket(&server), 2, 0);
    other.assert_waits(second);
    (&client).write_all(b"abcd").unwrap();
    assert_eq!(one.received(first).unwrap(), b"ab");
    assert_eq!(other.received(second).unwrap(), b"cd");
    drop(one);
    exchange(&mut other, &client, raw_socket(&server));
}

fn a_file_of_another_port_works(config: Config) {
    let (mut one, mut other) = (Driver::new(config.clone()), Driver::new(config));
    let file = system::file_with(b"content");
    for (driver, first) in [(&mut one, b"A"), (&mut other, b"B")] {
        assert_eq!(driver.write(raw_file(&file), first, Some(0)).unwrap(), 1);
        assert_eq!(driver.read(raw_file(&file), 3, None).unwrap(), [first[0], b'o', b'n']);
        assert_eq!(driver.read(raw_file(&file), 8, None).unwrap(), b"tent");
        assert_eq!(driver.read(raw_file(&file), 8, None).unwrap(), b"");
        (&file).rewind().unwrap();
    }
}

/// By a port that is none of ours, and that nobody asks for packets.
fn what_others_associated_works(config: Config) {
    for skips in [false, true] {
        let mut driver = Driver::new(config.clone());
        let foreign = system::ForeignPort::new();
        let listener = listener();
        foreign.associate_socket(&listener, skips);
        let address = listener.local_addr().unwrap();
        let accept = driver.begin_accept(raw_socket(&listener));
        driver.assert_waits(accept);
        driver.cancel_waiting(accept);
        let accepts = driver.begin(Op::AcceptMultishot { listener: raw_socket(&listener) });
        for _ in 0..20 {
            let client = TcpStream::connect(address).unwrap();
            let server = TcpStream::from(new_socket(driver.next(accepts).result.unwrap()));
            exchange(&mut driver, &client, raw_socket(&server));
        }
        driver.cancel_waiting(accepts);

        let (client, server) = pair();
        foreign.associate_socket(&server, skips);
        let socket = raw_socket(&server);
        exchange(&mut driver, &client, socket);
        for _ in 0..3 {
            let recv = driver.begin_recv(socket, 8, 0);
            driver.assert_waits(recv);
            driver.cancel_waiting(recv);
        }
        (&client).write_all(b"there").unwrap();
        let readable = driver.begin_poll(socket, Interest::READABLE);
        driver.readiness(readable);
        let recv = driver.begin_recv(socket, 8, 0);
        assert!(driver.has_ended(recv), "what is there at once has no packet, and needs none");
        assert_eq!(driver.received(recv).unwrap(), b"there");
        let all = bytes_at(1, 0, 1 << 20);
        let send = driver.begin_send(socket, all.clone(), true);
        assert_eq!(driver.recv_exactly(raw_socket(&client), all.len()).unwrap(), all);
        assert_eq!(driver.counted(send).unwrap(), all.len());
        (&client).write_all(b"provided").unwrap();
        assert_eq!(driver.recv_provided(socket, 64).unwrap(), b"provided");
        let receives = driver.begin(Op::RecvMultishot { socket });
        for round in 0..20_u8 {
            (&client).write_all(&[round]).unwrap();
            let outcome = driver.next(receives).result.unwrap();
            assert_eq!(driver.provided(outcome), [round]);
        }
        drop(client);
        let end = driver.finish(receives).0.unwrap();
        assert_eq!(driver.provided(end), b"");
        driver.run(Op::CloseSocket { socket: system::give_up(server) }).unwrap();

        let (left, right) = datagram_pair();
        foreign.associate_socket(&right, skips);
        let recv = driver.begin_recv(raw_socket(&right), 4, 0);
        driver.assert_waits(recv);
        left.send(b"datagram").unwrap();
        assert_eq!(driver.received(recv).unwrap(), b"data", "cut: a failure that waits for its packet");
        left.send(b"datagram").unwrap();
        assert_eq!(driver.recv(raw_socket(&right), 4).unwrap(), b"data", "cut: a failure at once");

        let (reader, writer) = system::pipe().unwrap();
        foreign.associate_file(&reader, skips);
        let read = driver.begin_read(raw_file(&reader), 8, None);
        driver.assert_waits(read);
        driver.cancel_waiting(read);
        let read = driver.begin_read(raw_file(&reader), 8, None);
        driver.assert_waits(read);
        driver.write(raw_file(&writer), b"bytes", None).unwrap();
        assert_eq!(driver.received(read).unwrap(), b"bytes");
        driver.write(raw_file(&writer), b"more bytes", None).unwrap();
        let read = driver.begin_read(raw_file(&reader), 4, None);
        assert!(driver.has_ended(read), "what is there at once has no packet, and needs none");
        assert_eq!(driver.received(read).unwrap(), b"more");
        assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b" bytes");
        let read = driver.begin_read(raw_file(&reader), 8, None);
        driver.assert_waits(read);
        drop(writer);
        assert_eq!(driver.received(read).unwrap(), b"");
        let (reader, writer) = system::pipe_of(PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE);
        foreign.associate_file(&reader, skips);
        driver.write(raw_file(&writer), b"a message", None).unwrap();
        assert_eq!(driver.read(raw_file(&reader), 5, None).unwrap(), b"a mes", "cut: a failure at once");
        assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"sage");
        let read = driver.begin_read(raw_file(&reader), 4, None);
        driver.assert_waits(read);
        driver.write(raw_file(&writer), b"another", None).unwrap();
        assert_eq!(driver.received(read).unwrap(), b"anot", "cut: a failure that waits for its packet");
        assert_eq!(foreign.packets(), 0, "a packet of this port's went to the other");
    }
}

/// Who had a handle before may have asked for no packets of what succeeds at once.
fn packets_that_others_asked_not_to_come_are_not_waited_for(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = system::pipe().unwrap();
    system::skip_on_success(reader.as_raw_handle());
    for _ in 0..3 {
        let read = driver.begin_read(raw_file(&reader), 8, None);
        driver.assert_waits(read);
        driver.write(raw_file(&writer), b"bytes, and more", None).unwrap();
        assert_eq!(driver.received(read).unwrap(), b"bytes, a");
        let read = driver.begin_read(raw_file(&reader), 8, None);
        assert!(driver.has_ended(read));
        assert_eq!(driver.received(read).unwrap(), b"nd more");
    }
    let (reader, writer) = system::pipe_of(PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE);
    system::skip_on_success(reader.as_raw_handle());
    driver.write(raw_file(&writer), b"a message", None).unwrap();
    assert_eq!(driver.read(raw_file(&reader), 5, None).unwrap(), b"a mes");
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"sage");
    let (left, right) = datagram_pair();
    system::skip_on_success(system::socket_handle(&right));
    for _ in 0..3 {
        let recv = driver.begin_recv(raw_socket(&right), 4, 0);
        driver.assert_waits(recv);
        left.send(b"datagram").unwrap();
        assert_eq!(driver.received(recv).unwrap(), b"data");
        for room in [4, 64] {
            left.send(b"datagram").unwrap();
            let readable = driver.begin_poll(raw_socket(&right), Interest::READABLE);
            driver.readiness(readable);
            assert_eq!(driver.recv(raw_socket(&right), room).unwrap(), b"datagram"[..room.min(8)]);
        }
    }
}

fn a_duplicate_of_what_is_closed_works_on_every_port(config: Config) {
    let (mut one, mut other) = (Driver::new(config.clone()), Driver::new(config));
    for _ in 0..3 {
        let (client, server) = pair();
        exchange(&mut one, &client, raw_socket(&server));
        let duplicate = server.try_clone().unwrap();
        drop(server);
        sys::forget_socket(raw_socket(&duplicate));
        exchange(&mut other, &client, raw_socket(&duplicate));
        exchange(&mut one, &client, raw_socket(&duplicate));
        exchange(&mut other, &client, raw_socket(&duplicate));
    }
}

fn a_number_that_became_another_ports_is_looked_at_anew(config: Config) {
    let (mut one, mut other) = (Driver::new(config.clone()), Driver::new(config));
    let mut numbers = BTreeSet::new();
    let mut came_again = 0;
    for _ in 0..10 {
        let (client, server) = pair();
        exchange(&mut one, &client, raw_socket(&server));
        numbers.insert(raw_socket(&server));
        // Closed without the ports' knowledge; the other port's socket gets its number.
        drop((client, server));
        let (client, server) = pair();
        came_again += usize::from(numbers.contains(&raw_socket(&server)));
        exchange(&mut other, &client, raw_socket(&server));
        exchange(&mut one, &client, raw_socket(&server));
    }
    assert!(came_again > 0, "no number came again: {numbers:?}");
}

/// The environment variable that tells the test's child which handle it has inherited.
const INHERITED: &str = "OVERLAPPED_TEST_INHERITED";

fn what_a_process_inherits_works(config: Config) {
    let mut driver = Driver::new(config);
    if let Ok(number) = std::env::var(INHERITED) {
        let pipe = system::inherited(number.parse().unwrap());
        let read = driver.begin_read(raw_file(&pipe), 8, None);
        driver.assert_waits(read);
        driver.cancel_waiting(read);
        let read = driver.begin_read(raw_file(&pipe), 8, None);
        driver.assert_waits(read);
        assert_eq!(driver.write(raw_file(&pipe), b"ready", None).unwrap(), 5);
        assert_eq!(driver.received(read).unwrap(), b"bytes");
        assert_eq!(driver.read(raw_file(&pipe), 8, None).unwrap(), b"");
        return;
    }
    let name = system::pipe_name();
    let server = sys::new_pipe(&name, true).unwrap();
    let client = driver.open(&name, OpenMode { read: true, write: true, ..OpenMode::default() }).unwrap();
    driver.run(Op::AcceptPipe { pipe: raw_file(&server) }).unwrap();
    driver.write(raw_file(&server), b"first", None).unwrap();
    assert_eq!(driver.read(raw_file(&client), 8, None).unwrap(), b"first");
    let left = system::inheritable(client.into());
    let mut command = child::this_test(&["--exact", "windows::association::chosen::what_a_process_inherits_works"]);
    command.env(INHERITED, left.to_string());
    let answering = std::thread::spawn(move || {
        let mut driver = Driver::new(Config::new());
        let read = driver.begin_read(raw_file(&server), 8, None);
        driver.until("the child is ready", |driver| driver.has_ended(read));
        assert_eq!(driver.received(read).unwrap(), b"ready");
        driver.write(raw_file(&server), b"bytes", None).unwrap();
    });
    let passed = child::passes(command);
    drop(system::inherited(left));
    answering.join().unwrap();
    assert_eq!(passed, 1);
}

fn a_socket_that_can_only_block_is_refused_in_words(config: Config) {
    let mut driver = Driver::new(config);
    let socket = system::blocking_socket();
    let error = driver.recv(raw_socket(&socket), 8).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("WSA_FLAG_OVERLAPPED"), "{error}");
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
