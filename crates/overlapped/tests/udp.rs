//! UDP.

mod support;

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use overlapped::net::UdpSocket;
use overlapped::{sleep, spawn, timeout, yield_now};
use support::{LONG, run};

const MOMENT: Duration = Duration::from_millis(20);

fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

#[test]
fn datagrams_keep_their_bounds_and_tell_their_sender() {
    run(|| {
        let (here, there) = (socket(), socket());
        for length in [0, 1, 1400, 60_000] {
            let sent = support::pattern(length, length);
            assert_eq!(here.send_to(&sent, there.local_addr().unwrap()).unwrap(), length);
            let mut buffer = vec![0; 65_536];
            let (received, from) = there.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..received], from), (&sent[..], here.local_addr().unwrap()));
        }
    });
}

#[test]
fn truncation_is_told() {
    run(|| {
        let (here, there) = (socket(), socket());
        let address = there.local_addr().unwrap();
        let mut buffer = [0; 4];
        for (sent, truncated) in [(&b"longer"[..], true), (b"fits", false), (b"", false)] {
            here.send_to(sent, address).unwrap();
            let received = there.recv_message(&mut buffer).unwrap();
            assert_eq!((received.length, received.truncated), (sent.len().min(4), truncated));
            assert_eq!(received.from, here.local_addr().unwrap());
        }
        // The tail is lost, not left for the next receive.
        here.send_to(b"longer", address).unwrap();
        here.send_to(b"next", address).unwrap();
        assert_eq!(there.recv_from(&mut buffer).unwrap().0, 4);
        assert_eq!(there.recv_from(&mut buffer).unwrap().0, 4);
        assert_eq!(&buffer, b"next");
    });
}

#[test]
fn connected_sockets_hear_their_peer_alone() {
    run(|| {
        let (here, there, stranger) = (socket(), socket(), socket());
        assert_eq!(here.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        here.connect(there.local_addr().unwrap()).unwrap();
        assert_eq!(here.peer_addr().unwrap(), there.local_addr().unwrap());
        stranger.send_to(b"hey", here.local_addr().unwrap()).unwrap();
        there.send_to(b"hello", here.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(here.peek(&mut buffer).unwrap(), 5);
        assert_eq!(here.recv(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(here.send(b"and back").unwrap(), 8);
        assert_eq!(there.peek_from(&mut buffer).unwrap(), (8, here.local_addr().unwrap()));
        assert_eq!(there.recv_from(&mut buffer).unwrap(), (8, here.local_addr().unwrap()));
    });
}

#[test]
fn a_connected_peer_that_is_not_there_is_refused() {
    support::except_under_wine("Wine does not report refused datagrams", || {
        run(|| {
            let (here, gone) = (socket(), socket());
            here.connect(gone.local_addr().unwrap()).unwrap();
            drop(gone);
            here.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            here.send(b"anybody?").unwrap();
            assert_eq!(here.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        });
    });
}

#[test]
fn time_outs() {
    run(|| {
        let here = socket();
        here.set_read_timeout(Some(MOMENT)).unwrap();
        let start = Instant::now();
        assert_eq!(here.recv_from(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(here.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(here.peek_from(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= 3 * MOMENT && start.elapsed() < LONG);
        here.set_read_timeout(None).unwrap();
        assert!(timeout(MOMENT, || here.recv_from(&mut [0; 8])).is_err());
        here.send_to(b"to myself", here.local_addr().unwrap()).unwrap();
        assert_eq!(here.recv_from(&mut [0; 16]).unwrap().0, 9);
        assert_eq!(here.set_write_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_datagram_that_is_too_long_is_an_error() {
    run(|| {
        let here = socket();
        assert!(here.send_to(&[0; 70_000], here.local_addr().unwrap()).is_err());
    });
}

#[test]
fn many_wait_on_one_socket() {
    run(|| {
        let here = std::rc::Rc::new(socket());
        let receivers: Vec<_> = (0..20)
            .map(|_| {
                let here = here.clone();
                spawn(move || {
                    let mut byte = [0];
                    here.recv(&mut byte).unwrap();
                    byte[0]
                })
            })
            .collect();
        yield_now();
        let there = socket();
        for n in 0..20 {
            there.send_to(&[n], here.local_addr().unwrap()).unwrap();
        }
        let mut got: Vec<_> = receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, (0..20).collect::<Vec<u8>>());
    });
}

#[test]
fn connected_sockets_send_and_receive_vectors() {
    run(|| {
        let (left, right) = (socket(), socket());
        left.connect(right.local_addr().unwrap()).unwrap();
        right.connect(left.local_addr().unwrap()).unwrap();
        let parts = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"three")];
        assert_eq!(left.send_vectored(&parts).unwrap(), 8);
        let (mut first, mut second) = ([0; 2], [0; 10]);
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(right.recv_vectored(&mut buffers).unwrap(), 8);
        assert_eq!((&first, &second[..6]), (b"on", &b"ethree"[..]));
        // A datagram of nothing is one too.
        assert_eq!(left.send_vectored(&[]).unwrap(), 0);
        assert_eq!(right.recv_vectored(&mut [IoSliceMut::new(&mut first)]).unwrap(), 0);
        right.set_read_timeout(Some(MOMENT)).unwrap();
        let error = right.recv_vectored(&mut [IoSliceMut::new(&mut first)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn multicast_on_the_loopback() {
    run(|| {
        let group = Ipv4Addr::new(239, 255, 77, 77);
        let here = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        here.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        assert!(here.multicast_loop_v4().unwrap());
        let sender = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        let sender = UdpSocket::from(std::net::UdpSocket::from(sender));
        sender.set_multicast_ttl_v4(0).unwrap();
        assert_eq!(sender.multicast_ttl_v4().unwrap(), 0);
        sender.send_to(b"to all", (group, here.local_addr().unwrap().port())).unwrap();
        here.set_read_timeout(Some(LONG)).unwrap();
        assert_eq!(here.recv(&mut [0; 16]).unwrap(), 6);
        here.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        assert!(here.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).is_err());
        assert!(here.join_multicast_v6(&Ipv6Addr::LOCALHOST, 0).is_err(), "neither IPv6 nor a group");
    });
}

#[test]
fn options() {
    run(|| {
        let here = socket();
        here.set_broadcast(true).unwrap();
        assert!(here.broadcast().unwrap());
        here.set_ttl(9).unwrap();
        assert_eq!(here.ttl().unwrap(), 9);
        here.set_multicast_loop_v4(false).unwrap();
        assert!(!here.multicast_loop_v4().unwrap());
        here.set_recv_buffer_size(64 << 10).unwrap();
        assert!(here.recv_buffer_size().unwrap() >= 64 << 10);
        here.set_send_buffer_size(64 << 10).unwrap();
        assert!(here.send_buffer_size().unwrap() >= 64 << 10);
        here.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!(here.multicast_if_v4().unwrap(), Ipv4Addr::LOCALHOST);
        // A machine may be without IPv6.
        if let Ok(six) = UdpSocket::bind("[::1]:0") {
            six.set_unicast_hops_v6(7).unwrap();
            assert_eq!(six.unicast_hops_v6().unwrap(), 7);
            six.set_multicast_hops_v6(3).unwrap();
            assert_eq!(six.multicast_hops_v6().unwrap(), 3);
        }
        assert!(here.take_error().unwrap().is_none());
        let clone = here.try_clone().unwrap();
        assert_eq!(clone.local_addr().unwrap(), here.local_addr().unwrap());
        sleep(Duration::from_millis(1));
        assert!(format!("{here:?}").contains("127.0.0.1"));
    });
}
