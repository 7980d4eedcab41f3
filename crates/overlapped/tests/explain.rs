//! It explains itself at any time: the warning about a tasklet that holds the thread, and what other threads see.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use overlapped::{Builder, explain, handle, sleep, spawn, watch, yield_now};
use support::{LONG, Watch, run};

/// Computes for so long, without a wait.
fn spin(duration: Duration) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// The ignored test `name`, in a process of its own, to see what it prints.
fn child(name: &str, watch: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]).env("OVERLAPPED_WATCH", watch);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn a_tasklet_that_holds_the_thread_is_warned_of() {
    let _watch = Watch::new();
    for (name, limit) in [("child_holds_by_environment", "0.05"), ("child_holds_by_call", "")] {
        let mut process = child(name, limit).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        // On a busy machine others are warned of too: whatever stops a tasklet, it holds the thread meanwhile.
        let is_of_it = |line: &String| line.starts_with("overlapped: ") && line.contains("\"greedy\" has held thread");
        let warning = lines.find(is_of_it).expect("the warning");
        // That is what it waits for.
        drop(process.stdin.take());
        lines.for_each(drop);
        assert!(process.wait().unwrap().success());
        assert!(warning.contains("none of the other 3 tasklets runs (1 could)"), "{warning}");
        assert!(warning.contains("with offload"), "it says what to do: {warning}");
        let held = warning.split(" for ").nth(1).unwrap().split(' ').next().unwrap();
        assert!(held.parse::<f64>().unwrap() >= 0.05, "{warning}");
    }
}

#[test]
fn what_is_set_in_code_counts_before_the_environment() {
    let _watch = Watch::new();
    assert!(child("child_is_not_watched", "0.05").status().unwrap().success());
}

#[test]
#[ignore = "run by what_is_set_in_code_counts_before_the_environment, as a process of its own"]
fn child_is_not_watched() {
    let is_watched = || overlapped::engine::current().unwrap().is_watched();
    assert!(overlapped::run(is_watched), "the environment says so");
    assert!(!overlapped::Config::new().watch(None).run(is_watched));
}

fn hold() {
    let patient = spawn(|| sleep(LONG));
    let greedy = Builder::new().name("greedy").spawn(|| {
        yield_now();
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    });
    let greedy = greedy.unwrap();
    let after = spawn(yield_now);
    greedy.join().unwrap();
    after.join().unwrap();
    patient.cancel();
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
    });
}

#[test]
fn a_limit_that_is_no_number_is_told() {
    let output = child("child_runs", "soon").output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.contains("OVERLAPPED_WATCH=soon"), "{errors}");
}

#[test]
#[ignore = "run by a_limit_that_is_no_number_is_told, as a process of its own"]
fn child_runs() {
    overlapped::run(|| ());
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
        let sleeper = Builder::new().name("sleeper").spawn(|| sleep(LONG)).unwrap();
        let holder = Builder::new().name("holder").spawn(move || {
            spin(Duration::from_millis(20));
            ask.send(()).unwrap();
            // The thread is blocked for good unless the other one sees what it wants to see meanwhile.
            told.recv().unwrap();
        });
        let holder = holder.unwrap();
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
