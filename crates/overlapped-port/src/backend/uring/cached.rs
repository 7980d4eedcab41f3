//! Reads of files that the kernel has in memory are done at once, with no trip through the ring ([`at_once`]): the answer is
//! `EAGAIN` where a read would have to wait for the disk.
//!
//! Pipes, terminals and sockets are left to the ring, for what is read from them is seldom there already, and each try is a
//! system call. What a number stands for is not asked at each read: where a try has failed on something that is no regular
//! file, none is made for that number [for a while](PAUSE). Numbers that are given out again are right again after that.

use std::mem::MaybeUninit;

use super::descriptor::Descriptor;
use crate::backend::at_once;

/// A longer read is the ring's, which lets others run meanwhile.
const MOST: usize = 256 << 10;

/// So many reads of a number go without a try, after one that failed on what is no regular file.
const PAUSE: u8 = u8::MAX;

/// For which numbers no try is made.
#[derive(Default)]
pub(super) struct Cached {
    pauses: Vec<u8>,
}

impl Cached {
    /// What a read has brought, where it was all there. It has moved the file's position, where `offset` is none; where the
    /// answer is `None`, nothing has changed.
    pub(super) fn read(&mut self, file: i32, buffer: &mut [MaybeUninit<u8>], offset: Option<u64>) -> Option<usize> {
        let number = usize::try_from(file).ok()?;
        if buffer.len() > MOST || self.is_paused(number) {
            return None;
        }
        let mut done = 0;
        while done < buffer.len() {
            // A short count is the end of the file, or of what is in memory: the next answer tells.
            match read_now(file, &mut buffer[done..], offset.map(|offset| offset.saturating_add(done as u64))) {
                Some(0) => break,
                Some(count) => done += count,
                None => return self.not_all(file, number, done, offset.is_none()),
            }
        }
        Some(done)
    }

    /// Some of it is there, or nothing: the ring reads the whole of it. What is no regular file has no position to go back to,
    /// and has given what it has.
    fn not_all(&mut self, file: i32, number: usize, done: usize, here: bool) -> Option<usize> {
        if !Descriptor(file).is_regular() {
            self.pause(number);
            return (done > 0).then_some(done);
        }
        if done > 0 && here {
            // SAFETY: takes no pointers.
            unsafe { libc::lseek(file, -(done as libc::off_t), libc::SEEK_CUR) };
        }
        None
    }

    fn is_paused(&mut self, number: usize) -> bool {
        let pause = self.pauses.get_mut(number).filter(|pause| **pause > 0);
        pause.map(|pause| *pause -= 1).is_some()
    }

    fn pause(&mut self, number: usize) {
        if number >= self.pauses.len() {
            // A wild number must not cost memory.
            if !Descriptor(number as i32).is_open() || self.pauses.try_reserve(number + 64 - self.pauses.len()).is_err()
            {
                return;
            }
            self.pauses.resize(number + 64, 0);
        }
        self.pauses[number] = PAUSE;
    }
}

/// One try; `None` where it fails, whatever the reason: the ring tells.
fn read_now(file: i32, buffer: &mut [MaybeUninit<u8>], offset: Option<u64>) -> Option<usize> {
    let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: one part, which is the buffer.
    unsafe { at_once::read(file, &[part], offset) }.ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    fn room() -> [MaybeUninit<u8>; 8] {
        [MaybeUninit::uninit(); 8]
    }

    #[test]
    fn a_file_in_memory_is_read_at_once_here_and_there_and_at_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut cached = Cached::default();
        let number = file.as_raw_fd();
        if cached.read(number, &mut room(), Some(0)).is_none() {
            return; // A file system that cannot say.
        }
        assert_eq!(cached.read(number, &mut room(), Some(4)), Some(6));
        assert_eq!(cached.read(number, &mut room(), Some(10)), Some(0));
        assert_eq!(cached.read(number, &mut room(), None), Some(0), "the position is at the end");
        assert_eq!(cached.read(number, &mut vec![MaybeUninit::uninit(); MOST + 1], Some(0)), None);
    }

    #[test]
    fn a_wild_number_costs_no_memory() {
        let mut cached = Cached::default();
        assert_eq!(cached.read(i32::MAX, &mut room(), Some(0)), None);
        assert_eq!(cached.pauses.len(), 0);
    }

    #[test]
    fn a_pipe_is_the_rings_for_a_while_after_a_try() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut cached = Cached::default();
        let number = reader.as_raw_fd();
        // Linux before 6.4 knows no such thing of pipes.
        // SAFETY: no memory is given.
        let tried =
            unsafe { at_once::read(number, &[libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 1 }], None) };
        let is_known = tried.unwrap_err().raw_os_error() == Some(libc::EAGAIN);
        assert_eq!(cached.read(number, &mut room(), None), None);
        writer.write_all(b"abc").unwrap();
        for _ in 0..PAUSE {
            assert_eq!(cached.read(number, &mut room(), None), None);
        }
        let given = if is_known { Some(3) } else { None };
        assert_eq!(cached.read(number, &mut room(), None), given, "what it has is all that it gives");
    }
}
