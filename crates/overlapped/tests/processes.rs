//! Child processes: started, talked to, waited for, ended. On Unix, whose programs these are.

#![cfg(unix)]

mod support;

use std::io::{ErrorKind, Read, Write, read_to_string};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use overlapped::process::{Child, Command, Stdio};
use overlapped::{attempted, run, sleep, spawn, timeout, yield_now};
use support::children::{shell, who_leaves_a_wait_can_still_end_the_child};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Whether the process is there, a zombie counts.
fn exists(id: u32) -> bool {
    // SAFETY: takes no pointers; signal 0 is none.
    unsafe { libc::kill(id as libc::pid_t, 0) == 0 }
}

/// Lets others run until `done`, within bounds.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "{what} did not come");
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_childs_end_is_told_as_the_system_does() {
    run(|| {
        assert!(shell("true").status().unwrap().success());
        assert_eq!(shell("exit 7").status().unwrap().code(), Some(7));
        let killed = shell("kill -TERM $$").status().unwrap();
        assert_eq!((killed.code(), killed.signal()), (None, Some(libc::SIGTERM)));
    });
}

#[test]
fn only_the_one_that_waits_for_a_child_waits() {
    run(|| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let waiter = spawn(move || child.wait().unwrap());
        yield_now();
        // The child ends when this tasklet, which runs meanwhile, lets it.
        assert!(!waiter.is_finished());
        drop(input);
        assert!(waiter.join().unwrap().success());
    });
}

