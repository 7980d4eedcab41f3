//! Named pipes.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use overlapped_port::sys::{self, raw_file};
use overlapped_port::{Config, Op, OpenMode};
use windows_sys::Win32::System::Pipes::{PIPE_READMODE_MESSAGE, PIPE_TYPE_MESSAGE};

use crate::driver::{Driver, assert_cancelled, bytes_at, count};
use crate::system::{blocking_pipe, pipe, pipe_name, pipe_of, throw_client_out};

crate::on_every_backend!(
    a_read_waits_for_bytes,
    the_end_is_where_the_writer_closed,
    a_write_that_nobody_can_read_is_a_broken_pipe,
    a_read_is_cancelled,
    a_write_waits_for_room,
    offsets_mean_nothing,
    a_vectored_read_takes_what_is_there,
    nothing_asked_for_waits_for_nothing,
    a_message_longer_than_the_buffer_comes_in_parts,
    an_accept_waits_for_a_client,
    a_client_that_is_there_already_is_accepted_at_once,
    a_client_that_has_gone_again_is_accepted_with_what_it_wrote,
    an_accept_is_cancelled,
    one_end_serves_one_client_after_the_other,
    clients_of_one_name_are_accepted_each_by_its_own_end,
    both_ends_read_and_write_at_once,
    the_end_is_where_the_server_throws_its_client_out,
    an_accept_on_what_can_only_block_blocks_nobody_else,
    an_accept_wants_the_servers_end,
    a_read_that_goes_on_is_refused,
);

/// The client's end, opened by the port.
fn client(driver: &mut Driver, name: &Path) -> File {
    driver.open(name, OpenMode { read: true, write: true, ..OpenMode::default() }).unwrap()
}

/// Both ends of a new pipe, connected.
fn connected(driver: &mut Driver) -> (File, File) {
    let name = pipe_name();
    let server = File::from(sys::new_pipe(&name, true).unwrap());
    let client = client(driver, &name);
    driver.run(Op::AcceptPipe { pipe: raw_file(&server) }).unwrap();
    (server, client)
}

fn exchange(driver: &mut Driver, one: &File, other: &File) {
    for (from, to) in [(one, other), (other, one)] {
        let read = driver.begin_read(raw_file(to), 64, None);
        driver.assert_waits(read);
        assert_eq!(driver.write(raw_file(from), b"some words", None).unwrap(), 10);
        assert_eq!(driver.received(read).unwrap(), b"some words");
    }
}

fn a_read_waits_for_bytes(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    for round in 0..10_u8 {
        let read = driver.begin_read(raw_file(&reader), 64, None);
        driver.assert_waits(read);
        assert_eq!(driver.write(raw_file(&writer), &[round; 5], None).unwrap(), 5);
        assert_eq!(driver.received(read).unwrap(), [round; 5]);
    }
}

fn the_end_is_where_the_writer_closed(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    driver.write(raw_file(&writer), b"last words", None).unwrap();
    drop(writer);
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"last words");
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"", "told by the call");
    let (reader, writer) = pipe().unwrap();
    let read = driver.begin_read(raw_file(&reader), 64, None);
    driver.assert_waits(read);
    drop(writer);
    assert_eq!(driver.received(read).unwrap(), b"", "told by the packet");
}

fn a_write_that_nobody_can_read_is_a_broken_pipe(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    driver.write(raw_file(&writer), b"x", None).unwrap();
    drop(reader);
    let error = driver.write(raw_file(&writer), b"x", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn a_read_is_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    let read = driver.begin_read(raw_file(&reader), 64, None);
    driver.assert_waits(read);
    driver.cancel_waiting(read);
    driver.write(raw_file(&writer), b"for the next", None).unwrap();
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"for the next");
}

fn a_write_waits_for_room(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    let bytes = bytes_at(1, 0, 1 << 20);
    let write = driver.begin_write(raw_file(&writer), bytes.clone(), None);
    driver.assert_waits(write);
    let mut received = Vec::new();
    while received.len() < bytes.len() {
        received.extend(driver.read(raw_file(&reader), 10_000, None).unwrap());
    }
    assert_eq!(driver.counted(write).unwrap(), bytes.len());
    assert!(received == bytes);
}

fn offsets_mean_nothing(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    driver.write(raw_file(&writer), b"abcd", Some(100)).unwrap();
    assert_eq!(driver.read(raw_file(&reader), 2, Some(7)).unwrap(), b"ab");
    assert_eq!(driver.read(raw_file(&reader), 2, Some(0)).unwrap(), b"cd");
}

