//! Datagrams: UDP, connected or not.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use overlapped_port::sys::{MSG_PEEK, raw_socket};
use overlapped_port::{Address, Config, Op};

use crate::driver::Driver;
use crate::loopback::{datagram_pair, datagram_socket};
use crate::system;

crate::on_every_backend!(
    connected_sockets_exchange_datagrams,
    unconnected_sockets_name_receiver_and_sender,
    the_sender_is_told_over_ipv6,
    an_empty_datagram_is_received_as_one,
    a_datagram_that_is_too_long_is_cut_and_told,
    a_datagram_that_fits_is_not_called_cut,
    a_plain_receive_takes_one_datagram_and_loses_its_tail,
    a_provided_receive_takes_one_datagram,
    a_datagram_can_be_peeked_at,
    a_receive_waits_for_a_datagram,
    vectored_datagrams_keep_their_order_and_borders,
    a_connected_socket_hears_its_peer_alone,
    a_port_where_nobody_listens_refuses,
    a_datagram_beyond_the_protocols_limit_is_an_error,
    a_datagram_to_nobody_is_an_error,
    receives_in_flight_each_bring_one_datagram,
    a_multishot_receive_brings_a_datagram_a_time,
);

fn connected_sockets_exchange_datagrams(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = (datagram_socket(), datagram_socket());
    for (from, to) in [(&left, &right), (&right, &left)] {
        let connected = driver.connect(raw_socket(from), to.local_addr().unwrap().into()).unwrap();
        assert_eq!(connected, 0);
    }
    assert_eq!(driver.send(raw_socket(&left), b"ping").unwrap(), 4);
    assert_eq!(driver.recv(raw_socket(&right), 64).unwrap(), b"ping");
    assert_eq!(driver.send_message(raw_socket(&right), &[b"po", b"ng"], None, &[]).unwrap(), 4);
    assert_eq!(driver.recv(raw_socket(&left), 64).unwrap(), b"pong");
}

fn unconnected_sockets_name_receiver_and_sender(config: Config) {
    name_receiver_and_sender(config, &datagram_socket(), &datagram_socket());
}

fn the_sender_is_told_over_ipv6(config: Config) {
    match (UdpSocket::bind("[::1]:0"), UdpSocket::bind("[::1]:0")) {
        (Ok(left), Ok(right)) => name_receiver_and_sender(config, &left, &right),
        (Err(error), _) | (_, Err(error)) => eprintln!("this machine has no IPv6 on loopback: {error}"),
    }
}

fn name_receiver_and_sender(config: Config, left: &UdpSocket, right: &UdpSocket) {
    let mut driver = Driver::new(config);
    let to = Address::from(right.local_addr().unwrap());
    assert_eq!(driver.send_message(raw_socket(left), &[b"early"], Some(&to), &[]).unwrap(), 5);
    let received = driver.recv_message(raw_socket(right), &[64], 0, 0).unwrap();
    assert_eq!(received.bytes(), b"early");
    assert_eq!(received.address.to_socket_addr(), Some(left.local_addr().unwrap()));

    let receive = driver.begin_recv_message(raw_socket(right), &[64], 0, 0);
    driver.assert_waits(receive);
    driver.send_message(raw_socket(left), &[b"late"], Some(&to), &[]).unwrap();
    let received = driver.received_message(receive).unwrap();
    assert_eq!(received.bytes(), b"late");
    assert_eq!(received.address.to_socket_addr(), Some(left.local_addr().unwrap()));
}

fn an_empty_datagram_is_received_as_one(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    let recv = driver.begin_recv(raw_socket(&right), 64, 0);
    driver.assert_waits(recv);
    assert_eq!(driver.send(raw_socket(&left), b"").unwrap(), 0);
    assert_eq!(driver.received(recv).unwrap(), b"");
    let to = Address::from(right.local_addr().unwrap());
    assert_eq!(driver.send_message(raw_socket(&left), &[], Some(&to), &[]).unwrap(), 0);
    let received = driver.recv_message(raw_socket(&right), &[64], 0, 0).unwrap();
    assert_eq!(received.bytes(), b"");
    assert_eq!(received.address.to_socket_addr(), Some(left.local_addr().unwrap()), "it has a sender");
    driver.send(raw_socket(&left), b"the next").unwrap();
    assert_eq!(driver.recv(raw_socket(&right), 64).unwrap(), b"the next", "an empty one is no end");
}

fn a_datagram_that_is_too_long_is_cut_and_told(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    driver.send(raw_socket(&left), b"0123456789").unwrap();
    let received = driver.recv_message(raw_socket(&right), &[3, 4], 0, 0).unwrap();
    assert_eq!(received.parts, [&b"012"[..], b"3456"]);
    assert!(received.truncated && !received.control_truncated);
    driver.send(raw_socket(&left), b"next").unwrap();
    assert_eq!(driver.recv(raw_socket(&right), 64).unwrap(), b"next", "the tail is lost");
}

fn a_datagram_that_fits_is_not_called_cut(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    driver.send(raw_socket(&left), b"0123456789").unwrap();
    let received = driver.recv_message(raw_socket(&right), &[5, 5], 64, 0).unwrap();
    assert_eq!(received.bytes(), b"0123456789");
    assert!(!received.truncated && !received.control_truncated);
    assert_eq!(received.control, b"");
}