#[test]
fn bytes_go_in_and_come_out_while_others_wait_for_theirs() {
    run(|| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = sent.clone();
        let writer = spawn(move || input.write_all(&sent));
        let mut received = Vec::new();
        output.read_to_end(&mut received).unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(received, expected);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn output_is_both_streams_whole_and_no_input() {
    run(|| {
        let script =
            "read line || echo none; i=0; while [ $i -lt 20000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
        let output = shell(script).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success());
        assert!(out.starts_with("none\nout 0\n") && out.ends_with("out 19999\n"), "{}", &out[..30]);
        assert_eq!((out.lines().count(), err.lines().count()), (20_001, 20_000));
    });
}

#[test]
fn output_uses_the_streams_that_were_set_and_leaves_the_others_for_the_next_start() {
    run(|| {
        let mut command = shell("cat; echo done");
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
        assert_eq!(output.stdout, b"done\n");
        let mut child = command.spawn().unwrap();
        assert!(child.stdout.is_none(), "spawn gives the child this process's output");
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_wait_with_a_limit_leaves_the_child_as_it_is() {
    run(|| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(child.wait_timeout(Duration::from_millis(5)).unwrap(), None);
        assert_eq!(child.try_wait().unwrap(), None);
        assert!(child.stdin.is_some(), "its input is still open");
        assert!(child.wait().unwrap().success(), "wait closes its input, and it ends");
        assert!(child.wait().unwrap().success(), "asked again, the same");
        assert!(child.wait_timeout(LONG).unwrap().unwrap().success());
        assert!(child.kill().is_ok(), "one that has ended stays as it is");
    });
}

#[test]
fn a_killed_child_says_so() {
    run(|| {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = child.id();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert!(!exists(id));
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        // Not SIGINT: where this program was started in the background, its children ignore that.
        child.signal(libc::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        assert!(child.signal(libc::SIGTERM).is_ok());
    });
}

#[test]
fn whoever_is_told_to_leave_while_a_child_runs_hears_so_from_the_wait_and_can_still_end_the_child() {
    who_leaves_a_wait_can_still_end_the_child(|| Command::new("sleep").arg("60").spawn().unwrap());
}

#[test]
fn a_program_that_is_not_there_is_an_error_that_names_it() {
    run(|| {
        let error = Command::new("overlapped-no-such-program").spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(attempted(&error).starts_with("start overlapped-no-such-program: "), "{error}");
        let error = Command::new("/dev/null").status().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(Command::new("a\0b").spawn().unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_child_that_is_dropped_is_no_zombie() {
    run(|| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let (id, input) = (child.id(), child.stdin.take());
        drop(child);
        yield_now();
        assert!(exists(id), "dropping does not end it");
        drop(input);
        wait_for("the end of the child", || !exists(id));
    });
}

#[test]
fn a_child_that_is_killed_when_dropped_does_not_outlive_its_time_limit() {
    run(|| {
        let mut id = 0;
        let outcome = timeout(Duration::from_millis(20), || {
            let mut child = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
            id = child.id();
            child.wait()
        });
        assert!(outcome.is_err());
        wait_for("the end of the child", || !exists(id));
    });
}

#[test]
fn the_end_of_run_leaves_the_children_that_go_on_alone() {
    let id = run(|| Command::new("sleep").arg("60").spawn().unwrap().id());
    assert!(exists(id));
    // SAFETY: takes no pointers, but for the status, which is not asked for; the child is this test's.
    unsafe {
        libc::kill(id as libc::pid_t, libc::SIGKILL);
        assert_eq!(libc::waitpid(id as libc::pid_t, std::ptr::null_mut(), 0), id as libc::pid_t);
    }
}

#[test]
fn a_child_whose_end_others_have_asked_for_is_an_error_with_words() {
    run(|| {
        let mut child = shell("exit 3").spawn().unwrap();
        // SAFETY: the status is not asked for; the child is this test's.
        let reaped = unsafe { libc::waitpid(child.id() as libc::pid_t, std::ptr::null_mut(), 0) };
        assert_eq!(reaped, child.id() as libc::pid_t);
        let error = child.wait().unwrap_err();
        assert!(error.to_string().contains("another part of the program"), "{error}");
    });
}

#[test]
fn a_childs_output_can_be_anothers_input() {
    run(|| {
        let mut first = shell("echo three; echo one; echo two").stdout(Stdio::piped()).spawn().unwrap();
        let second = Command::new("sort").stdin(first.stdout.take().unwrap()).output().unwrap();
        assert_eq!(second.stdout, b"one\nthree\ntwo\n");
        assert!(first.wait().unwrap().success());
    });
}

#[test]
fn what_is_set_arrives() {
    run(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = shell("pwd; echo $NAME$OTHER; ps -o pgid= -p $$ | tr -d ' '; echo $$");
        command.current_dir(folder.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.envs([("NAME", "value"), ("OTHER", "x")]).env_remove("OTHER").process_group(0);
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(std::fs::canonicalize(lines[0]).unwrap(), std::fs::canonicalize(folder.path()).unwrap());
        assert_eq!(lines[1], "value");
        assert_eq!(lines[2], lines[3], "it leads a group of its own");
    });
}

#[test]
fn a_write_to_a_child_that_has_ended_is_a_broken_pipe() {
    run(|| {
        let mut child: Child = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(input.write_all(&[0; 1 << 20]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn an_end_of_a_pipe_becomes_a_file_and_back() {
    run(|| {
        let mut child = shell("echo text").stdout(Stdio::piped()).spawn().unwrap();
        let file = overlapped::fs::File::from(child.stdout.take().unwrap());
        assert_eq!(read_to_string(file).unwrap(), "text\n");
        assert!(child.wait().unwrap().success());
    });
}

/// How many pages of 64 MiB have to be copied, or marked as this process's own again, after a child was started.
#[cfg(target_os = "linux")]
fn faults_after(start: impl FnOnce()) -> i64 {
    fn faults() -> i64 {
        // SAFETY: all zeroes is such a structure, and the place lives through the call.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
            usage.ru_minflt
        }
    }
    let mut heap = vec![1_u8; 64 << 20];
    start();
    let before = faults();
    heap.iter_mut().step_by(4096).for_each(|byte| *byte = 2);
    std::hint::black_box(&heap);
    faults() - before
}

#[cfg(target_os = "linux")]
#[test]
fn a_start_does_not_copy_the_page_tables() {
    run(|| {
        let start = |command: &mut Command| assert!(command.own_tree(true).status().unwrap().success());
        let forked = faults_after(|| {
            let mut command = Command::new("true");
            // SAFETY: it does nothing.
            start(unsafe { command.pre_exec(|| Ok(())) });
        });
        // Some of the tests that run beside this one fork, and have pages copied.
        let once = |_| faults_after(|| start(&mut Command::new("true")));
        let started = (0..10).map(once).min().unwrap();
        assert!(started * 10 < forked, "{started} with a start, {forked} with a fork");
    });
}
