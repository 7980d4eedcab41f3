//! Errors that wait on a socket beside its bytes (Linux): the queue of errors (ip(7), `IP_RECVERR`), an overrun (netlink(7)).

use std::net::UdpSocket;

use overlapped_port::sys::raw_socket;
use overlapped_port::{Config, Op};

use super::netlink::{Netlink, queue_errors};
use crate::driver::Driver;
use crate::loopback::{closed_port, datagram_socket};

crate::on_every_backend!(
    an_empty_queue_of_errors_answers_at_once,
    a_queue_of_errors_is_read_beside_a_receive_that_waits,
    an_overrun_is_told_and_is_no_want_of_buffers,
);

/// recv(2): "no data, not even in blocking mode".
fn an_empty_queue_of_errors_answers_at_once(config: Config) {
    let mut driver = Driver::new(config);
    let socket = datagram_socket();
    queue_errors(&socket);
    for nonblocking in [false, true] {
        socket.set_nonblocking(nonblocking).unwrap();
        for _ in 0..3 {
            let plain = driver.begin_recv(raw_socket(&socket), 8, libc::MSG_ERRQUEUE);
            assert_eq!(driver.received(plain).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
            let flags = libc::MSG_ERRQUEUE;
            let provided = driver.run(Op::RecvProvided { socket: raw_socket(&socket), limit: 8, flags });
            assert_eq!(provided.unwrap_err().raw_os_error(), Some(libc::EAGAIN));
            let message = driver.recv_message(raw_socket(&socket), &[8], 64, libc::MSG_ERRQUEUE);
            assert_eq!(message.unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        }
    }
}

fn a_queue_of_errors_is_read_beside_a_receive_that_waits(config: Config) {
    let mut driver = Driver::new(config);
    for nonblocking in [false, true] {
        let socket = datagram_socket();
        socket.set_nonblocking(nonblocking).unwrap();
        queue_errors(&socket);
        socket.send_to(b"to nobody", closed_port()).unwrap();
        // The error that the datagram has brought is told once, to the first that asks.
        let _ = driver.recv(raw_socket(&socket), 8).unwrap_err();
        let receive = driver.begin_recv(raw_socket(&socket), 8, 0);
        driver.assert_waits(receive);
        let queued = driver.recv_message(raw_socket(&socket), &[16], 256, libc::MSG_ERRQUEUE).unwrap();
        assert_eq!(queued.bytes(), b"to nobody");
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
        assert_eq!(driver.received(receive).unwrap(), b"hello");
    }
}

fn an_overrun_is_told_and_is_no_want_of_buffers(config: Config) {
    let mut driver = Driver::new(config.buffers(4, 64));
    let socket = Netlink::new();
    socket.overrun();
    let provided = driver.begin_recv_provided(raw_socket(&socket), 64);
    assert_eq!(driver.finish(provided).0.unwrap_err().raw_os_error(), Some(libc::ENOBUFS));
    assert!(!driver.recv_provided(raw_socket(&socket), 64).unwrap().is_empty(), "what had room is there");
    socket.drain();
    socket.overrun();
    let receive = driver.begin_recv(raw_socket(&socket), 64, 0);
    assert_eq!(driver.received(receive).unwrap_err().raw_os_error(), Some(libc::ENOBUFS));
}
