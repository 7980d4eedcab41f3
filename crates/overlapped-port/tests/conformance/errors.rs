//! Errors that the system gives at once, and that leave the port as it was.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};

use overlapped_port::sys::{RawSocket, raw_file, raw_socket};
use overlapped_port::{Address, Config, Interest, Op, Outcome};
use socket2::{Domain, Socket, Type};

use crate::driver::Driver;
use crate::loopback::{listener, pair};
use crate::system;

crate::on_every_backend!(
    operations_on_no_handle_say_so,
    socket_operations_on_a_file_say_so,
    an_error_leaves_the_port_as_it_was,
    an_address_in_use_twice_is_not_available,
    accept_on_what_does_not_listen_is_an_error,
);

/// Runs each operation on one handle and returns the errors by the operation's name.
fn errors_of_socket_operations(driver: &mut Driver, socket: RawSocket) -> Vec<(&'static str, io::Error)> {
    let address = "127.0.0.1:9".parse::<SocketAddr>().unwrap();
    let accept = driver.begin_accept(socket);
    let connect = driver.begin_connect(socket, address.into());
    let recv = driver.begin_recv(socket, 8, 0);
    let message = driver.begin_recv_message(socket, &[8], 0, 0);
    let send = driver.begin_send(socket, vec![1], false);
    let send_all = driver.begin_send(socket, vec![1], true);
    let send_message = driver.begin_send_message(socket, &[b"x"], Some(&Address::from(address)), &[]);
    let shutdown = driver.begin(Op::Shutdown { socket, how: Shutdown::Both });
    let disconnect = driver.begin(Op::Disconnect { socket });
    let provided = driver.begin_recv_provided(socket, 8);
    let accepts = driver.begin(Op::AcceptMultishot { listener: socket });
    let receives = driver.begin(Op::RecvMultishot { socket });
    let results: [(&str, io::Result<Outcome>); 12] = [
        ("accept", driver.finish(accept).0),
        ("connect", driver.finish(connect).0),
        ("recv", driver.finish(recv).0),
        ("recvmsg", driver.finish(message).0),
        ("send", driver.finish(send).0),
        ("send all", driver.finish(send_all).0),
        ("sendmsg", driver.finish(send_message).0),
        ("shutdown", driver.finish(shutdown).0),
        ("disconnect", driver.finish(disconnect).0),
        ("recv, provided", driver.finish(provided).0),
        ("accept, multishot", driver.finish(accepts).0),
        ("recv, multishot", driver.finish(receives).0),
    ];
    results.map(|(name, result)| (name, result.expect_err(name))).into()
}

fn operations_on_no_handle_say_so(config: Config) {
    let mut driver = Driver::new(config);
    for handle in system::NO_HANDLES {
        for (name, error) in errors_of_socket_operations(&mut driver, handle) {
            assert_eq!(error.raw_os_error(), Some(system::BAD_HANDLE), "{name} on {handle}: {error}");
        }
        let file = system::no_file(handle);
        let poll = driver.begin_poll(handle, Interest::READABLE);
        let read = driver.begin_read(file, 8, Some(0));
        let read_on = driver.begin_read(file, 8, None);
        let readv = driver.begin_read_vectored(file, &[8], Some(0));
        let write = driver.begin_write(file, vec![1], Some(0));
        let writev = driver.begin_write_vectored(file, &[b"x"], Some(0));
        let sync = driver.begin(Op::Sync { file, data_only: false });
        let close_file = driver.begin(Op::CloseFile { file });
        let close_socket = driver.begin(Op::CloseSocket { socket: handle });
        let results = [
            ("poll", driver.finish(poll).0),
            ("read", driver.finish(read).0),
            ("read at the position", driver.finish(read_on).0),
            ("readv", driver.finish(readv).0),
            ("write", driver.finish(write).0),
            ("writev", driver.finish(writev).0),
            ("fsync", driver.finish(sync).0),
            ("close of a file", driver.finish(close_file).0),
            ("close of a socket", driver.finish(close_socket).0),
        ];
        for (name, result) in results {
            let error = result.expect_err(name);
            assert_eq!(error.raw_os_error(), Some(system::BAD_HANDLE), "{name} on {handle}: {error}");
        }
    }
}

fn socket_operations_on_a_file_say_so(config: Config) {
    let mut driver = Driver::new(config);
    let file = tempfile::tempfile().unwrap();
    for (name, error) in errors_of_socket_operations(&mut driver, system::no_socket(raw_file(&file))) {
        assert_eq!(error.raw_os_error(), Some(system::NOT_A_SOCKET), "{name}: {error}");
    }
}

fn an_error_leaves_the_port_as_it_was(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    for round in 0..100_u8 {
        driver.recv(system::NO_HANDLES[0], 8).unwrap_err();
        driver.send(raw_socket(&client), &[round]).unwrap();
        assert_eq!(driver.recv(raw_socket(&server), 8).unwrap(), [round]);
    }
    assert_eq!(driver.port().in_flight(), 0);
}

fn an_address_in_use_twice_is_not_available(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let from_one_address = |local: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&local.into()).unwrap();
        socket
    };
    let first = from_one_address("127.0.0.1:0".parse().unwrap());
    let second = from_one_address(first.local_addr().unwrap().as_socket().unwrap());
    driver.connect(raw_socket(&first), address.into()).unwrap();
    // The same four numbers would name two connections.
    let error = driver.connect(raw_socket(&second), address.into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
}

fn accept_on_what_does_not_listen_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let (client, _server) = pair();
    let error = driver.accept(raw_socket(&client)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let accepts = driver.begin(Op::AcceptMultishot { listener: raw_socket(&client) });
    let (before, last) = driver.finish_all(accepts);
    assert!(before.is_empty());
    assert_eq!(last.unwrap_err().kind(), ErrorKind::InvalidInput);
}
