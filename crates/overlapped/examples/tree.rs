//! A tree of processes that is ended as a whole: each starts two more, three generations deep, and none would end by itself.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::{Duration, Instant};

use overlapped::process::{Command, Stdio};
use overlapped::{run, timeout};

const GENERATIONS: u32 = 3;
const PROCESSES: usize = (1 << GENERATIONS) - 1;

/// This program, to be the root of so many generations.
fn root(generations: u32) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(generations.to_string()).stdin(Stdio::null());
    Ok(command)
}

/// One of the tree.
fn live(generations: u32) -> io::Result<()> {
    let younger = if generations > 1 { 2 } else { 0 };
    let _children = (0..younger).map(|_| root(generations - 1)?.spawn()).collect::<io::Result<Vec<_>>>()?;
    println!("process {} lives, of generation {}", std::process::id(), GENERATIONS - generations + 1);
    io::stdout().flush()?;
    overlapped::sleep(Duration::from_secs(600));
    Err(io::Error::other("nobody has ended it"))
}

fn scene() -> io::Result<()> {
    let mut child = root(GENERATIONS)?.stdout(Stdio::piped()).own_tree(true).kill_on_drop(true).spawn()?;
    let mut output = BufReader::new(child.stdout.take().expect("it is a pipe"));
    for line in output.by_ref().lines().take(PROCESSES) {
        println!("{}", line?);
    }
    child.kill_tree()?;
    child.wait()?;
    // All had the pipe, which ends with the last of them.
    let rest = output.read_to_end(&mut Vec::new())?;
    if rest == 0 { Ok(()) } else { Err(io::Error::other("more lived than were started")) }
}

fn main() -> io::Result<()> {
    if let Some(generations) = std::env::args().nth(1) {
        return run(|| live(generations.parse().map_err(io::Error::other)?));
    }
    let begun = Instant::now();
    run(|| timeout(Duration::from_secs(60), scene).map_err(io::Error::from).flatten())?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("tree: {PROCESSES} processes in {GENERATIONS} generations, ended at once, in {seconds:.2} s");
    Ok(())
}
