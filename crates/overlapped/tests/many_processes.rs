//! A thousand children at once, in a process of its own: it counts that one's descriptors.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};

use overlapped::process::{Command, Stdio};
use overlapped::{run, spawn};

const CHILDREN: usize = 1000;

fn descriptors() -> usize {
    std::fs::read_dir("/dev/fd").unwrap().count()
}

/// Lets this process have as many descriptors as it may, and says how many children that is enough for.
fn room() -> usize {
    // SAFETY: all zeroes is a limit, and both calls are given a place for one that outlives them.
    let limit = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max.min(1 << 16);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        limit.rlim_cur
    };
    // A pidfd and two pipe ends each.
    CHILDREN.min((limit as usize).saturating_sub(100) / 3)
}

/// Says lines to a child and hears each again before the next.
fn talk(number: usize) -> std::io::Result<u32> {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for turn in 0..10 {
        let said = format!("{number}:{turn}");
        writeln!(input, "{said}")?;
        assert_eq!(lines.next().unwrap()?, said);
    }
    drop(input);
    assert!(lines.next().is_none());
    assert!(child.wait()?.success());
    Ok(child.id())
}

#[test]
fn a_thousand_children_at_once_lose_no_byte_and_leave_nothing() {
    let children = room();
    run(|| {
        let before = descriptors();
        let talks: Vec<_> = (0..children).map(|number| spawn(move || talk(number))).collect();
        for talk in talks {
            let id = talk.join().unwrap().unwrap();
            // SAFETY: takes no pointers; signal 0 is none.
            assert_eq!(unsafe { libc::kill(id as libc::pid_t, 0) }, -1, "a zombie is left");
        }
        assert_eq!(descriptors(), before);
    });
}
