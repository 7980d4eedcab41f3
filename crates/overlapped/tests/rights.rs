//! Descriptors over Unix sockets.

#![cfg(unix)]

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream, UnixDatagram, UnixStream};
use overlapped::{run, spawn, yield_now};

#[test]
fn a_connection_goes_on_in_the_hands_of_who_was_given_it() {
    run(|| {
        let (giver, taker) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let worker = spawn(move || {
            let mut context = [0; 64];
            let mut given = taker.recv_with_fds(&mut context, 1).unwrap();
            assert_eq!(&context[..given.length], b"read already");
            let mut connection = TcpStream::from(given.fds.pop().unwrap());
            connection.write_all(b"hello from the worker").unwrap();
        });
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        yield_now();
        giver.send_with_fds(b"read already", &[connection.as_fd()]).unwrap();
        drop(connection);
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert_eq!(said, "hello from the worker");
        worker.join().unwrap();
    });
}

#[test]
fn several_go_with_a_datagram_and_what_has_no_room_is_told_and_closed() {
    run(|| {
        let (giver, taker) = UnixDatagram::pair().unwrap();
        for room in [8, 0] {
            let pipes: Vec<_> = (0..4).map(|_| std::io::pipe().unwrap()).collect();
            let ends: Vec<_> = pipes.iter().map(|(_, write)| write.as_fd()).collect();
            giver.send_with_fds(b"four", &ends).unwrap();
            let mut buffer = [0; 16];
            let given = taker.recv_with_fds(&mut buffer, room).unwrap();
            assert_eq!((given.length, given.fds.len(), given.fds_truncated), (4, room.min(4), room == 0));
            drop(given);
            for (mut read, write) in pipes {
                drop(write);
                // The end comes when the last that was given is closed.
                assert_eq!(read.read(&mut [0]).unwrap(), 0);
            }
        }
    });
}

#[test]
fn plain_bytes_have_no_descriptors_and_a_stream_has_an_end() {
    run(|| {
        let (giver, taker) = UnixStream::pair().unwrap();
        giver.send_with_fds(b"plain", &[]).unwrap();
        let mut buffer = [0; 16];
        let given = taker.recv_with_fds(&mut buffer, 4).unwrap();
        assert_eq!((given.length, given.fds.len(), given.fds_truncated), (5, 0, false));
        taker.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(taker.recv_with_fds(&mut buffer, 4).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(giver);
        assert_eq!(taker.recv_with_fds(&mut buffer, 4).unwrap().length, 0);
    });
}

#[test]
fn what_cannot_be_sent_is_refused_with_words() {
    run(|| {
        let (giver, _taker) = UnixStream::pair().unwrap();
        let same: Vec<_> = (0..254).map(|_| giver.as_fd()).collect();
        for (bytes, fds) in [(&b"x"[..], &same[..]), (b"", &same[..1])] {
            let error = giver.send_with_fds(bytes, fds).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("at most 253"), "{error}");
        }
        assert_eq!(giver.send_with_fds(b"x", &same[..253]).unwrap(), 1);
    });
}
