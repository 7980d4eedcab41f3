//! One tasklet waits for several things: one is taken, nothing is lost.

mod support;

use std::time::Duration;

use overlapped::{Channel, Event, Preference, ReceiveError, Semaphore, channel, first_of, spawn, timeout, yield_now};
use support::run;

const MOMENT: Duration = Duration::from_millis(10);

#[test]
fn of_those_that_are_ready_the_first_is_taken_and_the_others_are_left() {
    run(|| {
        let (values, event, semaphore) = (channel(), Event::new(), Semaphore::new(1));
        let sends = values.clone();
        let sender = spawn(move || sends.send("a value"));
        yield_now();
        event.set();
        let (mut value, mut set, mut permit) = (values.receiving(), event.waiting(), semaphore.acquiring());
        assert_eq!(first_of(&mut [&mut set, &mut permit, &mut value]).unwrap(), 0);
        assert_eq!((semaphore.value(), values.balance()), (1, 1));
        assert_eq!(first_of(&mut [&mut permit, &mut value]).unwrap(), 0);
        assert_eq!((semaphore.value(), values.balance()), (0, 1));
        drop(permit.take().unwrap());
        assert_eq!(semaphore.value(), 1);
        assert_eq!(first_of(&mut [&mut value, &mut permit]).unwrap(), 0);
        assert_eq!(value.take(), Some(Ok("a value")));
        sender.join().unwrap().unwrap();
    });
}

#[test]
fn the_first_that_comes_is_taken_and_the_places_in_the_other_lines_are_given_back() {
    run(|| {
        for which in 0..3 {
            let (values, event, semaphore) = (channel(), Event::new(), Semaphore::new(0));
            let (sends, sets, releases) = (values.clone(), event.clone(), semaphore.clone());
            let waits = spawn(move || {
                let (mut value, mut set, mut permit) = (values.receiving(), event.waiting(), semaphore.acquiring());
                let first = first_of(&mut [&mut value, &mut set, &mut permit]).unwrap();
                assert_eq!((value.take().is_some(), permit.take().is_some()), (first == 0, first == 2));
                assert_eq!((values.balance(), semaphore.is_handed_over()), (0, false));
                first
            });
            yield_now();
            assert_eq!(sends.balance(), -1);
            match which {
                0 => sends.send(()).unwrap(),
                1 => sets.set(),
                _ => releases.release(),
            }
            assert_eq!(waits.join().unwrap(), which);
        }
    });
}

#[test]
fn who_was_served_is_passed_over_by_the_others() {
    run(|| {
        let (first, second) = (channel(), channel());
        second.set_preference(Preference::Neither);
        first.set_preference(Preference::Neither);
        let (a, b) = (first.clone(), second.clone());
        let waits = spawn(move || {
            let (mut one, mut other) = (a.receiving(), b.receiving());
            let place = first_of(&mut [&mut one, &mut other]).unwrap();
            (place, one.take(), other.take())
        });
        yield_now();
        // It has not run since: both still have it in their lines.
        first.send(1).unwrap();
        let late = spawn(move || second.send(2));
        assert_eq!(waits.join().unwrap(), (0, Some(Ok(1)), None));
        assert!(!late.is_finished(), "nobody has taken it");
        late.cancel();
        assert!(late.join().unwrap().is_err());
    });
}

#[test]
fn a_closed_channel_is_a_result_and_a_cancel_takes_nothing() {
    run(|| {
        let (closed, never) = (channel::<()>(), Event::new());
        closed.close();
        let (mut value, mut set) = (closed.receiving(), never.waiting());
        assert_eq!(first_of(&mut [&mut set, &mut value]).unwrap(), 1);
        assert_eq!(value.take(), Some(Err(ReceiveError::Closed)));
        closed.open();
        assert!(timeout(MOMENT, || first_of(&mut [&mut set, &mut value])).is_err());
        assert_eq!(closed.balance(), 0);
        let theirs = closed.clone();
        let waits = spawn(move || overlapped::is_cancelled(&first_of(&mut [&mut theirs.receiving()]).unwrap_err()));
        yield_now();
        waits.cancel();
        assert!(waits.join().unwrap());
        assert_eq!(closed.balance(), 0);
    });
}

#[test]
fn threads_that_send_at_once_lose_no_value_and_bring_none_twice() {
    const EACH: usize = 500;
    run(|| {
        let channels: Vec<Channel<usize>> = (0..4).map(|_| channel()).collect();
        let threads: Vec<_> = channels
            .iter()
            .enumerate()
            .map(|(n, values)| {
                let values = values.clone();
                std::thread::spawn(move || (0..EACH).for_each(|m| values.send(n * EACH + m).unwrap()))
            })
            .collect();
        let mut got = Vec::new();
        while got.len() < 4 * EACH {
            let mut waits: Vec<_> = channels.iter().map(Channel::receiving).collect();
            let mut branches: Vec<&mut dyn overlapped::Branch> =
                waits.iter_mut().map(|wait| wait as &mut dyn overlapped::Branch).collect();
            // The first would always be first.
            let turn = got.len() % 4;
            branches.rotate_left(turn);
            let place = first_of(&mut branches).unwrap();
            got.push(waits[(place + turn) % 4].take().unwrap().unwrap());
            assert!(waits.iter_mut().all(|wait| wait.take().is_none()));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        got.sort_unstable();
        assert_eq!(got, (0..4 * EACH).collect::<Vec<_>>());
    });
}
