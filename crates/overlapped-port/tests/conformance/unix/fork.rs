//! A port after fork(2): the child leaves it to the parent and makes its own.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use overlapped_port::sys::raw_socket;
use overlapped_port::{Config, Op};

use super::system::{in_a_fork, open_handles};
use crate::driver::{Driver, OWN, assert_cancelled};
use crate::loopback::pair;

crate::on_every_backend!(
    a_child_makes_its_own_port_and_leaves_the_parents_alone,
    a_child_that_drops_the_port_ends_no_operation_of_its_parents,
    a_child_that_goes_on_with_the_port_is_told_whose_it_is,
    a_lock_that_another_thread_held_at_the_fork_stops_no_child;
    alone: a_child_keeps_no_descriptor_of_its_parents_port,
);

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

fn a_child_that_drops_the_port_ends_no_operation_of_its_parents(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
    let call = driver.begin_call(|| Ok(1));
    assert_eq!(driver.counted(call).unwrap(), 1);
    driver.assert_waits(recv);
    let mut driver = Some(driver);
    assert!(in_a_fork(|| {
        drop(driver.take());
        true
    }));
    let mut driver = driver.unwrap();
    driver.assert_waits(recv);
    client.write_all(b"still").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"still");
}

fn a_child_that_goes_on_with_the_port_is_told_whose_it_is(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let (_other_client, other_server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
    driver.assert_waits(recv);
    assert!(in_a_fork(|| {
        // What is in flight is so in the parent alone.
        assert_cancelled(&driver.finish(recv).0);
        let error = driver.recv(raw_socket(&other_server), 8).unwrap_err().to_string();
        assert!(error.contains("recv") && error.contains("its parent's"), "{error}");
        let call = driver.begin_call(|| Ok(1));
        driver.counted(call).unwrap_err();
        // A timer needs no kernel.
        driver.port().set_timer(Instant::now() + Duration::from_millis(1), OWN);
        driver.until("the timer", |driver| !driver.own_tokens().is_empty());
        true
    }));
    driver.assert_waits(recv);
    client.write_all(b"the parent's").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"the parent's");
}

fn a_lock_that_another_thread_held_at_the_fork_stops_no_child(config: Config) {
    let mut driver = Driver::new(config);
    let waker = driver.port().waker();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    waker.wake();
                    std::thread::yield_now();
                }
            });
        }
        let well = (0..10).all(|_| {
            driver.turn(Duration::ZERO);
            let call = driver.begin_call(|| Ok(0));
            driver.counted(call).unwrap();
            let mut driver = Some(&mut driver);
            in_a_fork(|| {
                waker.wake();
                waker.post(OWN);
                let driver = driver.take().unwrap();
                let call = driver.begin_call(|| Ok(0));
                driver.counted(call).unwrap_err();
                driver.turn(Duration::ZERO);
                true
            })
        });
        stop.store(true, Ordering::Relaxed);
        assert!(well);
    });
}

fn a_child_keeps_no_descriptor_of_its_parents_port(config: Config) {
    let (_client, server) = pair();
    let before = open_handles();
    let mut driver = Driver::new(config);
    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
    driver.assert_waits(recv);
    let mut driver = Some(driver);
    assert!(in_a_fork(|| {
        drop(driver.take());
        let left: Vec<_> = open_handles().difference(&before).cloned().collect();
        assert!(left.is_empty(), "{left:?}");
        true
    }));
}
