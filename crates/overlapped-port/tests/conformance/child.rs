//! This test program, run again in another environment.

use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::patience::crowded;

/// How long such a run may take; on a busy machine it is more.
const CHILD_LIMIT: Duration = Duration::from_secs(240);

/// This program with other arguments.
pub(crate) fn this_test(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args(arguments).env_remove("OVERLAPPED_BACKEND").stdin(Stdio::null());
    command
}

/// Runs the tests of `command` and returns how many passed. Where one fails or the run does not end, its output is
/// shown and this test fails too.
#[track_caller]
pub(crate) fn passes(mut command: Command) -> usize {
    // A file: a pipe would have to be read while the child runs.
    let mut output = tempfile::tempfile().expect("a file for the child's output");
    let handle = || Stdio::from(output.try_clone().expect("a second handle"));
    let mut child = command.stdout(handle()).stderr(handle()).spawn().expect("the child starts");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child's state") {
            break Some(status);
        }
        if begun.elapsed() > CHILD_LIMIT && begun.elapsed() > crowded(CHILD_LIMIT) {
            child.kill().expect("the child can be ended");
            child.wait().expect("the child's end");
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut text = String::new();
    output.rewind().unwrap();
    output.read_to_string(&mut text).unwrap();
    match status {
        Some(status) if status.success() => {}
        Some(status) => panic!("{command:?} ended with {status}:\n{text}"),
        None => panic!("{command:?} did not end within {CHILD_LIMIT:?}:\n{text}"),
    }
    let passed = text.lines().find_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse().ok());
    passed.unwrap_or_else(|| panic!("no result in the output:\n{text}"))
}
