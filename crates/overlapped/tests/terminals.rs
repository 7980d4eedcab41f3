//! Children on a terminal of their own.

#![cfg(unix)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use overlapped::process::{Command, Pty, Size, Stdio};
use overlapped::{run, spawn, timeout, yield_now};
use support::children::shell;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Reads until `wanted` has come, and returns all that did.
fn read_until(mut pty: &Pty, wanted: &str) -> String {
    let mut shown = String::new();
    while !shown.contains(wanted) {
        let mut piece = [0; 1024];
        let count = pty.read(&mut piece).unwrap();
        assert!(count > 0, "the terminal has ended after {shown:?}, without {wanted:?}");
        shown.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
    shown
}

#[test]
fn a_child_on_a_terminal_believes_to_talk_with_a_person() {
    run(|| {
        let mut pty = Pty::open().unwrap();
        let script = "test -t 0 && test -t 1 && test -t 2 && echo prompt && read line && echo got $line >/dev/tty";
        let mut child = shell(script).spawn_on(&pty).unwrap();
        assert!(child.stdin.is_none() && child.stdout.is_none());
        read_until(&pty, "prompt\r\n");
        pty.write_all(b"words\n").unwrap();
        let mut rest = String::new();
        pty.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "words\r\ngot words\r\n", "the echo, and what the child says to its controlling terminal");
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn only_the_one_that_reads_a_terminal_waits() {
    run(|| {
        let pty = std::rc::Rc::new(Pty::open().unwrap());
        let mut child = shell("read line; echo done").spawn_on(&pty).unwrap();
        // One tasklet reads what another writes to.
        let theirs = std::rc::Rc::clone(&pty);
        let reader = spawn(move || read_until(&theirs, "done"));
        yield_now();
        assert!(!reader.is_finished());
        (&*pty).write_all(b"\n").unwrap();
        reader.join().unwrap();
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_read_of_a_terminal_is_left_in_time_and_loses_nothing() {
    run(|| {
        let pty = Pty::open().unwrap();
        assert!(
            timeout(Duration::from_millis(20), || (&pty).read(&mut [0; 10])).is_err(),
            "before the first start too"
        );
        let mut child = shell("echo first; read line; echo second").spawn_on(&pty).unwrap();
        read_until(&pty, "first\r\n");
        assert!(timeout(Duration::from_millis(20), || (&pty).read(&mut [0; 10])).is_err());
        (&pty).write_all(b"\n").unwrap();
        read_until(&pty, "second\r\n");
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn the_end_of_all_that_have_the_terminal_is_the_end_of_what_is_read() {
    run(|| {
        let pty = Pty::open().unwrap();
        for round in 0..2 {
            // The grandchild outlives the child, and has the terminal for its output.
            let mut child = shell("(read line <&3; trap '' HUP; echo late) 3<&0 &").spawn_on(&pty).unwrap();
            assert!(child.wait().unwrap().success());
            let mut rest = Vec::new();
            (&pty).read_to_end(&mut rest).unwrap();
            assert_eq!((&pty).read(&mut [0; 10]).unwrap(), 0, "and stays the end, in round {round}");
        }
    });
}

#[test]
fn a_size_is_told_to_the_child_and_a_new_one_too() {
    run(|| {
        let pty = Pty::open().unwrap();
        let size = Size { rows: 12, columns: 34 };
        pty.resize(size).unwrap();
        assert_eq!(pty.size().unwrap(), size);
        let script = "trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.01; done";
        let mut child = shell(script).spawn_on(&pty).unwrap();
        read_until(&pty, "12 34\r\n");
        pty.resize(Size { rows: 5, columns: 6 }).unwrap();
        read_until(&pty, "5 6\r\n");
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn control_c_reaches_the_child_and_a_dropped_terminal_hangs_up() {
    run(|| {
        let pty = Pty::open().unwrap();
        let mut child = shell("echo ready; exec sleep 60").spawn_on(&pty).unwrap();
        read_until(&pty, "ready");
        (&pty).write_all(b"\x03").unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGINT));

        // Whoever starts it may ignore that, as nohup(1) does.
        // SAFETY: a signal's disposition, which no other test asks for.
        let before = unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        let mut child = shell("echo ready; exec sleep 60").spawn_on(&pty).unwrap();
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGHUP, before) };
        read_until(&pty, "ready");
        drop(pty);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGHUP));
    });
}

#[test]
fn streams_that_were_set_do_not_go_to_the_terminal_and_a_command_starts_again_without() {
    run(|| {
        let pty = Pty::open().unwrap();
        let mut command = shell("test -t 0 && echo in; test -t 1 && echo out; ps -o tty= -p $$ >&2");
        command.stdout(Stdio::piped());
        let mut child = command.spawn_on(&pty).unwrap();
        let mut piped = String::new();
        child.stdout.take().unwrap().read_to_string(&mut piped).unwrap();
        assert_eq!(piped, "in\n");
        assert!(read_until(&pty, "\n").contains("pts"), "it is the controlling one");
        child.wait().unwrap();
        // Its own group of processes is no obstacle to a session.
        command.process_group(0);
        assert!(command.spawn_on(&pty).unwrap().wait_with_output().unwrap().status.success());
        let mut command = shell("ps -o sid= -p $$");
        let mut first = command.spawn_on(&pty).unwrap();
        first.wait().unwrap();
        let output = command.output().unwrap();
        let session: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        // SAFETY: takes no pointers.
        assert_eq!(session, unsafe { libc::getsid(0) }, "without a terminal it stays in this process's session");
    });
}

#[test]
fn one_terminal_has_one_session_and_a_program_that_is_not_there_is_named() {
    run(|| {
        let pty = Pty::open().unwrap();
        let mut child = shell("read line").spawn_on(&pty).unwrap();
        let error = shell("true").spawn_on(&pty).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        (&pty).write_all(b"\n").unwrap();
        assert!(child.wait().unwrap().success());
        let error = Command::new("overlapped-no-such-program").spawn_on(&pty).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(overlapped::attempted(&error).starts_with("start overlapped-no-such-program: "), "{error}");
    });
}

#[test]
fn many_terminals_at_once_lose_no_byte_and_leave_no_descriptor() {
    let before = std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default();
    run(|| {
        let tasklets: Vec<_> = (0..40)
            .map(|number| {
                spawn(move || {
                    let pty = Pty::from(OwnedFd::from(Pty::open().unwrap()));
                    let mut command =
                        shell(&format!("i=0; while [ $i -lt 300 ]; do echo {number} $i; i=$((i+1)); done"));
                    let mut child = command.kill_on_drop(true).spawn_on(&pty).unwrap();
                    let mut text = String::new();
                    (&pty).read_to_string(&mut text).unwrap();
                    assert!(child.wait().unwrap().success());
                    text.lines().enumerate().all(|(line, text)| text == format!("{number} {line}"))
                        && text.lines().count() == 300
                })
            })
            .collect();
        let whole = timeout(LONG, || tasklets.into_iter().all(|tasklet| tasklet.join().unwrap()));
        assert!(whole.unwrap());
    });
    let after = std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default();
    assert!(after <= before + 8, "{before} descriptors before, {after} after");
}
