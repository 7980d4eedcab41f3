//! A console of Windows, by the standard library's calls on a thread: they make characters of its UTF-16.
//!
//! A read there cannot be taken back. One whose caller has left goes on, and its line is the next read's.

use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use overlapped_port::Lane;

use super::output::Stream;
use crate::offload::offload_in;
use crate::sleep;

/// How often it is asked whether a read that was left has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// The most bytes of one read.
const ROOM: usize = 8 << 10;

enum Reading {
    No,
    UnderWay,
    Came(io::Result<Vec<u8>>),
}

static READING: Mutex<Reading> = Mutex::new(Reading::No);

fn reading() -> MutexGuard<'static, Reading> {
    READING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's part.
fn read_there() {
    {
        let mut reading = reading();
        if !matches!(*reading, Reading::No) {
            return;
        }
        *reading = Reading::UnderWay;
    }
    let mut bytes = vec![0; ROOM];
    let came = io::stdin().read(&mut bytes).map(|length| {
        bytes.truncate(length);
        bytes
    });
    *reading() = Reading::Came(came);
}

/// Takes of what has come as much as there is room for.
fn take(buffer: &mut [u8]) -> Option<io::Result<usize>> {
    let mut reading = reading();
    let Reading::Came(came) = &mut *reading else { return None };
    let Ok(bytes) = came else {
        let Reading::Came(Err(error)) = std::mem::replace(&mut *reading, Reading::No) else {
            unreachable!("just seen")
        };
        return Some(Err(error));
    };
    let length = bytes.len().min(buffer.len());
    buffer[..length].copy_from_slice(&bytes[..length]);
    bytes.drain(..length);
    if bytes.is_empty() {
        *reading = Reading::No;
    }
    Some(Ok(length))
}

/// One read. Its caller has the lock of standard input.
pub(super) fn read(buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        if let Some(came) = take(buffer) {
            return came;
        }
        let is_under_way = matches!(*reading(), Reading::UnderWay);
        if is_under_way {
            sleep(PAUSE);
        } else {
            offload_in(Lane::Endless, read_there)?;
        }
    }
}

/// One write, of all; where its caller leaves, it goes on.
pub(super) fn write(stream: Stream, bytes: &[u8]) -> io::Result<usize> {
    let (length, bytes) = (bytes.len(), bytes.to_owned());
    offload_in(Lane::Endless, move || match stream {
        Stream::Output => io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()),
        Stream::Error => io::stderr().write_all(&bytes),
    })??;
    Ok(length)
}
