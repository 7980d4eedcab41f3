//! An open file.

use std::fmt;
use std::fs::{Metadata, Permissions};
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::path::Path;

use overlapped_port::Op;
use overlapped_port::sys::{forget_file, raw_file};

use crate::blocking::{MOST_BUFFERS, count, fillable};
use crate::fs::OpenOptions;
use crate::offload::offload_io;

/// An open file, pipe or device, as [`std::fs::File`]. Closed when dropped.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("numbers");
/// overlapped::run(|| {
///     let file = overlapped::fs::File::create_new(&path)?;
///     // Tasklets that share a file say where they write.
///     let file = std::rc::Rc::new(file);
///     for n in 0..10_u8 {
///         let file = file.clone();
///         overlapped::spawn(move || file.write_all_at(&[n], n.into())).join().unwrap()?;
///     }
///     assert_eq!(overlapped::fs::read(&path)?, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct File {
    inner: std::fs::File,
}

impl File {
    /// Opens a file to read.
    ///
    /// # Errors
    /// As for [`OpenOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file to write; makes it where it does not exist, else cuts it to no bytes.
    ///
    /// # Errors
    /// As for [`OpenOptions::open`].
    pub fn create(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Makes a file, to read and write.
    ///
    /// # Errors
    /// `AlreadyExists` where it exists; as for [`OpenOptions::open`].
    pub fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// How to open a file otherwise.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Reads at an offset in bytes from the file's start; its position stays. Returns how many bytes, 0 at the end.
    ///
    /// # Errors
    /// What the system says; for a pipe or another file without offsets too.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_from(buffer, Some(offset))
    }

    /// Fills `buffer` from an offset in bytes from the file's start; its position stays.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before; as for [`File::read_at`].
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let length = self.read_at(buffer, offset)?;
            if length == 0 {
                let message = format!("the file ends at {offset}, {} bytes too early", buffer.len());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            buffer = &mut buffer[length..];
            offset += length as u64;
        }
        Ok(())
    }

    /// Writes at an offset in bytes from the file's start; its position stays. Returns how many bytes. Where that is
    /// past the end, zeroes fill the gap. A file that was opened to append is appended to all the same (pwrite(2)).
    ///
    /// # Errors
    /// What the system says; for a pipe or another file without offsets too.
    pub fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        self.write_to(buffer, Some(offset))
    }

    /// Writes all of `buffer` at an offset in bytes from the file's start; its position stays.
    ///
    /// # Errors
    /// As for [`File::write_at`].
    pub fn write_all_at(&self, mut buffer: &[u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let length = self.write_at(buffer, offset)?;
            if length == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            buffer = &buffer[length..];
            offset += length as u64;
        }
        Ok(())
    }

    /// Waits until all that was written has reached the device (fsync(2)).
    ///
    /// # Errors
    /// What the system says: an error of an earlier write may show here.
    pub fn sync_all(&self) -> io::Result<()> {
        count(Op::Sync { file: raw_file(&self.inner), data_only: false }, None).map(drop)
    }

    /// As [`File::sync_all`], without metadata that reading the data back does not need (fdatasync(2)).
    ///
    /// # Errors
    /// As for [`File::sync_all`].
    pub fn sync_data(&self) -> io::Result<()> {
        count(Op::Sync { file: raw_file(&self.inner), data_only: true }, None).map(drop)
    }

    /// Makes the file `size` bytes long: cuts it, or fills it with zeroes. Its position stays.
    ///
    /// # Errors
    /// `InvalidInput` where it was not opened to write; what the system says.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        // The pool's thread has a handle of its own: this one may be closed before it has run.
        let file = self.inner.try_clone()?;
        offload_io(move || file.set_len(size))
    }

    /// What the system knows of the file: its length, times, permissions, …
    ///
    /// # Errors
    /// What the system says.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.inner.metadata()
    }

    /// Sets the file's permissions.
    ///
    /// # Errors
    /// `PermissionDenied` where it is somebody else's; what the system says.
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        let file = self.inner.try_clone()?;
        offload_io(move || file.set_permissions(permissions))
    }

    /// Another handle of the same open file: the two share its position.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<File> {
        self.inner.try_clone().map(File::from)
    }

    fn read_from(&self, buffer: &mut [u8], offset: Option<u64>) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        count(Op::Read { file: raw_file(&self.inner), buffer: fillable(buffer), offset }, None)
    }

    fn write_to(&self, buffer: &[u8], offset: Option<u64>) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        count(Op::Write { file: raw_file(&self.inner), buffer, offset }, None)
    }

    /// How many bytes there are from the position to the end, as far as that can be known.
    fn remaining(&self) -> usize {
        let length = self.inner.metadata().map_or(0, |metadata| metadata.len());
        let position = (&self.inner).stream_position().unwrap_or(0);
        usize::try_from(length.saturating_sub(position)).unwrap_or(0)
    }
}

