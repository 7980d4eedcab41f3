//! Values for all: each in order and once, or the number of those that were missed.

mod support;

use std::time::Duration;

use overlapped::sync::{broadcast, watch};
use overlapped::{ReceiveError, SendError, after, select, sleep, spawn, timeout, yield_now};
use support::run;

const MOMENT: Duration = Duration::from_millis(5);

#[test]
fn each_receiver_is_given_every_value_since_it_was_made() {
    run(|| {
        let (sender, mut first) = broadcast::channel(8);
        assert_eq!(sender.send(1), Ok(1));
        let mut second = sender.subscribe();
        let mut third = first.resubscribe();
        assert_eq!((sender.clone().send(2), sender.receivers()), (Ok(3), 3));
        assert_eq!((first.len(), second.len()), (2, 1));
        assert_eq!((first.receive(), first.receive(), second.receive(), third.receive()), (Ok(1), Ok(2), Ok(2), Ok(2)));
        assert_eq!(first.try_receive(), Err(broadcast::ReceiveError::Elapsed));
        assert_eq!(first.receive_timeout(MOMENT), Err(broadcast::ReceiveError::Elapsed));
        let waits = [first, second].map(|mut receiver| spawn(move || (receiver.receive(), receiver.receive())));
        yield_now();
        sender.send(3).unwrap();
        drop(sender);
        for receiver in waits {
            assert_eq!(receiver.join().unwrap(), (Ok(3), Err(broadcast::ReceiveError::Closed)));
        }
        assert_eq!((third.receive(), third.receive()), (Ok(3), Err(broadcast::ReceiveError::Closed)));
    });
}

#[test]
fn one_that_lags_is_told_how_many_it_has_missed_and_goes_on() {
    run(|| {
        let (sender, mut slow) = broadcast::channel(3);
        (0..10).for_each(|value| assert_eq!(sender.send(value), Ok(1)));
        assert_eq!((slow.len(), slow.receive()), (3, Err(broadcast::ReceiveError::Lagged(7))));
        assert_eq!((slow.receive(), slow.receive(), slow.receive()), (Ok(7), Ok(8), Ok(9)));
        drop(slow);
        assert_eq!(sender.send(10), Err(SendError::Closed(10)));
        let mut late = sender.subscribe();
        sender.send(11).unwrap();
        assert_eq!(late.receive(), Ok(11));
    });
}

#[test]
fn what_is_broadcast_is_a_thing_to_select_and_whoever_is_told_to_leave_loses_nothing() {
    run(|| {
        let (sender, mut receiver) = broadcast::channel(4);
        assert!(timeout(MOMENT, || receiver.receive()).is_err());
        assert!(select! { _ = receiver.receiving() => false, _ = after(MOMENT) => true }.unwrap());
        let mut theirs = sender.subscribe();
        let waits = spawn(move || {
            let came = theirs.receive();
            (came, theirs.try_receive())
        });
        yield_now();
        sender.send("value").unwrap();
        // It is there, and the tasklet has not run since.
        waits.cancel();
        assert_eq!(waits.join().unwrap(), (Ok("value"), Err(broadcast::ReceiveError::Elapsed)));
        assert_eq!(select! { came = receiver.receiving() => came }.unwrap(), Ok("value"));
        let mut theirs = sender.subscribe();
        let waits = spawn(move || select! { came = theirs.receiving() => came }.unwrap());
        yield_now();
        drop(sender);
        assert_eq!(waits.join().unwrap(), Err(broadcast::ReceiveError::Closed));
    });
}

#[test]
fn a_clone_that_waits_holds_no_lock() {
    struct Slow(u32);
    impl Clone for Slow {
        fn clone(&self) -> Slow {
            sleep(Duration::from_millis(1));
            Slow(self.0 + 1)
        }
    }
    run(|| {
        let (sender, receiver) = broadcast::channel::<Slow>(4);
        let receivers = [receiver, sender.subscribe()].map(|mut receiver| spawn(move || receiver.receive().unwrap().0));
        yield_now();
        sender.send(Slow(1)).unwrap_or_else(|_| unreachable!());
        assert_eq!(receivers.map(|receiver| receiver.join().unwrap()), [2, 2]);
    });
}

