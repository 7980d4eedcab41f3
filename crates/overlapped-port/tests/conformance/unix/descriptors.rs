//! Descriptor numbers: used again, inherited, used up.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::time::Duration;

use overlapped_port::sys::{raw_file, raw_socket};
use overlapped_port::{Config, Interest, Lane, Op, OpenMode};

use super::system::{
    close_standard, give_up, in_a_fork, is_inherited, is_open, limit_descriptors, open_handles, replace,
};
use crate::driver::{Driver, socket as new_socket};
use crate::loopback::{is_closed_by_peer, listener, pair};

crate::on_every_backend!(
    a_number_used_again_after_a_close_is_a_new_descriptor,
    a_number_that_changed_its_meaning_is_a_new_descriptor,
    a_number_that_changed_while_its_old_file_lives_is_a_new_descriptor,
    a_number_that_became_a_file_is_a_file,
    who_waits_for_a_buffer_takes_nothing_from_the_numbers_next_owner,
    new_descriptors_are_not_inherited,
    a_close_that_is_cancelled_closes_all_the_same,
    the_numbers_of_standard_input_and_output_are_left_alone;
    alone:
    accept_without_descriptors_says_so_and_loses_no_connection,
);

/// A program that was started with them closed will open something there, and must not meet the port's own.
fn the_numbers_of_standard_input_and_output_are_left_alone(config: Config) {
    for closed in [&[0][..], &[0, 2], &[0, 1, 2]] {
        let config = config.clone();
        assert!(in_a_fork(move || {
            close_standard(closed);
            let mut driver = Driver::new(config);
            driver.turn(Duration::ZERO);
            closed.iter().all(|number| !is_open(*number))
        }));
    }
}

/// Also one that no thread has begun, and one that has yet to reach the kernel: nobody else would close it.
fn a_close_that_is_cancelled_closes_all_the_same(config: Config) {
    // Where no other test opens anything meanwhile.
    assert!(in_a_fork(move || {
        let mut driver = Driver::new(config.threads(1));
        let (release, released) = mpsc::channel::<()>();
        let busy = driver.begin_call_in(Lane::Short, move || Ok(released.recv().map_or(0, |()| 1)));
        let file = give_up(tempfile::tempfile().unwrap());
        let close = driver.begin(Op::CloseFile { file });
        driver.cancel(close);
        drop(release);
        driver.counted(close).unwrap() == 0 && driver.counted(busy).unwrap() == 0 && !is_open(file)
    }));
}

fn a_number_used_again_after_a_close_is_a_new_descriptor(config: Config) {
    let mut driver = Driver::new(config);
    for round in 0..50_u8 {
        let (client, server) = pair();
        let readable = driver.begin_poll(raw_socket(&server), Interest::READABLE);
        driver.turn(Duration::ZERO);
        (&client).write_all(&[round]).unwrap();
        driver.counted(readable).unwrap();
        let recv = driver.begin_recv(raw_socket(&server), 8, 0);
        assert_eq!(driver.received(recv).unwrap(), [round]);
        // Dropped here, without the port's knowledge; the next round most likely gets the same numbers.
    }
}

fn a_number_that_changed_its_meaning_is_a_new_descriptor(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let number = raw_socket(&server);
    exchange(&mut driver, &client, number);
    for _ in 0..20 {
        let (client, replacement) = pair();
        replace(number, replacement.as_fd());
        drop(replacement);
        exchange(&mut driver, &client, number);
    }
}

fn exchange(driver: &mut Driver, mut client: &TcpStream, number: i32) {
    let recv = driver.begin_recv(number, 8, 0);
    driver.assert_waits(recv);
    client.write_all(b"to").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"to");
    driver.send(number, b"from").unwrap();
    assert_eq!(driver.recv(raw_socket(client), 8).unwrap(), b"from");
}

fn a_number_that_changed_while_its_old_file_lives_is_a_new_descriptor(config: Config) {
    let mut driver = Driver::new(config);
    let (mut old_client, old_server) = pair();
    let number = raw_socket(&old_server);
    // epoll knows a file by number and by what it names; a duplicate keeps the old entry alive.
    let old_server_lives = old_server.try_clone().unwrap();
    exchange(&mut driver, &old_client, number);
    let (client, replacement) = pair();
    replace(number, replacement.as_fd());
    drop(replacement);
    let recv = driver.begin_recv(number, 8, 0);
    driver.assert_waits(recv);
    old_client.write_all(b"for the old one").unwrap();
    driver.assert_waits(recv);
    (&client).write_all(b"new").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"new");
    exchange(&mut driver, &client, number);
    assert_eq!(driver.recv(raw_socket(&old_server_lives), 64).unwrap(), b"for the old one");
}