fn a_vectored_read_takes_what_is_there(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    assert_eq!(driver.write_vectored(raw_file(&writer), &[b"one", b"", b"two"], None).unwrap(), 6);
    let parts = driver.read_vectored(raw_file(&reader), &[0, 6, 6], None).unwrap();
    assert_eq!(parts, [&b""[..], b"onetwo", b""]);
}

fn nothing_asked_for_waits_for_nothing(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    assert_eq!(driver.read(raw_file(&reader), 0, None).unwrap(), b"");
    assert_eq!(driver.write(raw_file(&writer), b"", None).unwrap(), 0);
}

fn a_message_longer_than_the_buffer_comes_in_parts(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe_of(PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE);
    let read = driver.begin_read(raw_file(&reader), 4, None);
    driver.assert_waits(read);
    driver.write(raw_file(&writer), b"a message", None).unwrap();
    driver.write(raw_file(&writer), b"another", None).unwrap();
    assert_eq!(driver.received(read).unwrap(), b"a me");
    assert_eq!(driver.read(raw_file(&reader), 4, None).unwrap(), b"ssag");
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"e");
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"another");
}

fn an_accept_waits_for_a_client(config: Config) {
    let mut driver = Driver::new(config);
    let name = pipe_name();
    let server = File::from(sys::new_pipe(&name, true).unwrap());
    let accept = driver.begin(Op::AcceptPipe { pipe: raw_file(&server) });
    driver.assert_waits(accept);
    let client = client(&mut driver, &name);
    assert_eq!(driver.counted(accept).unwrap(), 0);
    exchange(&mut driver, &server, &client);
    drop(client);
    assert_eq!(driver.read(raw_file(&server), 64, None).unwrap(), b"");
}

fn a_client_that_is_there_already_is_accepted_at_once(config: Config) {
    let mut driver = Driver::new(config);
    let name = pipe_name();
    let server = File::from(sys::new_pipe(&name, true).unwrap());
    let client = client(&mut driver, &name);
    let accept = driver.begin(Op::AcceptPipe { pipe: raw_file(&server) });
    assert!(driver.has_ended(accept), "no packet comes, and none is waited for");
    assert_eq!(driver.counted(accept).unwrap(), 0);
    exchange(&mut driver, &server, &client);
}

fn a_client_that_has_gone_again_is_accepted_with_what_it_wrote(config: Config) {
    let mut driver = Driver::new(config);
    let name = pipe_name();
    let server = File::from(sys::new_pipe(&name, true).unwrap());
    let client = client(&mut driver, &name);
    driver.write(raw_file(&client), b"in passing", None).unwrap();
    drop(client);
    assert_eq!(driver.run(Op::AcceptPipe { pipe: raw_file(&server) }).map(count).unwrap(), 0);
    assert_eq!(driver.read(raw_file(&server), 64, None).unwrap(), b"in passing");
    assert_eq!(driver.read(raw_file(&server), 64, None).unwrap(), b"");
    let error = driver.write(raw_file(&server), b"x", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn an_accept_is_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    let name = pipe_name();
    let server = File::from(sys::new_pipe(&name, true).unwrap());
    for _ in 0..3 {
        let accept = driver.begin(Op::AcceptPipe { pipe: raw_file(&server) });
        driver.assert_waits(accept);
        driver.cancel_waiting(accept);
    }
    let accept = driver.begin(Op::AcceptPipe { pipe: raw_file(&server) });
    driver.assert_waits(accept);
    assert_eq!(driver.port().cancel_file(raw_file(&server)), 1);
    assert_cancelled(&driver.finish(accept).0);
    let accept = driver.begin(Op::AcceptPipe { pipe: raw_file(&server) });
    let client = client(&mut driver, &name);
    assert_eq!(driver.counted(accept).unwrap(), 0);
    exchange(&mut driver, &server, &client);
}

fn one_end_serves_one_client_after_the_other(config: Config) {
    let mut driver = Driver::new(config);
    let name = pipe_name();
    let server = File::from(sys::new_pipe(&name, true).unwrap());
    for round in 0..10 {
        let accept = driver.begin(Op::AcceptPipe { pipe: raw_file(&server) });
        if round % 2 == 0 {
            driver.assert_waits(accept);
        }
        let client = client(&mut driver, &name);
        assert_eq!(driver.counted(accept).unwrap(), 0);
        exchange(&mut driver, &server, &client);
        throw_client_out(&server);
    }
}

fn clients_of_one_name_are_accepted_each_by_its_own_end(config: Config) {
    let mut driver = Driver::new(config);
    let name = pipe_name();
    let servers: Vec<_> = (0..20).map(|number| File::from(sys::new_pipe(&name, number == 0).unwrap())).collect();
    let accepts: Vec<_> =
        servers.iter().map(|server| driver.begin(Op::AcceptPipe { pipe: raw_file(server) })).collect();
    let clients: Vec<_> = servers.iter().map(|_| client(&mut driver, &name)).collect();
    for accept in accepts {
        assert_eq!(driver.counted(accept).unwrap(), 0);
    }
    // Which client is at which end is the system's choice: it has told by what arrives.
    for (number, client) in clients.iter().enumerate() {
        driver.write(raw_file(client), &[number as u8], None).unwrap();
    }
    let mut seen = Vec::new();
    for server in &servers {
        let number = driver.read(raw_file(server), 64, None).unwrap();
        exchange(&mut driver, server, &clients[usize::from(number[0])]);
        seen.extend(number);
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..20));
}

