//! Calls that go on until all is moved, piece by piece.
//!
//! What the system has in its cache is moved while it is asked, and one read of a GiB would hold the thread for as long as it
//! takes to copy that: a quarter of a second. So these calls ask for a [`PIECE`] at a time, and others run between. A single
//! read or write is left as long as the caller has made it: one that appends is not to be torn apart.

use std::io;
use std::mem::MaybeUninit;

/// How many bytes are moved in one go: a tenth of a millisecond's, and many enough that the call itself costs little.
const PIECE: usize = 1 << 20;

/// The least room that a read into a growing vector is given, in bytes.
const LEAST_ROOM: usize = 8 << 10;

/// Appends all that `read` brings to `bytes`, of which some `expected` will come, and returns how many came. Room is asked
/// for, and an error where there is none; its memory is touched only as it is filled.
#[allow(
    unsafe_code,
    reason = "the standard library's way to fill a vector without clearing it first is not stable yet"
)]
pub(super) fn read_to_end(
    bytes: &mut Vec<u8>,
    expected: usize,
    mut read: impl FnMut(&mut [MaybeUninit<u8>]) -> io::Result<usize>,
) -> io::Result<usize> {
    let before = bytes.len();
    make_room(bytes, expected, Vec::try_reserve_exact)?;
    loop {
        if bytes.len() == bytes.capacity() {
            // A vector that was exactly large enough is not made larger to find the end of the file.
            let mut probe = Box::new([MaybeUninit::uninit(); 32]);
            let length = read(&mut *probe)?;
            if length == 0 {
                return Ok(bytes.len() - before);
            }
            make_room(bytes, LEAST_ROOM, Vec::try_reserve)?;
            bytes.spare_capacity_mut()[..length].copy_from_slice(&probe[..length]);
            // SAFETY: as below; the bytes were just copied.
            unsafe { bytes.set_len(bytes.len() + length) };
        }
        let room = bytes.spare_capacity_mut();
        let piece = room.len().min(PIECE);
        let length = read(&mut room[..piece])?;
        assert!(length <= piece, "a read of {piece} bytes brought {length}");
        if length == 0 {
            return Ok(bytes.len() - before);
        }
        // SAFETY: the port reports as many bytes as the system has written, from the start of the room that it was given.
        unsafe { bytes.set_len(bytes.len() + length) };
    }
}

fn make_room(
    bytes: &mut Vec<u8>,
    more: usize,
    reserve: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), std::collections::TryReserveError>,
) -> io::Result<()> {
    reserve(bytes, more).map_err(|error| {
        let message = format!("no memory for {more} bytes more of the file: {error}");
        io::Error::new(io::ErrorKind::OutOfMemory, message)
    })
}

/// Fills `buffer`; `read` is told how many bytes there were before.
pub(super) fn read_exact(
    buffer: &mut [u8],
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        let end = buffer.len().min(done + PIECE);
        let length = read(&mut buffer[done..end], done as u64)?;
        if length == 0 {
            let message = format!("the file ends {} bytes too early", buffer.len() - done);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        done += length;
    }
    Ok(())
}

/// Writes all of `buffer`; `write` is told how many bytes there were before.
pub(super) fn write_all(buffer: &[u8], mut write: impl FnMut(&[u8], u64) -> io::Result<usize>) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        let end = buffer.len().min(done + PIECE);
        match write(&buffer[done..end], done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            length => done += length,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Brings `text`, three bytes at a time at most.
    fn source(mut text: &[u8]) -> impl FnMut(&mut [MaybeUninit<u8>]) -> io::Result<usize> {
        move |room| {
            let length = room.len().min(text.len()).min(3);
            for (to, from) in room.iter_mut().zip(&text[..length]) {
                to.write(*from);
            }
            text = &text[length..];
            Ok(length)
        }
    }

    #[test]
    fn all_is_read_whatever_length_was_expected() {
        for expected in [0, 1, 6, 7, 100, 3 * PIECE] {
            let mut bytes = b"> ".to_vec();
            assert_eq!(read_to_end(&mut bytes, expected, source(b"abcdefg")).unwrap(), 7);
            assert_eq!(bytes, b"> abcdefg", "expected {expected}");
        }
    }

    #[test]
    fn what_came_before_an_error_stays() {
        let mut good = source(b"abcd");
        let mut asked = 0;
        let mut bytes = Vec::new();
        let result = read_to_end(&mut bytes, 10, |room| {
            asked += 1;
            if asked == 1 { good(room) } else { Err(io::ErrorKind::TimedOut.into()) }
        });
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(bytes, b"abc");
    }

    #[test]
    fn room_that_there_is_not_is_an_error() {
        let mut bytes = b"before".to_vec();
        for expected in [isize::MAX as usize, usize::MAX] {
            let error = read_to_end(&mut bytes, expected, |_| unreachable!("there is no room")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
        }
        assert_eq!(bytes, b"before");
    }

    #[cfg(target_os = "linux")]
    #[allow(unsafe_code, reason = "mincore(2)")]
    #[test]
    fn memory_for_what_does_not_come_is_not_touched() {
        const EXPECTED: usize = 64 << 20;
        let mut bytes = Vec::new();
        assert_eq!(read_to_end(&mut bytes, EXPECTED, source(b"sextet")).unwrap(), 6);
        let page = 4096;
        let start = (bytes.as_mut_ptr() as usize).next_multiple_of(page);
        let mut pages = vec![0_u8; (bytes.capacity() - page) / page];
        // SAFETY: the range is within the vector's room, and there is a byte for each of its pages.
        let asked = unsafe { libc::mincore(start as *mut _, pages.len() * page, pages.as_mut_ptr()) };
        assert_eq!(asked, 0, "{}", io::Error::last_os_error());
        let touched = pages.iter().filter(|page| **page & 1 != 0).count();
        // One huge page at most, where the system gives such.
        assert!(touched <= (2 << 20) / page, "{touched} pages");
    }

    #[test]
    fn no_call_is_asked_for_more_than_a_piece() {
        let mut lengths = Vec::new();
        let mut note = |length: usize| {
            lengths.push(length);
            Ok(length)
        };
        write_all(&vec![0; 2 * PIECE + 5], |piece, _| note(piece.len())).unwrap();
        read_exact(&mut vec![0; PIECE + 7], |piece, _| note(piece.len())).unwrap();
        assert_eq!(lengths, [PIECE, PIECE, 5, PIECE, 7]);
    }
}
