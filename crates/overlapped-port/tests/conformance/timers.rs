//! Timers and the time-out of a poll.

use std::io::Write;
use std::time::{Duration, Instant};

use overlapped_port::sys::raw_socket;
use overlapped_port::{Completion, Config, Outcome, Port};

use crate::driver::{Driver, OWN};
use crate::loopback::pair;
use crate::patience::patience;

crate::on_every_backend!(
    a_timer_comes_once_and_never_early,
    timers_come_in_the_order_of_their_deadlines,
    timers_of_one_deadline_come_in_the_order_they_were_set,
    a_deadline_that_has_passed_comes_at_once,
    a_cleared_timer_does_not_come,
    thousands_of_timers_all_come_in_order,
    a_poll_without_end_ends_with_a_timer,
    a_poll_ends_after_its_timeout,
    a_poll_with_no_timeout_does_not_sleep,
    a_timer_does_not_wait_for_a_longer_timeout,
    timers_come_beside_operations,
);

/// Polls until there are `count` completions.
fn collect(port: &mut Port, count: usize) -> Vec<Completion> {
    let deadline = Instant::now() + patience();
    let mut completions = Vec::new();
    while completions.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} timers in time", completions.len());
        port.poll(Some(Duration::from_millis(100)), &mut completions).unwrap();
    }
    assert!(completions.iter().all(|timer| !timer.more && matches!(timer.result, Ok(Outcome::Count(0)))));
    completions
}

fn tokens(completions: &[Completion]) -> Vec<u64> {
    completions.iter().map(|completion| completion.token).collect()
}

fn after(milliseconds: u64) -> Instant {
    Instant::now() + Duration::from_millis(milliseconds)
}

fn a_timer_comes_once_and_never_early(config: Config) {
    let mut port = config.start().unwrap();
    for microseconds in [1, 50, 300, 900, 1_100, 3_700, 20_000] {
        let deadline = Instant::now() + Duration::from_micros(microseconds);
        port.set_timer(deadline, microseconds);
        assert_eq!(port.timers(), 1);
        assert_eq!(tokens(&collect(&mut port, 1)), [microseconds]);
        assert!(Instant::now() >= deadline, "{:?} early", deadline - Instant::now());
        assert_eq!(port.timers(), 0);
    }
    let mut late = Vec::new();
    port.poll(Some(Duration::from_millis(5)), &mut late).unwrap();
    assert!(late.is_empty(), "{late:?}");
}

fn timers_come_in_the_order_of_their_deadlines(config: Config) {
    let mut port = config.start().unwrap();
    for milliseconds in [30, 10, 40, 20] {
        port.set_timer(after(milliseconds), milliseconds);
    }
    assert_eq!(tokens(&collect(&mut port, 4)), [10, 20, 30, 40]);
}

fn timers_of_one_deadline_come_in_the_order_they_were_set(config: Config) {
    let mut port = config.start().unwrap();
    let deadline = after(10);
    for token in 0..100 {
        port.set_timer(deadline, token);
    }
    assert_eq!(tokens(&collect(&mut port, 100)), (0..100).collect::<Vec<_>>());
}

fn a_deadline_that_has_passed_comes_at_once(config: Config) {
    let mut port = config.start().unwrap();
    port.set_timer(Instant::now(), 1);
    let mut completions = Vec::new();
    assert_eq!(port.poll(Some(Duration::ZERO), &mut completions).unwrap(), 1);
    assert_eq!(tokens(&completions), [1]);
}

fn a_cleared_timer_does_not_come(config: Config) {
    let mut port = config.start().unwrap();
    let first = port.set_timer(after(5), 1);
    let second = port.set_timer(after(10), 2);
    assert!(port.clear_timer(first));
    assert!(!port.clear_timer(first), "it is cleared already");
    assert_eq!(tokens(&collect(&mut port, 1)), [2]);
    assert!(!port.clear_timer(second), "it has come");
}

fn thousands_of_timers_all_come_in_order(config: Config) {
    let mut port = config.start().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let start = Instant::now();
    let mut timers: Vec<_> = (0..5_000)
        .map(|token| {
            let deadline = start + Duration::from_micros(random.u64(0..100_000));
            (deadline, token, port.set_timer(deadline, token))
        })
        .collect();
    let cleared: Vec<_> = timers.extract_if(.., |_| random.u8(0..4) == 0).collect();
    for (_, token, id) in cleared {
        assert!(port.clear_timer(id), "timer {token} has not come: the port was not polled");
    }
    timers.sort();
    let wanted: Vec<u64> = timers.iter().map(|(_, token, _)| *token).collect();
    assert_eq!(tokens(&collect(&mut port, wanted.len())), wanted);
}

fn a_poll_without_end_ends_with_a_timer(config: Config) {
    let mut port = config.start().unwrap();
    let deadline = after(20);
    port.set_timer(deadline, 9);
    let mut completions = Vec::new();
    while completions.is_empty() {
        port.poll(None, &mut completions).unwrap();
    }
    assert!(Instant::now() >= deadline);
    assert_eq!(tokens(&completions), [9]);
}

fn a_poll_ends_after_its_timeout(config: Config) {
    let mut port = config.start().unwrap();
    let mut completions = Vec::new();
    for milliseconds in [1, 5, 20] {
        let start = Instant::now();
        let timeout = Duration::from_millis(milliseconds);
        assert_eq!(port.poll(Some(timeout), &mut completions).unwrap(), 0);
        assert!(start.elapsed() < timeout + patience());
    }
    // One that returned at once, each time, would make of every sleeping program a busy one.
    let start = Instant::now();
    let polls = (0..10).map(|_| port.poll(Some(Duration::from_millis(2)), &mut completions)).filter(Result::is_ok);
    assert_eq!(polls.count(), 10);
    assert!(start.elapsed() >= Duration::from_millis(15), "ten polls of 2 ms took {:?}", start.elapsed());
}

fn a_poll_with_no_timeout_does_not_sleep(config: Config) {
    let mut driver = Driver::new(config);
    let (_client, server) = pair();
    driver.begin_recv(raw_socket(&server), 8, 0);
    driver.port().set_timer(Instant::now() + patience(), u64::MAX);
    let start = Instant::now();
    assert_eq!(driver.turn(Duration::ZERO), 0);
    assert!(start.elapsed() < patience() / 2);
}

fn a_timer_does_not_wait_for_a_longer_timeout(config: Config) {
    let mut port = config.start().unwrap();
    port.set_timer(after(10), 3);
    let start = Instant::now();
    let mut completions = Vec::new();
    while completions.is_empty() {
        port.poll(Some(patience()), &mut completions).unwrap();
    }
    assert!(start.elapsed() < patience() / 2, "{:?}", start.elapsed());
}

fn timers_come_beside_operations(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    for round in 0..20_u8 {
        let recv = driver.begin_recv(raw_socket(&server), 8, 0);
        let token = OWN | u64::from(round);
        driver.port().set_timer(after(1), token);
        let mut come = Vec::new();
        driver.until("the timer", |driver| {
            come.extend(driver.own_tokens());
            !come.is_empty()
        });
        assert_eq!(come, [token]);
        assert!(!driver.has_ended(recv));
        client.write_all(&[round]).unwrap();
        assert_eq!(driver.received(recv).unwrap(), [round]);
    }
}
