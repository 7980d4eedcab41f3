//! Queues: in order, bounded, closed; no value is lost, whoever leaves.

mod support;

use std::time::Duration;

use overlapped::{
    Event, Queue, ReceiveError, SendError, channel, first_of, sleep, spawn, tasklets, timeout, uncancellable, yield_now,
};
use support::run;

#[test]
fn a_bounded_queue_holds_its_producers_to_the_pace_of_its_consumers() {
    run(|| {
        for capacity in 0..4 {
            let queue = Queue::bounded(capacity);
            let puts = queue.clone();
            let producer = spawn(move || {
                (0..20).for_each(|n| puts.put(n).unwrap());
                puts.close();
            });
            yield_now();
            assert_eq!(queue.len(), capacity);
            assert_eq!(queue.try_put(99), Err(SendError::Elapsed(99)));
            assert_eq!(queue.put_timeout(99, Duration::from_millis(1)), Err(SendError::Elapsed(99)));
            assert_eq!(queue.iter().collect::<Vec<_>>(), (0..20).collect::<Vec<_>>(), "of {capacity}");
            producer.join().unwrap();
        }
    });
}

#[test]
fn getters_are_served_in_the_order_asked_and_an_empty_queue_says_so() {
    run(|| {
        let queue = Queue::new();
        assert_eq!(queue.try_get(), Err::<u32, _>(ReceiveError::Elapsed));
        assert_eq!(queue.get_timeout(Duration::from_millis(1)), Err(ReceiveError::Elapsed));
        let getters = [(); 3].map(|()| {
            let queue = queue.clone();
            spawn(move || queue.get().unwrap())
        });
        yield_now();
        (0..4).for_each(|n| queue.try_put(n).unwrap());
        assert_eq!(queue.try_get(), Ok(3), "the others are with those that waited");
        assert_eq!(getters.map(|getter| getter.join().unwrap()), [0, 1, 2]);
    });
}

#[test]
fn a_queue_that_is_closed_gives_what_is_left_and_sends_back_what_waited_for_room() {
    run(|| {
        let queue = Queue::bounded(1);
        queue.put("kept").unwrap();
        let puts = queue.clone();
        let putter = spawn(move || puts.put("late"));
        yield_now();
        queue.close();
        assert_eq!(queue.put("never"), Err(SendError::Closed("never")));
        // The putter has not run since: its value is its own all the same.
        assert_eq!(
            (queue.get(), queue.get(), queue.try_get()),
            (Ok("kept"), Err(ReceiveError::Closed), Err(ReceiveError::Closed))
        );
        assert_eq!(putter.join().unwrap(), Err(SendError::Closed("late")));
        let empty = Queue::<()>::new();
        let gets = empty.clone();
        let getter = spawn(move || (gets.get(), first_of(&mut [&mut gets.getting()]).unwrap()));
        yield_now();
        empty.close();
        assert_eq!(getter.join().unwrap(), (Err(ReceiveError::Closed), 0));
    });
}

#[test]
fn whoever_is_told_to_leave_loses_no_value() {
    run(|| {
        let queue = Queue::bounded(1);
        let gets = queue.clone();
        let getter = spawn(move || gets.get());
        yield_now();
        queue.put(1).unwrap();
        // It was served and has not run since.
        getter.cancel();
        assert_eq!(getter.join().unwrap(), Ok(1));
        queue.put(2).unwrap();
        let puts = queue.clone();
        let putter = spawn(move || puts.put(3));
        yield_now();
        putter.cancel();
        assert_eq!(putter.join().unwrap(), Err(SendError::Interrupted(3)));
        assert_eq!(queue.try_get(), Ok(2));
        let gets = queue.clone();
        let getter = spawn(move || gets.get());
        yield_now();
        getter.cancel();
        assert_eq!(getter.join().unwrap(), Err(ReceiveError::Interrupted));
        queue.put(4).unwrap();
        assert_eq!(queue.get(), Ok(4));
    });
}

#[test]
fn a_queue_is_one_of_several_to_wait_for() {
    run(|| {
        let (queue, stop) = (Queue::bounded(0), Event::new());
        let puts = queue.clone();
        let (mut value, mut stopped) = (queue.getting(), stop.waiting());
        let putter = spawn(move || puts.put(5));
        yield_now();
        assert_eq!(first_of(&mut [&mut stopped, &mut value]).unwrap(), 1);
        assert_eq!(value.take(), Some(Ok(5)));
        putter.join().unwrap().unwrap();
        stop.set();
        assert_eq!(first_of(&mut [&mut value, &mut stopped]).unwrap(), 1);
        // Its place in the line is given back: nobody is there to take this.
        assert_eq!(queue.try_put(6), Err(SendError::Elapsed(6)));
    });
}

#[test]
fn threads_and_tasklets_that_are_told_to_leave_at_random_neither_lose_a_value_nor_double_one() {
    const EACH: u32 = 300;
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let (queue, got) = (Queue::bounded(random.usize(0..4)), Queue::new());
    let producers: Vec<_> = (0..3)
        .map(|n| {
            let (queue, mut random) = (queue.clone(), random.fork());
            let mut put_all = move || {
                for mut value in n * EACH..(n + 1) * EACH {
                    while let Err(error) = queue.put_timeout(value, Duration::from_micros(random.u64(1..200))) {
                        assert!(matches!(error, SendError::Elapsed(_)), "seed {seed}");
                        value = error.into_inner();
                    }
                }
            };
            std::thread::spawn(move || if n == 0 { put_all() } else { run(put_all) })
        })
        .collect();
    run(|| {
        let others = channel::<()>();
        let consumers: Vec<_> = (0..6)
            .map(|n| {
                let (queue, got, others, mut random) = (queue.clone(), got.clone(), others.clone(), random.fork());
                spawn(move || {
                    loop {
                        let limit = Duration::from_micros(random.u64(1..200));
                        let taken = if n % 2 == 0 {
                            let mut value = queue.getting();
                            let _ = timeout(limit, || first_of(&mut [&mut others.receiving(), &mut value]));
                            value.take().unwrap_or(Err(ReceiveError::Elapsed))
                        } else {
                            let mut taken = Err(ReceiveError::Elapsed);
                            let _ = timeout(limit, || taken = queue.get());
                            taken
                        };
                        match taken {
                            Ok(value) => uncancellable(|| got.put(value).unwrap()),
                            Err(ReceiveError::Closed) => return,
                            Err(_) => {}
                        }
                    }
                })
            })
            .collect();
        while producers.iter().any(|producer| !producer.is_finished()) {
            sleep(Duration::from_millis(1));
        }
        queue.close();
        consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
        assert_eq!(tasklets().len(), 1, "seed {seed}");
    });
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    got.close();
    let mut got: Vec<u32> = got.iter().collect();
    got.sort_unstable();
    assert_eq!(got, (0..3 * EACH).collect::<Vec<_>>(), "seed {seed}");
}
