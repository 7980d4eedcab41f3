//! `select!`: arms with patterns; nothing is lost, and who is always ready does not keep the others from their turn.

mod support;

use std::time::Duration;

use overlapped::{
    CancellationToken, Event, Notify, Queue, ReceiveError, Semaphore, after, channel, every, is_cancelled, select,
    sleep, spawn, timeout, yield_now,
};
use support::{LONG, run};

const MOMENT: Duration = Duration::from_millis(5);

#[test]
fn the_arm_of_the_first_runs_with_what_it_has_brought() {
    run(|| {
        let (numbers, words, event) = (channel(), Queue::<&str>::new(), Event::new());
        for which in 0..3 {
            let (sends, puts, sets) = (numbers.clone(), words.clone(), event.clone());
            spawn(move || match which {
                0 => sends.send(7).unwrap(),
                1 => puts.put("word").unwrap(),
                _ => sets.set(),
            });
            let came = select! {
                Ok(number) = numbers.receiving() => format!("number {number}"),
                word = words.getting() => format!("word {}", word.unwrap()),
                () = event.waiting() => {
                    event.clear();
                    "event".to_owned()
                }
                else => unreachable!(),
            };
            assert_eq!(came.unwrap(), ["number 7", "word word", "event"][which]);
            assert_eq!((numbers.balance(), words.len()), (0, 0));
        }
    });
}

#[test]
fn every_kind_of_thing_is_an_arm() {
    run(|| {
        let (semaphore, token, notify, never) =
            (Semaphore::new(1), CancellationToken::new(), Notify::new(), channel::<()>());
        let permit = select! { permit = semaphore.acquiring() => permit }.unwrap();
        assert_eq!(semaphore.value(), 0);
        drop(permit);
        let worker = spawn(|| 42);
        // The branch borrows the handle, and has gone before the body runs.
        let joined = select! {
            _ = never.receiving() => 0,
            _ = worker.finishing() => worker.join().unwrap(),
        };
        assert_eq!(joined.unwrap(), 42);
        let receiver = {
            let theirs = never.clone();
            spawn(move || theirs.receive())
        };
        select! { sent = never.sending(()) => sent.unwrap() }.unwrap();
        receiver.join().unwrap().unwrap();
        notify.notify_one();
        select! { _ = notify.hearing() => {} }.unwrap();
        token.cancel();
        select! { _ = token.cancelling() => {} }.unwrap();
        let mut ticks = every(MOMENT);
        select! { missed = ticks.ticking() => assert_eq!(missed, 0) }.unwrap();
        select! { _ = after(MOMENT) => {} }.unwrap();
    });
}

#[test]
fn a_socket_that_is_ready_is_an_arm_and_the_operation_follows() {
    use overlapped::{net, readable, writable};
    run(|| {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stop = Event::new();
        let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = select! {
            _ = stop.waiting() => None,
            ready = readable(&listener) => {
                ready.unwrap();
                Some(listener.accept().unwrap())
            }
        };
        assert!(accepted.unwrap().is_some());
        select! { ready = writable(&client) => ready.unwrap() }.unwrap();
    });
}

#[test]
fn without_a_wait_there_is_a_default_and_conditions_leave_arms_out() {
    run(|| {
        let queue = Queue::new();
        let ask = |may_get: bool| {
            select! {
                value = queue.getting(), if may_get => value.unwrap(),
                default => -1,
            }
            .unwrap()
        };
        assert_eq!(ask(true), -1);
        queue.put(1).unwrap();
        assert_eq!((ask(false), ask(true), ask(true)), (-1, 1, -1));
        // A branch that is left out is not evaluated.
        let mut evaluated = false;
        let none = select! {
            _ = { evaluated = true; after(LONG) }, if queue.len() > 5 => "an arm",
            else => "no arm",
        };
        assert!(!evaluated);
        assert_eq!(none.unwrap(), "no arm");
        let closed = Queue::<u32>::new();
        closed.close();
        let other = select! { Ok(value) = closed.getting() => value, else => 99 };
        assert_eq!(other.unwrap(), 99);
        // One that is left out does not keep the thread from what the others wait for.
        let event = Event::new();
        let sets = event.clone();
        spawn(move || sets.set());
        let set = select! {
            _ = after(LONG), if queue.len() > 5 => false,
            _ = event.waiting() => true,
        };
        assert!(set.unwrap());
        let nothing = std::panic::catch_unwind(|| select! { _ = after(LONG), if false => {} });
        assert!(nothing.is_err());
    });
}

