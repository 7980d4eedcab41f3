//! One tasklet waits for several things: one is taken, nothing is lost.

mod support;

use std::time::Duration;

use overlapped::{
    Branch, Channel, Event, Preference, Queue, ReceiveError, Semaphore, SendError, channel, first_of, spawn, timeout,
    yield_now,
};
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
            let mut branches: Vec<&mut dyn Branch> = waits.iter_mut().map(|wait| wait as &mut dyn Branch).collect();
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

#[test]
fn a_value_is_sent_or_put_by_the_branch_that_is_first_and_by_no_other() {
    run(|| {
        for which in 0..3 {
            let (values, items, event) = (channel(), Queue::bounded(1), Event::new());
            items.put("old").unwrap();
            let (theirs, full, sets) = (values.clone(), items.clone(), event.clone());
            let waits = spawn(move || {
                let (mut sent, mut put) = (theirs.sending("sent"), full.putting("put"));
                let first = first_of(&mut [&mut sent, &mut put, &mut event.waiting()]).unwrap();
                let went = (sent.take().is_some(), put.take().is_some());
                assert_eq!(went, (first == 0, first == 1));
                assert_eq!(
                    (sent.into_inner(), put.into_inner()),
                    ((!went.0).then_some("sent"), (!went.1).then_some("put"))
                );
                first
            });
            yield_now();
            assert_eq!(values.balance(), 1);
            match which {
                0 => assert_eq!(values.receive(), Ok("sent")),
                1 => assert_eq!(items.get(), Ok("old")),
                _ => sets.set(),
            }
            assert_eq!(waits.join().unwrap(), which);
            assert_eq!(values.balance(), 0, "nobody offers it any more");
            assert_eq!(items.try_get().ok(), [Some("old"), Some("put"), Some("old")][which]);
        }
    });
}

#[test]
fn two_that_wait_for_several_things_each_meet() {
    run(|| {
        let (there, back) = (channel(), Queue::bounded(0));
        let (to, from) = (there.clone(), back.clone());
        let other = spawn(move || {
            let (mut sent, mut got) = (to.sending(1), from.getting());
            (first_of(&mut [&mut got, &mut sent]).unwrap(), got.take(), sent.take())
        });
        yield_now();
        let (mut received, mut put) = (there.receiving(), back.putting(2));
        assert_eq!(first_of(&mut [&mut put, &mut received]).unwrap(), 0);
        assert_eq!((put.take(), received.take()), (Some(Ok(())), None));
        assert_eq!(other.join().unwrap(), (0, Some(Ok(2)), None));
        assert_eq!((there.balance(), back.try_get()), (0, Err(ReceiveError::Elapsed)));
    });
}

#[test]
fn nobody_meets_itself() {
    run(|| {
        let (values, items) = (channel(), Queue::bounded(0));
        let (mut sent, mut received) = (values.sending(1), values.receiving());
        let (mut put, mut got) = (items.putting(1), items.getting());
        // Who looked again and again for itself would never let this one run.
        let event = Event::new();
        let theirs = event.clone();
        spawn(move || theirs.set());
        let mut late = event.waiting();
        assert_eq!(first_of(&mut [&mut sent, &mut received, &mut put, &mut got, &mut late]).unwrap(), 4);
        assert_eq!((sent.into_inner(), put.into_inner()), (Some(1), Some(1)));
        assert!(received.take().is_none() && got.take().is_none());
    });
}

#[test]
fn what_is_closed_gives_the_value_back_also_meanwhile() {
    run(|| {
        let (closed, full) = (channel(), Queue::bounded(1));
        closed.close();
        full.put("old").unwrap();
        let never = Event::new();
        let mut sent = closed.sending("value");
        assert_eq!(first_of(&mut [&mut never.waiting(), &mut sent]).unwrap(), 1);
        assert_eq!(sent.take(), Some(Err(SendError::Closed("value"))));
        let theirs = full.clone();
        let waits = spawn(move || {
            let mut put = theirs.putting("value");
            (first_of(&mut [&mut never.waiting(), &mut put]).unwrap(), put.into_inner())
        });
        let plain = full.clone();
        let puts = spawn(move || plain.put("another"));
        yield_now();
        full.close();
        assert_eq!(waits.join().unwrap(), (1, Some("value")));
        assert_eq!(puts.join().unwrap(), Err(SendError::Closed("another")));
        assert_eq!(full.iter().collect::<Vec<_>>(), ["old"]);
    });
}

