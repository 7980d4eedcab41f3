//! What reaches a port from other threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use overlapped_port::sys::raw_socket;
use overlapped_port::{Completion, Config, Outcome, Port};

use crate::driver::{Driver, OWN};
use crate::loopback::pair;
use crate::patience::patience;

crate::on_every_backend!(
    a_wake_ends_a_poll,
    a_wake_before_the_poll_ends_it,
    no_wake_is_lost_in_ten_thousand,
    a_post_brings_its_token,
    posts_of_each_thread_come_in_order,
    no_post_is_lost_while_operations_run,
    a_wake_while_awake_stays_out_of_the_kernel,
    many_wakes_count_as_one,
    a_waker_outlives_its_port,
    a_waker_works_from_its_own_thread,
    two_ports_wake_each_other,
);

/// Polls until something ends the poll.
#[track_caller]
fn sleep(port: &mut Port, completions: &mut Vec<Completion>) {
    let start = Instant::now();
    port.poll(Some(patience()), completions).unwrap();
    assert!(start.elapsed() < patience(), "nothing ended the poll");
}

fn a_wake_ends_a_poll(config: Config) {
    let mut port = config.start().unwrap();
    let waker = port.waker();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
    let mut completions = Vec::new();
    assert_eq!(port.poll(None, &mut completions).unwrap(), 0, "a wake is no completion");
    thread.join().unwrap();
}

fn a_wake_before_the_poll_ends_it(config: Config) {
    let mut port = config.start().unwrap();
    let waker = port.waker();
    std::thread::spawn(move || waker.wake()).join().unwrap();
    let mut completions = Vec::new();
    sleep(&mut port, &mut completions);
    let start = Instant::now();
    port.poll(Some(Duration::from_millis(10)), &mut completions).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(5), "one wake ends one poll");
}

fn no_wake_is_lost_in_ten_thousand(config: Config) {
    const ROUNDS: usize = 10_000;
    let mut port = config.start().unwrap();
    let waker = port.waker();
    let (asked, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let thread = {
        let (asked, answered) = (Arc::clone(&asked), Arc::clone(&answered));
        std::thread::spawn(move || {
            for round in 1..=ROUNDS {
                while asked.load(Ordering::Acquire) < round {
                    std::thread::yield_now();
                }
                // Now and then the port has the time to fall asleep in the kernel.
                if round % 256 == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
                answered.store(round, Ordering::Release);
                waker.wake();
            }
        })
    };
    let mut completions = Vec::new();
    for round in 1..=ROUNDS {
        asked.store(round, Ordering::Release);
        while answered.load(Ordering::Acquire) < round {
            sleep(&mut port, &mut completions);
        }
    }
    thread.join().unwrap();
    assert!(completions.is_empty());
}

fn a_post_brings_its_token(config: Config) {
    let mut port = config.start().unwrap();
    let waker = port.waker();
    let thread = std::thread::spawn(move || waker.post(u64::MAX));
    let mut completions = Vec::new();
    while completions.is_empty() {
        sleep(&mut port, &mut completions);
    }
    thread.join().unwrap();
    let [Completion { token: u64::MAX, result: Ok(Outcome::Count(0)), more: false }] = &completions[..] else {
        panic!("{completions:?}");
    };
}

fn posts_of_each_thread_come_in_order(config: Config) {
    const THREADS: u64 = 4;
    const POSTS: u64 = 2_500;
    let mut port = config.start().unwrap();
    let start = Arc::new(Barrier::new(THREADS as usize));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (waker, start) = (port.waker(), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                for number in 0..POSTS {
                    waker.post(thread << 32 | number);
                    if number % 100 == 99 {
                        std::thread::sleep(Duration::from_micros(50));
                    }
                }
            })
        })
        .collect();
    let mut next = [0; THREADS as usize];
    let mut completions = Vec::new();
    while next.iter().sum::<u64>() < THREADS * POSTS {
        sleep(&mut port, &mut completions);
        for completion in completions.drain(..) {
            let (thread, number) = (completion.token >> 32, completion.token & 0xFFFF_FFFF);
            assert_eq!(number, next[thread as usize], "of thread {thread}");
            next[thread as usize] += 1;
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn no_post_is_lost_while_operations_run(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let waker = driver.port().waker();
    let thread = std::thread::spawn(move || {
        for token in 0..1_000 {
            waker.post(OWN | token);
            std::thread::yield_now();
        }
    });
    let mut posts = Vec::new();
    for round in 0..200_u8 {
        let recv = driver.begin_recv(raw_socket(&server), 8, 0);
        driver.send(raw_socket(&client), &[round]).unwrap();
        assert_eq!(driver.received(recv).unwrap(), [round]);
        posts.extend(driver.own_tokens());
    }
    driver.until("every post", |driver| {
        posts.extend(driver.own_tokens());
        posts.len() >= 1_000
    });
    assert_eq!(posts, (0..1_000).map(|token| OWN | token).collect::<Vec<_>>());
    thread.join().unwrap();
}

fn a_wake_while_awake_stays_out_of_the_kernel(config: Config) {
    let mut port = config.start().unwrap();
    let waker = port.waker();
    let before = port.report().counters.wakes;
    std::thread::spawn(move || (0..1_000).for_each(|token| waker.post(token))).join().unwrap();
    let mut completions = Vec::new();
    while completions.len() < 1_000 {
        sleep(&mut port, &mut completions);
    }
    assert_eq!(port.report().counters.wakes, before, "the port was awake: it looks before it sleeps");
}

fn many_wakes_count_as_one(config: Config) {
    let mut port = config.start().unwrap();
    let waker = port.waker();
    std::thread::spawn(move || (0..1_000).for_each(|_| waker.wake())).join().unwrap();
    let mut completions = Vec::new();
    sleep(&mut port, &mut completions);
    let start = Instant::now();
    port.poll(Some(Duration::from_millis(10)), &mut completions).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(5), "a second poll was ended too");
}

fn a_waker_outlives_its_port(config: Config) {
    let mut port = config.start().unwrap();
    let waker = port.waker();
    let second = waker.clone();
    port.shutdown(patience()).unwrap();
    waker.wake();
    waker.post(1);
    std::thread::spawn(move || {
        second.post(2);
        second.wake();
    })
    .join()
    .unwrap();
}

fn a_waker_works_from_its_own_thread(config: Config) {
    let mut port = config.start().unwrap();
    let waker = port.waker();
    waker.wake();
    let mut completions = Vec::new();
    sleep(&mut port, &mut completions);
    waker.post(5);
    while completions.is_empty() {
        sleep(&mut port, &mut completions);
    }
    assert_eq!(completions[0].token, 5);
}

fn two_ports_wake_each_other(config: Config) {
    const ROUNDS: u64 = 2_000;
    let mut here = config.clone().start().unwrap();
    let to_here = here.waker();
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut there = config.start().unwrap();
        tell.send(there.waker()).unwrap();
        answer(&mut there, |token| to_here.post(token));
    });
    let to_there = told.recv().unwrap();
    to_there.post(0);
    answer(&mut here, |token| to_there.post(token));
    thread.join().unwrap();

    /// Answers each token with the next, up to the last.
    fn answer(port: &mut Port, post: impl Fn(u64)) {
        let mut completions = Vec::new();
        loop {
            sleep(port, &mut completions);
            for token in completions.drain(..).map(|completion| completion.token) {
                if token < ROUNDS {
                    post(token + 1);
                }
                if token + 1 >= ROUNDS {
                    return;
                }
            }
        }
    }
}
