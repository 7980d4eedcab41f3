//! Children that end with all that they have started, or with who has started them.
//!
//! These tests start their own program again, as the parent that ends. So they run on every system, Windows among them.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::time::Duration;

use overlapped::process::{Command, Stdio};
#[cfg(any(target_os = "linux", windows))]
use overlapped::{Lane, offload_in};
use overlapped::{run, timeout};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(120);

/// Says what this program is to be, where it is not the tests.
const ROLE: &str = "OVERLAPPED_TEST_ROLE";

/// This program, to do what the test `name` does in that role.
fn again(name: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(ROLE, role).stdin(Stdio::null());
    command
}

fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Holds the output open until it is ended by force: a process that nobody waits for.
fn linger() -> ! {
    say_so();
    std::thread::sleep(4 * LONG);
    unreachable!("somebody should have ended it");
}

fn say_so() {
    println!("\nlingers");
    std::io::stdout().flush().unwrap();
}

/// Lines until `count` times one is as wanted.
fn await_lines(output: &mut impl BufRead, wanted: &str, count: usize) {
    let found = output.lines().map(Result::unwrap).filter(|line| line.trim() == wanted).take(count).count();
    assert_eq!(found, count, "of the lines {wanted:?}");
}

#[test]
fn a_tree_ends_with_all_that_its_root_has_started() {
    const ME: &str = "a_tree_ends_with_all_that_its_root_has_started";
    match role().as_deref() {
        Some("root") => {
            let mut leaf = std::process::Command::new(std::env::current_exe().unwrap());
            let mut leaf = leaf.args(["--exact", ME, "--nocapture"]).env(ROLE, "leaf").spawn().unwrap();
            say_so();
            leaf.wait().unwrap();
            unreachable!("both should have been ended together");
        }
        Some(_) => linger(),
        None => run(|| {
            for drops in [false, true] {
                let mut command = again(ME, "root");
                let mut child = command.stdout(Stdio::piped()).own_tree(true).kill_on_drop(drops).spawn().unwrap();
                let mut output = BufReader::new(child.stdout.take().unwrap());
                await_lines(&mut output, "lingers", 2);
                if drops {
                    drop(child);
                } else {
                    child.kill_tree().unwrap();
                    assert!(!child.wait().unwrap().success());
                    child.kill_tree().expect("once it was said how it ended, there is nothing to do");
                }
                // The leaf had the pipe too.
                timeout(LONG, || output.read_to_end(&mut Vec::new()).unwrap()).expect("the leaf has ended as well");
            }
        }),
    }
}

#[test]
fn a_child_without_a_tree_can_only_be_ended_itself() {
    if role().is_some() {
        linger();
    }
    run(|| {
        let mut child =
            again("a_child_without_a_tree_can_only_be_ended_itself", "leaf").stdout(Stdio::null()).spawn().unwrap();
        let error = child.kill_tree().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("not started with a tree"), "{error}");
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

/// The parent in between is ended by force, and so cannot end anything itself.
#[cfg(any(target_os = "linux", windows))]
#[test]
fn a_child_that_ends_with_its_parent_does_not_outlive_it() {
    const ME: &str = "a_child_that_ends_with_its_parent_does_not_outlive_it";
    match role().as_deref() {
        Some("parent") => run(|| {
            // Started from a thread that ends at once: it is the process's end that counts.
            let start = || run(|| again(ME, "child").kill_on_parent_exit(true).spawn().unwrap().id());
            std::thread::spawn(start).join().unwrap();
            linger();
        }),
        Some(_) => linger(),
        None => run(|| {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut parent = again(ME, "parent").stdout(writer).spawn().unwrap();
            let mut output = BufReader::new(reader);
            // Both linger: the child was not ended with the thread.
            await_lines(&mut output, "lingers", 2);
            parent.kill().unwrap();
            parent.wait().unwrap();
            // The child had the pipe too.
            let ends = || offload_in(Lane::Endless, move || output.read_to_end(&mut Vec::new()).unwrap()).unwrap();
            timeout(LONG, ends).expect("the child has ended as well");
        }),
    }
}

/// Windows: a job within the job, and flags that were set are kept.
#[cfg(any(target_os = "linux", windows))]
#[test]
fn both_ties_and_none_can_be_had_by_turns() {
    run(|| {
        let mut command = Command::new(if cfg!(windows) { "cmd" } else { "sh" });
        command.args(if cfg!(windows) { ["/d", "/c", "exit 3"] } else { ["-c", "exit 3", ""] });
        #[cfg(windows)]
        command.creation_flags(0x0800_0000);
        for (tree, parent) in [(true, true), (false, false), (true, false), (false, true), (false, false)] {
            let mut child = command.own_tree(tree).kill_on_parent_exit(parent).spawn().unwrap();
            assert_eq!(timeout(LONG, || child.wait().unwrap().code()).unwrap(), Some(3), "{tree} {parent}");
        }
    });
}

/// What the tie is asked of, where the system has none.
#[cfg(not(any(target_os = "linux", windows)))]
#[test]
fn a_tie_that_the_system_does_not_have_is_refused() {
    run(|| {
        let error = Command::new("true").kill_on_parent_exit(true).spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}