#[test]
fn control_flow_in_a_body_is_the_callers_and_temporaries_live_while_they_are_waited_for() {
    fn first_even(queue: &Queue<u32>) -> Result<u32, ReceiveError> {
        loop {
            select! {
                // The clone is a temporary value of the arm's.
                value = queue.clone().getting() => {
                    let value = value?;
                    if value % 2 == 1 {
                        continue;
                    }
                    if value == 0 {
                        break;
                    }
                    return Ok(value);
                }
            }
            .unwrap()
        }
        Ok(0)
    }
    run(|| {
        let queue = Queue::new();
        for value in [1, 3, 4, 5, 0] {
            queue.put(value).unwrap();
        }
        assert_eq!((first_even(&queue), first_even(&queue)), (Ok(4), Ok(0)));
        queue.close();
        assert_eq!(first_even(&queue), Err(ReceiveError::Closed));
    });
}

#[test]
fn those_that_are_always_ready_take_turns_unless_it_is_biased() {
    run(|| {
        let (one, two, three) = (Event::new(), Event::new(), Event::new());
        one.set();
        two.set();
        three.set();
        let (mut fair, mut biased) = ([0; 3], [0; 3]);
        for _ in 0..600 {
            let place = select! {
                _ = one.waiting() => 0,
                _ = two.waiting() => 1,
                _ = three.waiting() => 2,
            };
            fair[place.unwrap()] += 1;
            // One that takes turns with the other, which would meet a plain counter at the same place always.
            let place = select! {
                biased;
                _ = one.waiting(), if biased[0] < 500 => 0,
                _ = two.waiting() => 1,
                _ = three.waiting() => 2,
            };
            biased[place.unwrap()] += 1;
        }
        assert!(fair.iter().all(|&count| count > 120), "{fair:?}");
        assert_eq!(biased, [500, 100, 0]);
    });
}

#[test]
fn a_value_that_was_not_sent_stays_with_a_branch_that_is_named_by_reference() {
    run(|| {
        let full = Queue::bounded(1);
        full.put("old").unwrap();
        let mut put = full.putting("new");
        for _ in 0..3 {
            select! {
                _ = &mut put => unreachable!(),
                _ = after(Duration::from_millis(1)) => {}
            }
            .unwrap();
        }
        assert_eq!(full.get(), Ok("old"));
        assert!(select! { sent = &mut put => sent.is_ok(), _ = after(LONG) => false }.unwrap());
        assert_eq!((full.get(), put.into_inner()), (Ok("new"), None));
    });
}

#[test]
fn whoever_is_told_to_leave_has_the_error_and_nothing_was_taken() {
    run(|| {
        let (queue, never) = (Queue::<u32>::new(), channel::<()>());
        let late = timeout(MOMENT, || {
            let told = select! {
                _ = queue.getting() => unreachable!(),
                _ = never.receiving() => unreachable!(),
            };
            assert_eq!(told.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        });
        assert!(late.is_err());
        let theirs = queue.clone();
        let waits = spawn(move || select! { value = theirs.getting() => value });
        yield_now();
        waits.cancel();
        assert!(is_cancelled(&waits.join().unwrap().unwrap_err()));
        queue.put(1).unwrap();
        assert_eq!((never.balance(), queue.try_get()), (0, Ok(1)));
    });
}

#[test]
fn values_that_threads_send_at_once_come_each_once() {
    const EACH: usize = 400;
    run(|| {
        let queues: [Queue<usize>; 3] = [Queue::bounded(0), Queue::bounded(1), Queue::new()];
        let threads: Vec<_> = queues
            .iter()
            .enumerate()
            .map(|(n, queue)| {
                let queue = queue.clone();
                std::thread::spawn(move || {
                    (0..EACH).for_each(|m| queue.put(n * EACH + m).unwrap());
                    queue.close();
                })
            })
            .collect();
        let (mut open, mut got) = ([true; 3], Vec::new());
        while open.contains(&true) {
            let (n, came) = select! {
                came = queues[0].getting(), if open[0] => (0, came),
                came = queues[1].getting(), if open[1] => (1, came),
                came = queues[2].getting(), if open[2] => (2, came),
            }
            .unwrap();
            match came {
                Ok(value) => got.push(value),
                Err(error) => {
                    assert_eq!(error, ReceiveError::Closed);
                    open[n] = false;
                }
            }
            if got.len() % 100 == 0 {
                sleep(Duration::from_millis(1));
            }
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        got.sort_unstable();
        assert_eq!(got, (0..3 * EACH).collect::<Vec<_>>());
    });
}