#[test]
fn who_was_served_elsewhere_has_its_value_back_though_the_queue_is_closed_before_it_runs() {
    run(|| {
        let (full, event) = (Queue::bounded(0), Event::new());
        let (theirs, sets) = (full.clone(), event.clone());
        let waits = spawn(move || {
            let mut put = theirs.putting("value");
            let first = first_of(&mut [&mut put, &mut event.waiting()]).unwrap();
            (first, put.take(), put.into_inner())
        });
        yield_now();
        sets.set();
        full.close();
        assert_eq!(waits.join().unwrap(), (1, None, Some("value")));
    });
}

#[test]
fn a_value_that_was_not_asked_for_is_brought_again() {
    run(|| {
        let (items, permits) = (Queue::new(), Semaphore::new(1));
        items.put(1).unwrap();
        items.put(2).unwrap();
        let (mut got, mut permit) = (items.getting(), permits.acquiring());
        for _ in 0..3 {
            assert_eq!(first_of(&mut [&mut got, &mut permit]).unwrap(), 0);
        }
        assert_eq!((got.take(), items.len()), (Some(Ok(1)), 1));
        for _ in 0..3 {
            assert_eq!(first_of(&mut [&mut permit]).unwrap(), 0);
        }
        assert!(permit.take().is_some());
    });
}

/// Threads send and receive, each by waiting for several at once, over the same few channels and queues.
#[test]
fn threads_that_offer_and_ask_at_once_lose_no_value_and_bring_none_twice() {
    const EACH: usize = 300;
    let channels: Vec<Channel<usize>> = (0..2).map(|_| channel()).collect();
    let queues: Vec<Queue<usize>> = (0..2).map(Queue::bounded).collect();
    let over = Event::new();
    let senders: Vec<_> = (0..3)
        .map(|n| {
            let (channels, queues) = (channels.clone(), queues.clone());
            std::thread::spawn(move || {
                run(|| {
                    for m in 0..EACH {
                        // The same value is offered in four places.
                        let value = n * EACH + m;
                        let mut sent: Vec<_> = channels.iter().map(|channel| channel.sending(value)).collect();
                        let mut put: Vec<_> = queues.iter().map(|queue| queue.putting(value)).collect();
                        let mut branches: Vec<&mut dyn Branch> = Vec::new();
                        branches.extend(sent.iter_mut().map(|sent| sent as &mut dyn Branch));
                        branches.extend(put.iter_mut().map(|put| put as &mut dyn Branch));
                        branches.rotate_left(m % 4);
                        first_of(&mut branches).unwrap();
                        let went = sent
                            .iter_mut()
                            .filter_map(|sent| sent.take())
                            .chain(put.iter_mut().filter_map(|put| put.take()));
                        assert_eq!(went.collect::<Vec<_>>(), [Ok(())]);
                    }
                });
            })
        })
        .collect();
    let receivers: Vec<_> = (0..3)
        .map(|n| {
            let (channels, queues, over) = (channels.clone(), queues.clone(), over.clone());
            std::thread::spawn(move || {
                run(|| {
                    let mut taken = Vec::new();
                    loop {
                        let mut received: Vec<_> = channels.iter().map(Channel::receiving).collect();
                        let mut got: Vec<_> = queues.iter().map(Queue::getting).collect();
                        let mut stop = over.waiting();
                        let mut branches: Vec<&mut dyn Branch> = Vec::new();
                        branches.extend(received.iter_mut().map(|received| received as &mut dyn Branch));
                        branches.extend(got.iter_mut().map(|got| got as &mut dyn Branch));
                        branches.rotate_left((n + taken.len()) % 4);
                        branches.push(&mut stop);
                        if first_of(&mut branches).unwrap() == 4 {
                            return taken;
                        }
                        let came = received
                            .iter_mut()
                            .filter_map(|received| received.take())
                            .chain(got.iter_mut().filter_map(|got| got.take()));
                        let came: Vec<usize> = came.map(Result::unwrap).collect();
                        assert_eq!(came.len(), 1);
                        taken.extend(came);
                    }
                })
            })
        })
        .collect();
    senders.into_iter().for_each(|thread| thread.join().unwrap());
    over.set();
    let mut taken: Vec<usize> = receivers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    taken.extend(queues.iter().flat_map(|queue| std::iter::from_fn(|| queue.try_get().ok())));
    taken.sort_unstable();
    assert_eq!(taken, (0..3 * EACH).collect::<Vec<_>>());
}
