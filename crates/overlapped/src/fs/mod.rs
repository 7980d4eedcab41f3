//! Files shaped as in [`std::fs`], whose waits are those of the calling tasklet alone.
//!
//! Opening, reading, writing and syncing go through the thread's completion port. What the system offers in blocking form
//! alone (names, directories, truncation, times, locks) runs on the port's pool of threads ([`offload`](crate::offload())).
//! Moving a file's position and asking an open file for its metadata are direct calls: they only read what the system
//! has in memory. A wait for a [lock](File::lock) takes no thread.
//!
//! Nothing here opens a second descriptor of a file that is open ([`File::try_clone`] is asked to): record locks of the
//! process (fcntl_locking(2)) stay, and no call fails for want of a descriptor but those that open a file.
//!
//! Calls that go on to the end ([`read()`], [`write()`], `read_to_end`, `read_exact`, `write_all`, …) move a MiB at a time and
//! let others run between; a single `read` or `write` moves as much as it is asked to, and where the system has that in its
//! cache, the thread is held for as long as copying it takes. Where there is no memory for what a file holds, that is an
//! error, `OutOfMemory`.
//!
//! Errors are the system's, with its number, as in the standard library; [`attempted`](crate::attempted) tells with which path
//! one came.
//!
//! Reads and writes without an offset move the file's own position. Those through one handle take turns, in the order in
//! which they were asked for. Handles that
//! share it ([`File::try_clone`]) do not with io_uring, and two may then read or write the same place at once: such
//! tasklets want [`File::read_at`] and [`File::write_at`], or append.
//!
//! ```
//! use std::io::{Read, Seek, SeekFrom, Write};
//! use overlapped::fs::{self, File};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("greeting");
//! overlapped::run(|| {
//!     let mut file = File::options().read(true).write(true).create(true).open(&path)?;
//!     file.write_all(b"hello, file")?;
//!     file.seek(SeekFrom::End(-4))?;
//!     let mut end = String::new();
//!     file.read_to_string(&mut end)?;
//!     assert_eq!(end, "file");
//!     assert_eq!(fs::read(&path)?, b"hello, file");
//!     std::io::Result::Ok(())
//! })?;
//! # std::io::Result::Ok(())
//! ```

mod directory;
mod file;
mod lock;
mod options;
mod path;
mod pieces;
mod space;

pub use directory::{DirBuilder, DirEntry, ReadDir, read_dir};
pub use file::File;
pub use options::OpenOptions;
pub use path::{
    canonicalize, create_dir, create_dir_all, exists, hard_link, metadata, read_link, remove_dir, remove_dir_all,
    remove_file, rename, set_permissions, symlink_metadata,
};
#[cfg(unix)]
pub use path::{chown, lchown, symlink};
#[cfg(windows)]
pub use path::{symlink_dir, symlink_file};
pub use space::Advice;

use std::io::{self, Read, Write};
use std::path::Path;

/// The length of one read and one write of [`copy`], in bytes.
const PIECE: usize = 128 << 10;

/// Reads a whole file.
///
/// ```
/// overlapped::run(|| {
///     let manifest = overlapped::fs::read("Cargo.toml")?;
///     assert!(manifest.starts_with(b"[package]"));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// As for [`File::open`] and for reading.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a whole file of UTF-8 text.
///
/// # Errors
/// As for [`read`]; `InvalidData` where it is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Makes a file of these bytes; one that exists is replaced.
///
/// # Errors
/// As for [`File::create`] and for writing; the file may then have a part of the bytes.
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    File::create(path)?.write_all(contents.as_ref())
}

/// Copies a file's bytes and its permissions; a file at `to` is replaced, and one that is made has the permissions from the
/// beginning: at no time may somebody read it who may not read `from`. Returns how many bytes. Works in pieces of 128 KiB,
/// between which other tasklets run.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let to = folder.path().join("copy");
/// overlapped::run(|| {
///     let copied = overlapped::fs::copy("Cargo.toml", &to)?;
///     assert_eq!(copied, overlapped::fs::metadata("Cargo.toml")?.len());
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// `InvalidInput` where `from` is no regular file; as for [`File::open`], [`File::create`], reading and writing.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = (from.as_ref(), to.as_ref());
    let mut reader = File::open(from)?;
    let metadata = reader.metadata()?;
    if !metadata.is_file() {
        let message = format!("copy {}: it is no regular file", from.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut writer = File::options().write(true).create(true).truncate(true).made_like(&metadata).open(to)?;
    // One that was there had its own, and the umask takes from one that is made. A device at `to` keeps its own.
    if writer.metadata()?.is_file() {
        writer.set_permissions(metadata.permissions())?;
    }
    let mut piece = vec![0; PIECE];
    let mut copied = 0;
    loop {
        let length = reader.read(&mut piece)?;
        if length == 0 {
            return Ok(copied);
        }
        writer.write_all(&piece[..length])?;
        copied += length as u64;
    }
}
