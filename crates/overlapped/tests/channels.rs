//! Channels: who runs on, how many wait, what closing means. Stackless's rules.

mod support;

use std::rc::Rc;
use std::time::Duration;

use overlapped::{Channel, Preference, ReceiveError, SendError, channel, sleep, spawn, timeout, yield_now};
use support::{LONG, Log, run};

/// A receiver waits, a bystander is ready, and this tasklet sends: who runs in which order?
fn order_when_a_receiver_waits(preference: Preference) -> Vec<String> {
    run(|| {
        let (log, channel) = (Log::new(), channel());
        channel.set_preference(preference);
        let (theirs, receives) = (log.clone(), channel.clone());
        spawn(move || {
            let value: u32 = receives.receive().unwrap();
            theirs.add(format!("receiver got {value}"));
        });
        yield_now();
        let theirs = log.clone();
        spawn(move || theirs.add("bystander"));
        channel.send(1).unwrap();
        log.add("sender goes on");
        sleep(Duration::from_millis(1));
        log.take()
    })
}

/// A sender waits, a bystander is ready, and this tasklet receives.
fn order_when_a_sender_waits(preference: Preference) -> Vec<String> {
    run(|| {
        let (log, channel) = (Log::new(), channel());
        channel.set_preference(preference);
        let (theirs, sends) = (log.clone(), channel.clone());
        spawn(move || {
            sends.send(1).unwrap();
            theirs.add("sender goes on");
        });
        yield_now();
        let theirs = log.clone();
        spawn(move || theirs.add("bystander"));
        let value: u32 = channel.receive().unwrap();
        log.add(format!("receiver got {value}"));
        sleep(Duration::from_millis(1));
        log.take()
    })
}

#[test]
fn with_preference_for_the_receiver_it_runs_at_once() {
    assert_eq!(Channel::<()>::new().preference(), Preference::Receiver);
    let found = order_when_a_receiver_waits(Preference::Receiver);
    assert_eq!(found, ["receiver got 1", "bystander", "sender goes on"]);
    let found = order_when_a_sender_waits(Preference::Receiver);
    assert_eq!(found, ["receiver got 1", "bystander", "sender goes on"]);
}

#[test]
fn with_preference_for_the_sender_it_runs_at_once() {
    let found = order_when_a_receiver_waits(Preference::Sender);
    assert_eq!(found, ["sender goes on", "bystander", "receiver got 1"]);
    let found = order_when_a_sender_waits(Preference::Sender);
    assert_eq!(found, ["sender goes on", "bystander", "receiver got 1"]);
}

#[test]
fn with_preference_for_neither_whoever_came_second_runs_on() {
    let found = order_when_a_receiver_waits(Preference::Neither);
    assert_eq!(found, ["sender goes on", "bystander", "receiver got 1"]);
    let found = order_when_a_sender_waits(Preference::Neither);
    assert_eq!(found, ["receiver got 1", "bystander", "sender goes on"]);
}

#[test]
fn nothing_is_stored_a_send_waits_for_its_receiver() {
    run(|| {
        let (log, channel) = (Log::new(), channel());
        let (theirs, sends) = (log.clone(), channel.clone());
        spawn(move || {
            sends.send(()).unwrap();
            theirs.add("sent");
        });
        sleep(Duration::from_millis(5));
        assert!(log.take().is_empty());
        channel.receive().unwrap();
        yield_now();
        assert_eq!(log.take(), ["sent"]);
    });
}

#[test]
fn the_balance_counts_senders_up_and_receivers_down() {
    run(|| {
        let channel = channel();
        assert_eq!(channel.balance(), 0);
        for waiting in 1..=3 {
            let sends = channel.clone();
            spawn(move || sends.send(waiting).unwrap());
            yield_now();
            assert_eq!(channel.balance(), waiting);
        }
        for waiting in 1..=3 {
            assert_eq!(channel.receive(), Ok(waiting), "the one that waits longest comes first");
            assert_eq!(channel.balance(), 3 - waiting);
        }
        let log = Log::new();
        for waiting in 1..=3 {
            let (receives, log) = (channel.clone(), log.clone());
            spawn(move || log.add(format!("{waiting} got {}", receives.receive().unwrap())));
            yield_now();
            assert_eq!(channel.balance(), -waiting);
        }
        for value in 7..=9 {
            channel.send(value).unwrap();
        }
        assert_eq!(channel.balance(), 0);
        assert_eq!(log.take(), ["1 got 7", "2 got 8", "3 got 9"]);
    });
}