fn a_number_that_became_a_file_is_a_file(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let number = raw_socket(&server);
    exchange(&mut driver, &client, number);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"content").unwrap();
    replace(number, file.as_fd());
    assert_eq!(driver.read(number, 64, Some(0)).unwrap(), b"content");
    let (reader, writer) = std::io::pipe().unwrap();
    replace(number, reader.as_fd());
    let read = driver.begin_read(number, 64, None);
    driver.assert_waits(read);
    driver.write(raw_file(&writer), b"through a pipe", None).unwrap();
    assert_eq!(driver.received(read).unwrap(), b"through a pipe");
}

/// It is in no kernel meanwhile, and has nothing but the number.
fn who_waits_for_a_buffer_takes_nothing_from_the_numbers_next_owner(config: Config) {
    let mut driver = Driver::new(config.buffers(1, 64));
    let (mut holder, held) = pair();
    holder.write_all(b"takes the only buffer").unwrap();
    let held = driver.begin_recv_provided(raw_socket(&held), 64);
    let outcome = driver.finish(held).0.unwrap();
    let (_, buffer) = driver.held(outcome);
    let ((_old_peer, old), (mut peer, next)) = (pair(), pair());
    let starved = driver.begin_recv_provided(raw_socket(&old), 64);
    driver.assert_waits(starved);
    replace(raw_socket(&old), next.as_fd());
    peer.write_all(b"for the new owner").unwrap();
    drop(buffer);
    assert_eq!(driver.finish(starved).0.unwrap_err().raw_os_error(), Some(libc::EBADF));
    assert_eq!(driver.recv(raw_socket(&old), 64).unwrap(), b"for the new owner");
}

fn new_descriptors_are_not_inherited(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let early = TcpStream::connect(address).unwrap();
    let (server, _) = driver.accept(raw_socket(&listener)).unwrap();
    assert!(!is_inherited(&server), "from an accept that did not wait");
    let accept = driver.begin_accept(raw_socket(&listener));
    driver.assert_waits(accept);
    let late = TcpStream::connect(address).unwrap();
    assert!(!is_inherited(&driver.accepted(accept).unwrap().0), "from an accept that waited");
    let accepts = driver.begin(Op::AcceptMultishot { listener: raw_socket(&listener) });
    let last = TcpStream::connect(address).unwrap();
    let server = new_socket(driver.next(accepts).result.unwrap());
    assert!(!is_inherited(&server), "from a multishot accept");
    driver.cancel_waiting(accepts);
    let folder = tempfile::tempdir().unwrap();
    let file = driver.open(folder.path(), OpenMode { read: true, ..OpenMode::default() }).unwrap();
    assert!(!is_inherited(&file), "from an open");
    drop((early, late, last));
}

fn accept_without_descriptors_says_so_and_loses_no_connection(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // The thread that an operation may need has to be there, and the messages of a failure want descriptors too.
    let warm = driver.begin_call(|| Ok(0));
    driver.counted(warm).unwrap();
    let highest = open_handles().last().expect("this process has descriptors").0;
    let taken: Vec<OwnedFd> = std::iter::from_fn(|| {
        let next = listener.as_fd().try_clone_to_owned().unwrap();
        (raw_file(&next) <= highest).then_some(next)
    })
    .collect();
    let before = limit_descriptors((highest + 1) as _);
    let accept = driver.begin_accept(raw_socket(&listener));
    let accepts = driver.begin(Op::AcceptMultishot { listener: raw_socket(&listener) });
    let one = driver.finish(accept).0;
    let (earlier, many) = driver.finish_all(accepts);
    limit_descriptors(before);
    drop(taken);
    assert!(earlier.is_empty());
    for result in [one, many] {
        let error = result.expect_err("there is no descriptor for it");
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
    }
    let (server, peer) = driver.accept(raw_socket(&listener)).expect("the connection waited");
    assert_eq!(peer.to_socket_addr(), Some(client.local_addr().unwrap()));
    drop(server);
    assert!(is_closed_by_peer(&mut client).unwrap());
}