fn both_ends_read_and_write_at_once(config: Config) {
    let mut driver = Driver::new(config);
    let (server, client) = connected(&mut driver);
    let (server, client) = (raw_file(&server), raw_file(&client));
    let bytes = [bytes_at(1, 0, 300_000), bytes_at(2, 0, 300_000)];
    let writes =
        [driver.begin_write(server, bytes[0].clone(), None), driver.begin_write(client, bytes[1].clone(), None)];
    let mut received = [Vec::new(), Vec::new()];
    for (file, received) in [client, server].into_iter().zip(&mut received) {
        while received.len() < bytes[0].len() {
            received.extend(driver.read(file, 10_000, None).unwrap());
        }
    }
    assert!(received == bytes);
    for write in writes {
        assert_eq!(driver.counted(write).unwrap(), bytes[0].len());
    }
    // A read that waits does not hold up a write, and is cancelled alone.
    let read = driver.begin_read(server, 64, None);
    driver.assert_waits(read);
    assert_eq!(driver.write(server, b"meanwhile", None).unwrap(), 9);
    driver.cancel_waiting(read);
    assert_eq!(driver.read(client, 64, None).unwrap(), b"meanwhile");
}

fn the_end_is_where_the_server_throws_its_client_out(config: Config) {
    let mut driver = Driver::new(config);
    let (server, client) = connected(&mut driver);
    let read = driver.begin_read(raw_file(&client), 64, None);
    driver.assert_waits(read);
    throw_client_out(&server);
    assert_eq!(driver.received(read).unwrap(), b"", "told by the packet");
    assert_eq!(driver.read(raw_file(&client), 64, None).unwrap(), b"", "told by the call");
    for end in [&client, &server] {
        let error = driver.write(raw_file(end), b"x", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

fn an_accept_on_what_can_only_block_blocks_nobody_else(config: Config) {
    let mut driver = Driver::new(config);
    let name = pipe_name();
    let server = blocking_pipe(&name);
    let accept = driver.begin(Op::AcceptPipe { pipe: raw_file(&server) });
    driver.assert_waits(accept);
    driver.cancel_waiting(accept);
    let accept = driver.begin(Op::AcceptPipe { pipe: raw_file(&server) });
    driver.assert_waits(accept);
    let client = client(&mut driver, &name);
    assert_eq!(driver.counted(accept).unwrap(), 0);
    driver.write(raw_file(&client), b"some words", None).unwrap();
    assert_eq!(driver.read(raw_file(&server), 64, None).unwrap(), b"some words");
    assert_eq!(driver.run(Op::AcceptPipe { pipe: raw_file(&server) }).map(count).unwrap(), 0, "it is there");
}

fn an_accept_wants_the_servers_end(config: Config) {
    let mut driver = Driver::new(config);
    let (_server, client) = connected(&mut driver);
    let file = crate::system::file_with(b"no pipe");
    for wrong in [&client, &file] {
        let error = driver.run(Op::AcceptPipe { pipe: raw_file(wrong) }).unwrap_err();
        assert!(error.raw_os_error().is_some_and(|code| code != sys::CANCELLED), "{error}");
    }
}

fn a_read_that_goes_on_is_refused(config: Config) {
    let mut driver = Driver::new(config);
    let (server, client) = connected(&mut driver);
    let error = driver.run(Op::ReadMultishot { file: raw_file(&server) }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    exchange(&mut driver, &server, &client);
}
