//! Queues by their ends: the last to go closes them, on whatever thread.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use overlapped::sync::mpmc;
use overlapped::{ReceiveError, SendError, after, select, sleep, spawn, timeout, yield_now};
use support::run;

const MOMENT: Duration = Duration::from_millis(5);

#[test]
fn receivers_are_given_what_is_left_when_the_last_sender_has_gone() {
    run(|| {
        let (sender, receiver) = mpmc::bounded(2);
        let other = sender.clone();
        sender.send(1).unwrap();
        drop(sender);
        other.try_send(2).unwrap();
        assert_eq!(other.try_send(3), Err(SendError::Elapsed(3)));
        assert_eq!(other.send_timeout(3, MOMENT), Err(SendError::Elapsed(3)));
        assert!(!receiver.is_closed());
        drop(other);
        assert!(receiver.is_closed() && receiver.len() == 2);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(
            (receiver.receive(), receiver.try_receive()),
            (Err(ReceiveError::Closed), Err(ReceiveError::Closed))
        );
        let (sender, receiver) = mpmc::unbounded::<()>();
        assert_eq!(receiver.receive_timeout(MOMENT), Err(ReceiveError::Elapsed));
        let waits = spawn(move || receiver.receive());
        yield_now();
        drop(sender);
        assert_eq!(waits.join().unwrap(), Err(ReceiveError::Closed));
    });
}

#[test]
fn senders_are_told_when_the_last_receiver_has_gone_and_what_is_left_is_dropped() {
    struct Counts(Rc<Cell<u32>>);
    impl Drop for Counts {
        fn drop(&mut self) {
            // It may wait: no lock is held.
            sleep(Duration::from_millis(1));
            self.0.set(self.0.get() + 1);
        }
    }
    run(|| {
        let dropped = Rc::new(Cell::new(0));
        let (sender, receiver) = mpmc::bounded(2);
        let other = receiver.clone();
        for _ in 0..2 {
            sender.send(Counts(Rc::clone(&dropped))).unwrap_or_else(|_| unreachable!());
        }
        drop(receiver);
        let (theirs, counts) = (sender.clone(), Counts(Rc::clone(&dropped)));
        let waits = spawn(move || theirs.send(counts).is_err_and(|error| matches!(error, SendError::Closed(_))));
        yield_now();
        assert_eq!(dropped.get(), 0);
        drop(other);
        assert!(waits.join().unwrap());
        assert_eq!((dropped.get(), sender.is_closed(), sender.is_empty()), (3, true, true));
    });
}

#[test]
fn both_ends_are_things_to_select() {
    run(|| {
        let (sender, receiver) = mpmc::bounded(1);
        let sent = select! { sent = sender.sending(1) => sent, _ = after(MOMENT) => unreachable!() };
        assert_eq!(sent.unwrap(), Ok(()));
        let mut second = sender.sending(2);
        assert!(select! { _ = &mut second => false, _ = after(MOMENT) => true }.unwrap());
        assert_eq!(second.into_inner(), Some(2));
        assert_eq!(select! { came = receiver.receiving() => came }.unwrap(), Ok(1));
        drop(sender);
        assert_eq!(select! { came = receiver.receiving() => came }.unwrap(), Err(ReceiveError::Closed));
    });
}

/// Some of the threads have tasklets, some have none; senders and receivers leave their waits at random.
#[test]
fn values_from_and_to_threads_and_tasklets_come_each_once_and_all_are_told_of_the_end() {
    const EACH: u32 = 400;
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let (sender, receiver) = mpmc::bounded(random.usize(0..4));
    let senders: Vec<_> = (0..4)
        .map(|n| {
            let (sender, mut random) = (sender.clone(), random.fork());
            let mut send_all = move || {
                for mut value in n * EACH..(n + 1) * EACH {
                    while let Err(error) = sender.send_timeout(value, Duration::from_micros(random.u64(1..200))) {
                        assert!(matches!(error, SendError::Elapsed(_)), "seed {seed}");
                        value = error.into_inner();
                    }
                }
            };
            std::thread::spawn(move || if n % 2 == 0 { send_all() } else { run(|| spawn(send_all).join().unwrap()) })
        })
        .collect();
    drop(sender);
    let receivers: Vec<_> = (0..4)
        .map(|n| {
            let (receiver, mut random) = (receiver.clone(), random.fork());
            let mut take_all = move |may_be_told: bool| {
                let mut got = Vec::new();
                loop {
                    let limit = Duration::from_micros(random.u64(1..200));
                    let mut taken = Err(ReceiveError::Elapsed);
                    if may_be_told {
                        let _ = timeout(limit, || taken = receiver.receive());
                    } else {
                        taken = receiver.receive_timeout(limit);
                    }
                    match taken {
                        Ok(value) => got.push(value),
                        Err(ReceiveError::Closed) => return got,
                        Err(_) => {}
                    }
                }
            };
            std::thread::spawn(move || if n % 2 == 0 { take_all(false) } else { run(|| take_all(true)) })
        })
        .collect();
    drop(receiver);
    senders.into_iter().for_each(|thread| thread.join().unwrap());
    let mut got: Vec<u32> = receivers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, (0..4 * EACH).collect::<Vec<_>>(), "seed {seed}");
}
