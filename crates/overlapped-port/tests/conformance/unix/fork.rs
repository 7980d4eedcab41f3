//! A port after fork(2): the child leaves it to the parent and makes its own.

use std::io::Write;
use std::time::Duration;

use overlapped_port::sys::raw_socket;
use overlapped_port::{Config, Op};

use super::system::in_a_fork;
use crate::driver::Driver;
use crate::loopback::pair;

crate::on_every_backend!(a_child_makes_its_own_port_and_leaves_the_parents_alone);

fn a_child_makes_its_own_port_and_leaves_the_parents_alone(config: Config) {
    let mut driver = Driver::new(config.clone());
    let (mut client, server) = pair();
    let (child_client, child_server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
    let receives = driver.begin(Op::RecvMultishot { socket: raw_socket(&child_server) });
    let call = driver.begin_call(|| Ok(1));
    assert_eq!(driver.counted(call).unwrap(), 1);
    driver.assert_waits(recv);
    driver.assert_waits(receives);
    driver.cancel_waiting(receives);

    let child_is_well = in_a_fork(|| {
        driver.abandon_after_fork();
        let mut driver = Driver::new(config);
        let recv = driver.begin_recv(raw_socket(&child_server), 64, 0);
        driver.turn(Duration::from_millis(5));
        driver.send(raw_socket(&child_client), b"in the child").unwrap();
        let received = driver.received(recv).unwrap();
        let call = driver.begin_call(|| Ok(2));
        received == b"in the child" && driver.counted(call).unwrap() == 2
    });
    assert!(child_is_well);

    // The parent's port sleeps, wakes and receives as before.
    driver.assert_waits(recv);
    client.write_all(b"in the parent").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"in the parent");
    driver.send(raw_socket(&server), b"and back").unwrap();
    assert_eq!(driver.recv(raw_socket(&client), 64).unwrap(), b"and back");
    let call = driver.begin_call(|| Ok(3));
    assert_eq!(driver.counted(call).unwrap(), 3);
}
