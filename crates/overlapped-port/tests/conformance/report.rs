//! What a port says of itself.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use overlapped_port::sys::raw_socket;
use overlapped_port::{Config, Kind, Port};

use crate::child;
use crate::driver::Driver;
use crate::loopback::{listener, pair};
use crate::system;

crate::on_every_backend!(
    the_report_names_the_backend_and_its_setup,
    the_report_lists_what_is_in_flight,
    the_counters_add_up,
    the_report_can_be_read,
    a_batch_costs_fewer_kernel_entries_than_operations,
);

/// The reason that the child which denies io_uring must find in its report.
pub(crate) const DENIED: &str = "OVERLAPPED_TEST_DENIED";

/// What can be named.
fn named() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().chain([Kind::Sim])
}

fn the_report_names_the_backend_and_its_setup(config: Config) {
    let report = config.start().unwrap().report();
    assert!(named().any(|kind| kind.name() == report.backend), "{}", report.backend);
    assert!(!report.setup.is_empty(), "nothing is said of how it was set up");
    if std::env::var_os(DENIED).is_some() {
        assert_eq!(report.backend, "poll");
        let [reason] = &report.refused[..] else { panic!("{:?} is not one reason", report.refused) };
        assert!(reason.contains("EPERM"), "the error is not named: {reason}");
        assert!(reason.contains("seccomp"), "its likely cause is not named: {reason}");
    } else if report.backend == Kind::ALL[0].name() {
        assert!(report.refused.is_empty(), "{:?}", report.refused);
    }
}

fn the_report_lists_what_is_in_flight(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let (_client, server) = pair();
    let accept = driver.begin_accept(raw_socket(&listener));
    driver.assert_waits(accept);
    let recv = driver.begin_recv(raw_socket(&server), 8, 0);
    driver.assert_waits(recv);
    driver.port().set_timer(std::time::Instant::now() + Duration::from_secs(60), 0);
    let report = driver.port().report();
    let in_flight: Vec<_> = report.in_flight.iter().map(|pending| (pending.operation, pending.handle)).collect();
    let wanted = [("accept", raw_socket(&listener)), ("recv", raw_socket(&server))];
    assert_eq!(in_flight, wanted.map(|(name, handle)| (name, Some(handle as usize))), "the oldest first");
    assert!(report.in_flight[0].age >= report.in_flight[1].age);
    assert!(report.in_flight[1].age < Duration::from_secs(60));
    assert_eq!(report.timers, 1);
    driver.cancel_waiting(accept);
    driver.cancel_waiting(recv);
    assert!(driver.port().report().in_flight.is_empty());
}

fn the_counters_add_up(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    for round in 0..20_u8 {
        let recv = driver.begin_recv(raw_socket(&server), 8, 0);
        driver.assert_waits(recv);
        driver.cancel_waiting(recv);
        driver.send(raw_socket(&client), &[round]).unwrap();
        driver.recv(raw_socket(&server), 8).unwrap();
        let call = driver.begin_call(|| Ok(0));
        driver.counted(call).unwrap();
        driver.recv(system::NO_HANDLES[0], 8).unwrap_err();
    }
    let report = driver.port().report();
    let counters = report.counters;
    assert_eq!(counters.submitted, 20 * 5);
    assert_eq!(counters.completed, counters.submitted);
    assert_eq!(counters.cancels, 20);
    assert!(counters.offloaded >= 20, "{counters:?}");
    assert!(counters.immediate + counters.offloaded <= counters.submitted, "{counters:?}");
    assert!(counters.polls > 0 && counters.kernel_entries > 0, "{counters:?}");
}

fn the_report_can_be_read(config: Config) {
    let mut driver = Driver::new(config);
    let (_client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 8, 0);
    driver.assert_waits(recv);
    let report = driver.port().report();
    let text = report.to_string();
    for part in [format!("backend: {}", report.backend), "1 begun".into(), "recv on".into()] {
        assert!(text.contains(&part), "{part:?} is not in:\n{text}");
    }
    assert!(report.setup.iter().all(|fact| text.contains(fact.as_str())), "{text}");
}

fn a_batch_costs_fewer_kernel_entries_than_operations(config: Config) {
    let mut driver = Driver::new(config);
    if driver.port().report().backend == Kind::Sim.name() {
        // It hands out what is there by and by.
        return;
    }
    let pairs: Vec<_> = (0..100).map(|_| pair()).collect();
    let receives: Vec<_> = pairs.iter().map(|(_, server)| driver.begin_recv(raw_socket(server), 8, 0)).collect();
    driver.turn(Duration::ZERO);
    let before = driver.port().report().counters;
    pairs.iter().for_each(|(client, _)| (&*client).write_all(b"x").unwrap());
    receives.into_iter().for_each(|receive| drop(driver.received(receive).unwrap()));
    let after = driver.port().report().counters;
    let entries = after.kernel_entries - before.kernel_entries;
    assert!(entries <= 20, "{entries} entries into the kernel's interface for 100 completions that were there");
}

/// Starts a port as the environment says, in this process or in the child of the next test.
#[test]
fn the_environment_is_obeyed() {
    let started = Port::new();
    match std::env::var("OVERLAPPED_BACKEND").as_deref() {
        Ok("") | Err(_) => drop(started.expect("it always starts")),
        Ok(name) if named().any(|kind| kind.name() == name) => {
            let report = started.expect("the named backend starts").report();
            assert_eq!(report.backend, name);
            assert!(report.refused.is_empty(), "nothing else was asked for");
        }
        Ok(name) => {
            let error = started.expect_err("there is no such backend");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(text.contains(name), "it does not name what was asked for: {text}");
            assert!(named().all(|kind| text.contains(kind.name())), "nor what there is: {text}");
        }
    }
}

#[test]
fn the_environment_names_a_backend() {
    let skipped = |kind: &Kind| crate::is_skipped(*kind);
    let names = Kind::ALL.iter().filter(|kind| !skipped(kind)).map(|kind| kind.name());
    for name in names.chain(["", "nonsense"]) {
        let mut command = child::this_test(&["--exact", "report::the_environment_is_obeyed"]);
        command.env("OVERLAPPED_BACKEND", name);
        assert_eq!(child::passes(command), 1, "with OVERLAPPED_BACKEND={name}");
    }
}