#[test]
fn a_closed_channel_only_gets_shorter() {
    run(|| {
        let channel = channel();
        for value in 0..2 {
            let sends = channel.clone();
            spawn(move || sends.send(value).unwrap());
        }
        yield_now();
        channel.close();
        assert!(channel.is_closing() && !channel.is_closed());
        assert_eq!(channel.send(9), Err(SendError::Closed(9)), "the value comes back");
        assert_eq!(SendError::Closed(9).into_inner(), 9);
        assert_eq!(channel.receive(), Ok(0));
        assert_eq!(channel.receive(), Ok(1));
        assert!(channel.is_closed());
        assert_eq!(channel.receive(), Err(ReceiveError::Closed));
        channel.open();
        assert!(!channel.is_closing() && !channel.is_closed());
        let sends = channel.clone();
        spawn(move || sends.send(5).unwrap());
        assert_eq!(channel.receive(), Ok(5));
    });
}

#[test]
fn a_receiver_that_waits_when_the_channel_closes_can_still_be_met() {
    run(|| {
        let channel = channel();
        let receives = channel.clone();
        let receiver = spawn(move || receives.receive());
        yield_now();
        channel.close();
        assert_eq!(channel.balance(), -1);
        channel.send(3).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(3));
        assert!(channel.is_closed());
    });
}

#[test]
fn the_iterator_ends_with_the_channel() {
    run(|| {
        let channel = channel();
        for value in 0..3 {
            let sends = channel.clone();
            spawn(move || sends.send(value).unwrap());
        }
        yield_now();
        channel.close();
        assert_eq!(channel.iter().collect::<Vec<i32>>(), [0, 1, 2]);
    });
}

#[test]
fn whoever_leaves_takes_its_place_and_its_value_along() {
    run(|| {
        let channel = channel();
        let value = Rc::new(());
        let (sends, sent) = (channel.clone(), Rc::clone(&value));
        let sender = spawn(move || sends.send(sent));
        yield_now();
        assert_eq!((channel.balance(), Rc::strong_count(&value)), (1, 2));
        sender.cancel();
        let error = sender.join().unwrap().unwrap_err();
        assert!(matches!(error, SendError::Interrupted(_)));
        assert_eq!((channel.balance(), Rc::strong_count(&value)), (0, 2), "the value came back");
        drop(error);

        assert!(timeout(Duration::from_millis(5), || channel.receive()).is_err());
        assert_eq!(channel.balance(), 0);
        // The channel is as good as before.
        let sends = channel.clone();
        spawn(move || sends.send(value).unwrap());
        assert!(channel.receive().is_ok());
    });
}

#[test]
fn a_chain_of_channels() {
    run(|| {
        let first = channel::<u32>();
        let mut last = first.clone();
        for _ in 0..1000 {
            let (from, to) = (last, channel());
            last = to.clone();
            spawn(move || to.send(from.receive().unwrap() + 1).unwrap());
        }
        spawn(move || first.send(0).unwrap());
        assert_eq!(last.receive(), Ok(1000));
    });
}

#[test]
fn many_senders_one_receiver_under_every_preference() {
    for preference in [Preference::Receiver, Preference::Neither, Preference::Sender] {
        run(|| {
            let channel = channel();
            channel.set_preference(preference);
            for sender in 0..50_u32 {
                let channel = channel.clone();
                spawn(move || (0..20).for_each(|n| channel.send((sender, n)).unwrap()));
            }
            let mut next = [0; 50];
            for _ in 0..1000 {
                let (sender, n) = channel.receive().unwrap();
                assert_eq!(next[sender as usize], n, "one sender's values stay in order");
                next[sender as usize] += 1;
            }
            assert_eq!(channel.balance(), 0);
        });
    }
}

#[test]
fn between_threads_with_and_without_a_scheduler() {
    run(|| {
        let (there, back) = (channel(), channel());
        let (from, to) = (there.clone(), back.clone());
        // This thread's wait is the thread's.
        let plain = std::thread::spawn(move || {
            for value in from.iter() {
                to.send(value * 2).unwrap();
            }
        });
        for n in 0..1000 {
            there.send(n).unwrap();
            assert_eq!(back.receive(), Ok(n * 2));
        }
        // One value more, so that the thread is not waiting when the channel closes.
        there.send(0).unwrap();
        there.close();
        assert_eq!(back.receive(), Ok(0));
        plain.join().unwrap();

        let (there, back) = (channel(), channel());
        let (from, to) = (there.clone(), back.clone());
        let other = std::thread::spawn(move || {
            overlapped::run(|| {
                let echo = spawn(move || (0..1000).for_each(|_| to.send(from.receive().unwrap()).unwrap()));
                echo.join().unwrap();
            });
        });
        let ticker = spawn(|| {
            loop {
                sleep(Duration::from_millis(1));
            }
        });
        for n in 0..1000 {
            there.send(n).unwrap();
            assert_eq!(back.receive(), Ok(n));
        }
        assert!(!ticker.is_finished());
        assert_eq!(timeout(LONG, || other.join().unwrap()), Ok(()));
    });
}
