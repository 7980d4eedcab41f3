//! It explains itself at any time: the warning about a tasklet that holds the thread, and what other threads see.

mod support;

use std::process::{Command, Output};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use overlapped::{Builder, explain, handle, sleep, spawn, watch, yield_now};
use support::{LONG, run};

/// Computes for so long, without a wait.
fn spin(duration: Duration) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Runs the ignored test `name` in a process of its own, to see what it prints.
fn child(name: &str, watch: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]).env("OVERLAPPED_WATCH", watch);
    command.output().unwrap()
}

#[test]
fn a_tasklet_that_holds_the_thread_is_warned_of() {
    for (name, limit) in [("child_holds_by_environment", "0.05"), ("child_holds_by_call", "")] {
        let output = child(name, limit);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{errors}");
        let warnings: Vec<&str> = errors.lines().filter(|line| line.starts_with("overlapped: ")).collect();
        // 0.4 s are not ten times the limit: it is said once.
        let [warning] = warnings[..] else { panic!("one hold, one warning: {errors}") };
        assert!(warning.contains("tasklet \"greedy\" has held thread"), "{warning}");
        assert!(warning.contains("none of the other 3 tasklets runs (1 could)"), "{warning}");
        assert!(warning.contains("with offload"), "it says what to do: {warning}");
        let held = warning.split(" for ").nth(1).unwrap().split(' ').next().unwrap();
        assert!((0.05..0.4).contains(&held.parse::<f64>().unwrap()), "{warning}");
    }
}

fn hold() {
    let patient = spawn(|| sleep(Duration::from_millis(1)));
    let greedy = Builder::new().name("greedy").spawn(|| {
        // The sleep of the other one is over by then, but the port is not polled.
        yield_now();
        spin(Duration::from_millis(400));
    });
    let after = spawn(yield_now);
    greedy.join().unwrap();
    patient.join().unwrap();
    after.join().unwrap();
    sleep(Duration::from_millis(120));
}

#[test]
#[ignore = "run by a_tasklet_that_holds_the_thread_is_warned_of, as a process of its own"]
fn child_holds_by_environment() {
    overlapped::run(hold);
}

#[test]
#[ignore = "run by a_tasklet_that_holds_the_thread_is_warned_of, as a process of its own"]
fn child_holds_by_call() {
    overlapped::run(|| {
        watch(Some(Duration::from_millis(50))).unwrap();
        hold();
        watch(None).unwrap();
        spin(Duration::from_millis(120));
    });
}

#[test]
fn nobody_is_warned_of_who_waits_or_yields() {
    let output = child("child_waits_and_yields", "0.1");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !errors.contains("overlapped:"), "{errors}");
}

#[test]
#[ignore = "run by nobody_is_warned_of_who_waits_or_yields, as a process of its own"]
fn child_waits_and_yields() {
    overlapped::run(|| {
        let busy = spawn(|| {
            for _ in 0..60 {
                spin(Duration::from_millis(5));
                yield_now();
            }
        });
        busy.join().unwrap();
        sleep(Duration::from_millis(300));
    });
}

#[test]
fn a_limit_that_is_no_number_is_told() {
    let output = child("child_waits_and_yields", "soon");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.contains("OVERLAPPED_WATCH=soon"), "{errors}");
}

#[test]
fn watching_is_for_those_who_run() {
    assert!(watch(Some(LONG)).unwrap_err().to_string().contains("overlapped::run"));
}

#[test]
fn other_threads_see_the_tasklets_while_one_holds_the_thread() {
    run(|| {
        let (tell, told) = mpsc::channel::<()>();
        let (ask, asked) = mpsc::channel();
        let here = handle();
        let onlooker = std::thread::spawn(move || {
            asked.recv().unwrap();
            let seen = (here.tasklets(), explain());
            tell.send(()).unwrap();
            seen
        });
        let sleeper = Builder::new().name("sleeper").spawn(|| sleep(LONG));
        let holder = Builder::new().name("holder").spawn(move || {
            spin(Duration::from_millis(20));
            ask.send(()).unwrap();
            // The thread is blocked for good unless the other one sees what it wants to see meanwhile.
            told.recv().unwrap();
        });
        holder.join().unwrap();
        let (tasklets, text) = onlooker.join().unwrap();
        let seen: Vec<_> = tasklets.iter().map(|status| (status.name.as_deref(), status.waits_for)).collect();
        assert_eq!(seen, [(None, "join"), (Some("sleeper"), "sleep"), (Some("holder"), "running")]);
        assert!(tasklets[2].since >= Duration::from_millis(20), "{tasklets:?}");
        assert!(text.contains("tasklet \"holder\": running for 0."), "{text}");
        assert!(text.contains("operations: 0 begun"), "{text}");
        sleeper.cancel();
    });
}
