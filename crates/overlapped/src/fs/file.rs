//! An open file.

use std::fmt;
use std::fs::{FileTimes, Metadata, Permissions};
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::path::Path;
use std::time::SystemTime;

use overlapped_port::sys::{forget_file, raw_file};
use overlapped_port::{Lane, Op};

use crate::blocking::{MOST_BUFFERS, count, fillable};
use crate::fs::{OpenOptions, pieces};

/// An open file, pipe or device, as [`std::fs::File`]. Closed when dropped.
///
/// It is read, written and moved in through a reference as well, so tasklets share one by `Rc` or `Arc`, whose contents
/// are such a reference: `(&*file).write_all(bytes)`. What they ask for at the file's own position is done in the order in
/// which they ask.
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
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        pieces::read_exact(buffer, |piece, done| self.read_at(piece, offset + done))
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
    pub fn write_all_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        pieces::write_all(buffer, |piece, done| self.write_at(piece, offset + done))
    }

    /// As [`File::read_at`], into several buffers, filled in order.
    ///
    /// # Errors
    /// As for [`File::read_at`].
    pub fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        self.read_vectored_from(buffers, Some(offset))
    }

    /// As [`File::write_at`], from several buffers, in order.
    ///
    /// # Errors
    /// As for [`File::write_at`].
    pub fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.write_vectored_to(buffers, Some(offset))
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
        self.on_pool(move |file| file.set_len(size))
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
        self.on_pool(move |file| file.set_permissions(permissions))
    }

    /// Sets when the file was last read and written, as far as `times` says.
    ///
    /// # Errors
    /// `PermissionDenied` where it is somebody else's, and on Windows where it was not opened to write; what the system says.
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        self.on_pool(move |file| file.set_times(times))
    }

    /// Sets when the file was last written.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("file");
    /// overlapped::run(|| {
    ///     let file = overlapped::fs::File::create(&path)?;
    ///     let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    ///     file.set_modified(time)?;
    ///     assert_eq!(file.metadata()?.modified()?, time);
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// As for [`File::set_times`].
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time))
    }

    /// Another handle of the same open file: the two share its position and its [lock](File::lock). Reads and writes at the
    /// position take turns among those of one handle, and not between the two.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<File> {
        self.inner.try_clone().map(File::from)
    }

    /// Does on the pool what the system offers in blocking form alone.
    ///
    /// Not through another descriptor: there may be none left, and closing it would take from the process its record locks on
    /// the file (fcntl_locking(2)). So the call borrows this one, and the tasklet waits for it to return, whoever asks it to
    /// leave; where no thread has begun it by then, it is never made.
    #[allow(unsafe_code, reason = "the call borrows the file for as long as the wait lasts, which no type says")]
    pub(super) fn number_on_pool(
        &self,
        act: impl FnOnce(&std::fs::File) -> io::Result<usize> + Send + 'static,
    ) -> io::Result<usize> {
        // SAFETY: the copy is never dropped, and the file that it is a copy of is borrowed until `count` returns, which is
        // not before the call has been made or given up.
        let file = ManuallyDrop::new(unsafe { std::ptr::read(&self.inner) });
        let function = Box::new(move || act(&file));
        count(Op::Call { function, lane: Lane::Short }, None)
    }

    /// As [`File::number_on_pool`], where there is no number to bring.
    pub(super) fn on_pool(
        &self,
        act: impl FnOnce(&std::fs::File) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        self.number_on_pool(move |file| act(file).map(|()| 0)).map(drop)
    }

    fn read_from(&self, buffer: &mut [u8], offset: Option<u64>) -> io::Result<usize> {
        self.fill_from(fillable(buffer), offset)
    }

    fn fill_from(&self, buffer: &mut [MaybeUninit<u8>], offset: Option<u64>) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        count(Op::Read { file: raw_file(&self.inner), buffer, offset }, None)
    }

    fn read_vectored_from(&self, buffers: &mut [IoSliceMut<'_>], offset: Option<u64>) -> io::Result<usize> {
        let mut buffers: Box<[IoSliceMut<'_>]> =
            buffers.iter_mut().take(MOST_BUFFERS).map(|buffer| IoSliceMut::new(buffer)).collect();
        count(Op::ReadVectored { file: raw_file(&self.inner), buffers: &mut buffers, offset }, None)
    }

    fn write_to(&self, buffer: &[u8], offset: Option<u64>) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        count(Op::Write { file: raw_file(&self.inner), buffer, offset }, None)
    }

    fn write_vectored_to(&self, buffers: &[IoSlice<'_>], offset: Option<u64>) -> io::Result<usize> {
        let buffers: Box<[IoSlice<'_>]> = buffers.iter().take(MOST_BUFFERS).copied().collect();
        count(Op::WriteVectored { file: raw_file(&self.inner), buffers: &buffers, offset }, None)
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

impl Read for &File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_from(buffer, None)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_vectored_from(buffers, None)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        pieces::read_exact(buffer, |piece, _| self.read(piece))
    }

    /// Makes room for the whole rest of the file at once, as far as that is known; what has come stays, also where an error
    /// comes.
    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        pieces::read_to_end(bytes, self.remaining(), |room| self.fill_from(room, None))
    }

    fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        let read = String::from_utf8(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("the file is not UTF-8: {error}")))?;
        let length = read.len();
        if text.is_empty() {
            *text = read;
        } else {
            text.try_reserve(length)?;
            text.push_str(&read);
        }
        Ok(length)
    }
}

impl Write for &File {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_to(buffer, None)
    }

    fn write_all(&mut self, buffer: &[u8]) -> io::Result<()> {
        pieces::write_all(buffer, |piece, _| self.write(piece))
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_vectored_to(buffers, None)
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

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        (&*self).read_exact(buffer)
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

    fn write_all(&mut self, buffer: &[u8]) -> io::Result<()> {
        (&*self).write_all(buffer)
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

impl From<File> for std::process::Stdio {
    /// Gives the file to a child, as its standard input or output.
    fn from(file: File) -> std::process::Stdio {
        file.inner.into()
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