fn a_plain_receive_takes_one_datagram_and_loses_its_tail(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    left.send(b"a long one").unwrap();
    left.send(b"another").unwrap();
    assert_eq!(driver.recv(raw_socket(&right), 6).unwrap(), b"a long");
    assert_eq!(driver.recv(raw_socket(&right), 64).unwrap(), b"another");
}

fn a_provided_receive_takes_one_datagram(config: Config) {
    let mut driver = Driver::new(config.buffers(2, 64));
    let (left, right) = datagram_pair();
    let recv = driver.begin_recv_provided(raw_socket(&right), 64);
    driver.assert_waits(recv);
    left.send(b"one").unwrap();
    left.send(b"two").unwrap();
    let outcome = driver.finish(recv).0.unwrap();
    assert_eq!(driver.provided(outcome), b"one");
    assert_eq!(driver.recv_provided(raw_socket(&right), 64).unwrap(), b"two");
}

fn a_datagram_can_be_peeked_at(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    left.send(b"still there").unwrap();
    let peeked = driver.recv_message(raw_socket(&right), &[64], 0, MSG_PEEK).unwrap();
    assert_eq!(peeked.bytes(), b"still there");
    assert_eq!(driver.recv(raw_socket(&right), 64).unwrap(), b"still there");
}

fn a_receive_waits_for_a_datagram(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    let recv = driver.begin_recv(raw_socket(&right), 64, 0);
    driver.assert_waits(recv);
    left.send(b"late").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"late");
}

fn vectored_datagrams_keep_their_order_and_borders(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    for number in 0..20_u8 {
        let tail = vec![number; usize::from(number)];
        driver.send_message(raw_socket(&left), &[&[number], &tail], None, &[]).unwrap();
    }
    for number in 0..20_u8 {
        let received = driver.recv_message(raw_socket(&right), &[1, 64], 0, 0).unwrap();
        assert_eq!(received.bytes(), vec![number; usize::from(number) + 1]);
    }
}

fn a_connected_socket_hears_its_peer_alone(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    let stranger = datagram_socket();
    let recv = driver.begin_recv(raw_socket(&right), 64, 0);
    let to = Address::from(right.local_addr().unwrap());
    driver.send_message(raw_socket(&stranger), &[b"spam"], Some(&to), &[]).unwrap();
    driver.assert_waits(recv);
    left.send(b"friend").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"friend");
}

fn a_port_where_nobody_listens_refuses(config: Config) {
    let mut driver = Driver::new(config);
    let socket = datagram_socket();
    let gone = datagram_socket().local_addr().unwrap();
    driver.connect(raw_socket(&socket), gone.into()).unwrap();
    let recv = driver.begin_recv(raw_socket(&socket), 64, 0);
    driver.assert_waits(recv);
    assert_eq!(driver.send(raw_socket(&socket), b"anybody?").unwrap(), 8);
    assert_eq!(driver.received(recv).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let recv = driver.begin_recv(raw_socket(&socket), 64, 0);
    driver.assert_waits(recv);
    driver.cancel_waiting(recv);
}

fn a_datagram_beyond_the_protocols_limit_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    let error = driver.send(raw_socket(&left), &vec![0; 70_000]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(system::MESSAGE_TOO_LONG));
    let to = Address::from(right.local_addr().unwrap());
    let error = driver.send_message(raw_socket(&left), &[&vec![0; 70_000]], Some(&to), &[]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(system::MESSAGE_TOO_LONG));
}

fn a_datagram_to_nobody_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let socket = datagram_socket();
    let error = driver.send(raw_socket(&socket), b"to whom?").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(system::NO_DESTINATION));
    let to = Address::from("[::1]:9".parse::<std::net::SocketAddr>().unwrap());
    let error = driver.send_message(raw_socket(&socket), &[b"x"], Some(&to), &[]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(system::WRONG_FAMILY));
}

fn receives_in_flight_each_bring_one_datagram(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    let receives: Vec<_> = (0..50).map(|_| driver.begin_recv(raw_socket(&right), 8, 0)).collect();
    driver.turn(Duration::ZERO);
    for number in 0..50_u8 {
        left.send(&[number]).unwrap();
    }
    let mut received: Vec<_> = receives.into_iter().map(|recv| driver.received(recv).unwrap()).collect();
    received.sort();
    assert_eq!(received, (0..50_u8).map(|number| vec![number]).collect::<Vec<_>>());
}

fn a_multishot_receive_brings_a_datagram_a_time(config: Config) {
    let mut driver = Driver::new(config.buffers(4, 64));
    let (left, right) = datagram_pair();
    let recv = driver.begin(Op::RecvMultishot { socket: raw_socket(&right) });
    driver.assert_waits(recv);
    for number in 1..20_u8 {
        left.send(&vec![number; usize::from(number)]).unwrap();
        let completion = driver.next(recv);
        assert!(completion.more);
        let bytes = driver.provided(completion.result.unwrap());
        assert_eq!(bytes, vec![number; usize::from(number)]);
    }
    driver.cancel_waiting(recv);
}
