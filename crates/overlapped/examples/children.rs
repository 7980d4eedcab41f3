//! Fifty children at once, whose lines are shown as they come: on one thread, which waits for none of them alone.

use std::io::{self, BufRead, BufReader};
use std::time::{Duration, Instant};

use overlapped::process::{Command, Stdio};
use overlapped::{run, spawn, timeout};

const CHILDREN: u32 = 50;

/// A child that says a few words, some of them late.
fn command(number: u32) -> Command {
    let mut command;
    if cfg!(windows) {
        command = Command::new("cmd");
        command.args(["/d", "/c", &format!("echo child {number} begins& echo child {number} ends")]);
    } else {
        let pause = f64::from(number % 5) / 50.0;
        command = Command::new("sh");
        command.args(["-c", &format!("echo child {number} begins; sleep {pause}; echo child {number} ends")]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Runs one child, and counts its lines.
fn follow(number: u32) -> io::Result<usize> {
    let mut child = command(number).kill_on_drop(true).spawn()?;
    let mut count = 0;
    for line in BufReader::new(child.stdout.take().expect("it is a pipe")).lines() {
        println!("{}", line?);
        count += 1;
    }
    let status = child.wait()?;
    if status.success() { Ok(count) } else { Err(io::Error::other(format!("child {number}: {status}"))) }
}

fn main() -> io::Result<()> {
    let begun = Instant::now();
    let lines = run(|| {
        timeout(Duration::from_secs(60), || {
            let children: Vec<_> = (0..CHILDREN).map(|number| spawn(move || follow(number))).collect();
            children.into_iter().try_fold(0, |lines, child| Ok(lines + child.join()??))
        })
        .map_err(io::Error::from)
        .flatten()
    })?;
    assert_eq!(lines, 2 * CHILDREN as usize);
    let seconds = begun.elapsed().as_secs_f64();
    println!("children: {CHILDREN} children, {lines} lines as they came, in {seconds:.2} s");
    Ok(())
}
