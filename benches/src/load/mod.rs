//! What the two load generators share: what their messages look like, how they wait, and how they talk to the runner.

pub mod dialect;

use std::error::Error;
use std::io::{self, Read};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use io_uring::{EnterFlags, IoUring, types};

/// A server that says nothing for so long while something is in flight has failed.
pub const SILENCE: Duration = Duration::from_secs(5);
/// After so many looks the clock is asked whether it has come to that.
const SILENCE_CHECKED: u32 = 100_000;

/// Makes a message one that no other is: its connection's number and its own stand at both ends, as far as there is room.
///
/// It is a line: no byte of it but the last is a newline.
pub fn stamp(message: &mut [u8], connection: u32, number: u64) {
    let unique = u64::from(connection) << 32 | number & u64::from(u32::MAX);
    let digits: [u8; 10] = std::array::from_fn(|at| 0x80 | (unique >> (7 * at)) as u8);
    let (body, newline) = message.split_at_mut(message.len() - 1);
    newline[0] = b'\n';
    if body.first() == Some(&0) {
        for (at, byte) in body.iter_mut().enumerate() {
            *byte = 0x80 | (at as u32 ^ connection) as u8;
        }
    }
    let (length, tail) = (digits.len().min(body.len()), body.len().saturating_sub(digits.len()));
    body[..length].copy_from_slice(&digits[..length]);
    body[tail..].copy_from_slice(&digits[..length]);
}

/// Enters the kernel with what was pushed, and waits for a completion.
///
/// On a core of its own it does not sleep: to wake it takes a microsecond (an interrupt to another core, and in a virtual machine
/// a call to its host), which the kernel would put on the account of the server that has answered.
///
/// # Errors
/// A silence, with how much was in flight; else what io_uring_enter(2) says.
pub fn wait(ring: &mut IoUring, in_flight: usize) -> Result<(), Box<dyn Error>> {
    let answered = if has_its_core() { wait_awake(ring)? } else { wait_at_most(ring, SILENCE)? };
    if answered { Ok(()) } else { Err(silent(in_flight)) }
}

/// Whether this thread may run on one core alone, where the runner has put it.
fn has_its_core() -> bool {
    static ITS: OnceLock<bool> = OnceLock::new();
    *ITS.get_or_init(|| std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1))
}

fn wait_awake(ring: &mut IoUring) -> io::Result<bool> {
    ring.submit()?;
    let (submitter, mut queue, mut completions) = ring.split();
    let began = Instant::now();
    loop {
        for _ in 0..SILENCE_CHECKED {
            completions.sync();
            if !completions.is_empty() {
                return Ok(true);
            }
            queue.sync();
            if queue.taskrun() {
                // SAFETY: no argument is passed.
                unsafe { submitter.enter::<libc::sigset_t>(0, 0, EnterFlags::GETEVENTS.bits(), None)? };
            }
            std::hint::spin_loop();
        }
        if began.elapsed() > SILENCE {
            return Ok(false);
        }
    }
}

/// Enters the kernel with what was pushed, and waits for a completion, but not for longer: false then.
///
/// # Errors
/// What io_uring_enter(2) says.
pub fn wait_at_most(ring: &mut IoUring, longest: Duration) -> io::Result<bool> {
    let longest = types::Timespec::from(longest);
    match ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&longest)) {
        Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(false),
        Err(error) if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => Err(error),
        _ => Ok(true),
    }
}

/// The error of a server that does not answer.
pub fn silent(in_flight: usize) -> Box<dyn Error> {
    format!("no reply for {SILENCE:?} with {in_flight} in flight").into()
}

/// How many requests were answered in which time, as the runner wants it.
pub fn answered((requests, time): (u64, Duration)) -> String {
    format!(r#"{{"requests": {requests}, "seconds": {:.6}}}"#, time.as_secs_f64())
}

/// Says `ready`, waits for the runner's line, measures, prints what that gives (a JSON object), and stays until the runner
/// closes stdin.
///
/// # Errors
/// What the measurement says.
pub fn when_told(measure: impl FnOnce() -> Result<String, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    println!("ready");
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        return Ok(());
    }
    println!("{}", measure()?);
    io::stdin().read_to_string(&mut line)?;
    Ok(())
}