/// `ERROR_NEGATIVE_SEEK` ("System Error Codes").
const NEGATIVE_SEEK: i32 = 131;

/// The least room that a read into a growing vector is given, in bytes.
const LEAST_ROOM: usize = 8 << 10;

impl Read for &File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_from(buffer, None)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut buffers: Box<[IoSliceMut<'_>]> =
            buffers.iter_mut().take(MOST_BUFFERS).map(|buffer| IoSliceMut::new(buffer)).collect();
        count(Op::ReadVectored { file: raw_file(&self.inner), buffers: &mut buffers, offset: None }, None)
    }

    /// Asks for the whole rest of the file at once, and once more to see that it has ended.
    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let before = bytes.len();
        let mut end = before;
        bytes.resize(end + self.remaining(), 0);
        let result = loop {
            if end == bytes.len() {
                // A vector that was exactly large enough is not made larger to find the end of the file.
                let mut probe = Box::new([0; 32]);
                match self.read(&mut *probe) {
                    Ok(0) => break Ok(end - before),
                    Ok(length) => {
                        bytes.extend_from_slice(&probe[..length]);
                        end += length;
                        bytes.resize(end + (end - before).max(LEAST_ROOM), 0);
                    }
                    Err(error) => break Err(error),
                }
            }
            match self.read(&mut bytes[end..]) {
                Ok(0) => break Ok(end - before),
                Ok(length) => end += length,
                Err(error) => break Err(error),
            }
        };
        bytes.truncate(end);
        result
    }

    fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        let read = std::str::from_utf8(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("the file is not UTF-8: {error}")))?;
        text.push_str(read);
        Ok(read.len())
    }
}

impl Write for &File {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_to(buffer, None)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let buffers: Box<[IoSlice<'_>]> = buffers.iter().take(MOST_BUFFERS).copied().collect();
        count(Op::WriteVectored { file: raw_file(&self.inner), buffers: &buffers, offset: None }, None)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        (&self.inner).seek(position).map_err(|error| match error.raw_os_error() {
            // Windows has a number of its own for what is an invalid argument elsewhere.
            Some(NEGATIVE_SEEK) if cfg!(windows) => {
                io::Error::new(io::ErrorKind::InvalidInput, "seek to before the first byte of the file")
            }
            _ => error,
        })
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }

    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(bytes)
    }

    fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(text)
    }
}

impl Write for File {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        (&*self).seek(position)
    }
}

impl From<std::fs::File> for File {
    fn from(inner: std::fs::File) -> File {
        forget_file(raw_file(&inner));
        File { inner }
    }
}

impl From<File> for std::fs::File {
    fn from(file: File) -> std::fs::File {
        file.inner
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[cfg(unix)]
const _: () = {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

    impl From<OwnedFd> for File {
        fn from(fd: OwnedFd) -> File {
            std::fs::File::from(fd).into()
        }
    }

    impl From<File> for OwnedFd {
        fn from(file: File) -> OwnedFd {
            file.inner.into()
        }
    }

    impl AsFd for File {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.inner.as_fd()
        }
    }

    impl AsRawFd for File {
        fn as_raw_fd(&self) -> RawFd {
            self.inner.as_raw_fd()
        }
    }

    impl IntoRawFd for File {
        fn into_raw_fd(self) -> RawFd {
            self.inner.into_raw_fd()
        }
    }

    #[allow(unsafe_code, reason = "the trait is the standard library's")]
    impl FromRawFd for File {
        unsafe fn from_raw_fd(fd: RawFd) -> File {
            // SAFETY: the caller's promise.
            File::from(unsafe { OwnedFd::from_raw_fd(fd) })
        }
    }
};

#[cfg(windows)]
const _: () = {
    use std::os::windows::io::{
        AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, IntoRawHandle, OwnedHandle, RawHandle,
    };

    impl From<OwnedHandle> for File {
        fn from(handle: OwnedHandle) -> File {
            std::fs::File::from(handle).into()
        }
    }

    impl From<File> for OwnedHandle {
        fn from(file: File) -> OwnedHandle {
            file.inner.into()
        }
    }

    impl AsHandle for File {
        fn as_handle(&self) -> BorrowedHandle<'_> {
            self.inner.as_handle()
        }
    }

    impl AsRawHandle for File {
        fn as_raw_handle(&self) -> RawHandle {
            self.inner.as_raw_handle()
        }
    }

    impl IntoRawHandle for File {
        fn into_raw_handle(self) -> RawHandle {
            self.inner.into_raw_handle()
        }
    }

    #[allow(unsafe_code, reason = "the trait is the standard library's")]
    impl FromRawHandle for File {
        unsafe fn from_raw_handle(handle: RawHandle) -> File {
            // SAFETY: the caller's promise.
            File::from(unsafe { OwnedHandle::from_raw_handle(handle) })
        }
    }
};
