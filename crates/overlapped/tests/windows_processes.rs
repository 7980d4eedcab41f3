//! Child processes on Windows: their pipes and their ends come through the port.

#![cfg(windows)]

mod support;

use std::io::Write;
use std::time::Duration;

use overlapped::process::{Command, Stdio};
use overlapped::{run, spawn, yield_now};
use support::children::{shell, who_leaves_a_wait_can_still_end_the_child};

/// A child that waits for its input.
fn waits() -> Command {
    let mut command = Command::new("cmd");
    command.args(["/d", "/q", "/k"]).stdout(Stdio::null());
    command
}

#[test]
fn a_childs_output_and_end_are_told() {
    run(|| {
        let output = shell("echo out& echo err>&2& exit 7").output().unwrap();
        assert_eq!(output.status.code(), Some(7));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "out");
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim(), "err");
    });
}

#[test]
fn only_the_one_that_waits_for_a_child_waits() {
    run(|| {
        let mut child = shell("set /p line=& exit 3").stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let waiter = spawn(move || child.wait().unwrap());
        yield_now();
        // The child ends when this tasklet, which runs meanwhile, says a line.
        assert!(!waiter.is_finished());
        input.write_all(b"line\r\n").unwrap();
        assert_eq!(waiter.join().unwrap().code(), Some(3));
    });
}

#[test]
fn a_wait_has_a_limit_and_a_child_can_be_killed() {
    run(|| {
        let mut child = waits().stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(child.wait_timeout(Duration::from_millis(20)).unwrap(), None);
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(child.kill().is_ok(), "one that has ended stays as it is");
    });
}

#[test]
fn whoever_is_told_to_leave_while_a_child_runs_hears_so_from_the_wait_and_can_still_end_the_child() {
    who_leaves_a_wait_can_still_end_the_child(|| waits().stdin(Stdio::piped()).spawn().unwrap());
}