#[test]
fn threads_are_given_all_values_in_order_or_told_of_a_lag() {
    const COUNT: u32 = 2000;
    let (sender, receiver) = broadcast::channel(16);
    let receivers: Vec<_> = (0..3)
        .map(|n| {
            let mut receiver = receiver.resubscribe();
            let mut all = move || {
                let (mut next, mut missed) = (0, 0);
                loop {
                    match receiver.receive() {
                        Ok(value) => {
                            assert_eq!(value, next);
                            next += 1;
                        }
                        Err(broadcast::ReceiveError::Lagged(count)) => {
                            next += count as u32;
                            missed += count;
                        }
                        Err(error) => {
                            assert_eq!((error, next), (broadcast::ReceiveError::Closed, COUNT));
                            return missed;
                        }
                    }
                }
            };
            std::thread::spawn(move || if n == 0 { all() } else { run(all) })
        })
        .collect();
    drop(receiver);
    (0..COUNT).for_each(|value| assert_eq!(sender.send(value), Ok(3)));
    drop(sender);
    receivers.into_iter().for_each(|thread| assert!(thread.join().unwrap() < u64::from(COUNT)));
}

#[test]
fn of_a_value_that_is_watched_the_last_counts() {
    run(|| {
        let (sender, mut receiver) = watch::channel(0);
        let mut other = receiver.clone();
        assert!(!receiver.has_changed() && receiver.changed_timeout(MOMENT) == Err(ReceiveError::Elapsed));
        let theirs = sender.clone();
        let sets = spawn(move || (1..=5).for_each(|value| theirs.send(value).unwrap()));
        assert_eq!((receiver.changed(), *receiver.borrow()), (Ok(()), 5));
        assert!(!receiver.has_changed() && other.has_changed());
        assert_eq!((*other.borrow(), other.has_changed()), (5, true));
        assert_eq!((*other.borrow_and_update(), other.has_changed()), (5, false));
        sets.join().unwrap();
        let waits = spawn(move || other.wait_for(|value| *value >= 8).map(|value| *value));
        yield_now();
        for value in [6, 7, 8] {
            assert_eq!(*sender.replace(value), value - 1);
            yield_now();
        }
        assert_eq!(waits.join().unwrap(), Ok(8));
        drop(sender);
        assert_eq!((receiver.changed(), receiver.changed()), (Ok(()), Err(ReceiveError::Closed)));
        assert_eq!(*receiver.borrow(), 8);
    });
}

#[test]
fn who_sets_a_value_learns_that_nobody_looks() {
    run(|| {
        let (sender, receiver) = watch::channel("first");
        let theirs = sender.clone();
        let waits = spawn(move || theirs.closed());
        yield_now();
        assert!(!waits.is_finished());
        drop(receiver);
        assert_eq!((waits.join().unwrap(), sender.closed()), (Ok(()), Ok(())));
        assert_eq!(sender.send("second"), Err(SendError::Closed("second")));
        assert_eq!(
            (*sender.borrow(), *sender.replace("third"), *sender.subscribe().borrow()),
            ("first", "first", "third")
        );
    });
}

#[test]
fn a_change_is_a_thing_to_select_and_is_not_lost_by_one_that_leaves() {
    run(|| {
        let (sender, mut receiver) = watch::channel(0);
        assert!(select! { _ = receiver.changing() => false, _ = after(MOMENT) => true }.unwrap());
        assert!(timeout(MOMENT, || receiver.changed()).is_err());
        sender.send(1).unwrap();
        assert_eq!(select! { news = receiver.changing() => news }.unwrap(), Ok(()));
        assert!(!receiver.has_changed());
        let thread = std::thread::spawn(move || sender.send(2));
        assert_eq!((receiver.changed(), *receiver.borrow()), (Ok(()), 2));
        thread.join().unwrap().unwrap();
        assert_eq!(select! { news = receiver.changing() => news }.unwrap(), Err(ReceiveError::Closed));
    });
}
