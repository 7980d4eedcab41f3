//! Directories: listing and making them.
//!
//! A listing is read on the port's threads, a [`BATCH`] at a time: a directory of a million entries takes no more memory
//! than one of a thousand, its first entries are there at once, and others run between. A batch lies where the thread has
//! put it: a tasklet that is told to leave meanwhile loses none of it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::path::on_pool;

/// How many entries are read in one go: most directories have fewer, and then the call that opens one reads it all.
const BATCH: usize = 256;

/// The entries of a directory, in the system's order, without `.` and `..`. They are read as they are asked for; what
/// happens in the directory meanwhile may be seen or not.
///
/// ```
/// overlapped::run(|| {
///     let mut names = Vec::new();
///     for entry in overlapped::fs::read_dir(".")? {
///         let entry = entry?;
///         if entry.file_type()?.is_file() {
///             names.push(entry.file_name());
///         }
///     }
///     assert!(names.iter().any(|name| name == "Cargo.toml"));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// `NotADirectory`; as for [`metadata`](super::metadata).
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let listing = on_pool("list", &path, |path| {
        let mut listing = Listing { entries: Some(std::fs::read_dir(path)?), batch: VecDeque::new() };
        listing.read();
        Ok(listing)
    })?;
    Ok(ReadDir { path: path.as_ref().to_owned(), listing: Arc::new(Mutex::new(listing)) })
}

/// What is left of a directory's entries.
struct Listing {
    /// `None` past the last one.
    entries: Option<std::fs::ReadDir>,
    batch: VecDeque<io::Result<DirEntry>>,
}

impl Listing {
    /// Reads the next entries, unless some are there.
    fn read(&mut self) {
        let Some(entries) = self.entries.as_mut().filter(|_| self.batch.is_empty()) else { return };
        for _ in 0..BATCH {
            let Some(entry) = entries.next() else {
                self.entries = None;
                break;
            };
            self.batch.push_back(entry.map(DirEntry::new));
        }
    }
}

/// The entries of a directory: see [`read_dir`]. Each step may wait.
pub struct ReadDir {
    path: PathBuf,
    /// Held by the thread that reads, and by the tasklet when none does.
    listing: Arc<Mutex<Listing>>,
}

fn lock(listing: &Mutex<Listing>) -> MutexGuard<'_, Listing> {
    listing.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReadDir {
    /// What is there already: the outer `None` where more has to be read.
    fn at_hand(&self) -> Option<Option<io::Result<DirEntry>>> {
        // A thread that has it reads for a call that was left.
        let mut listing = self.listing.try_lock().ok()?;
        match listing.batch.pop_front() {
            None if listing.entries.is_some() => None,
            entry => Some(entry),
        }
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        loop {
            if let Some(entry) = self.at_hand() {
                return entry;
            }
            let listing = Arc::clone(&self.listing);
            let read = on_pool("list", &self.path, move |_| {
                lock(&listing).read();
                Ok(())
            });
            if let Err(error) = read {
                return Some(Err(error));
            }
        }
    }
}

impl std::iter::FusedIterator for ReadDir {}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadDir").field(&self.path).finish()
    }
}

/// What a directory has at one name: see [`read_dir`].
#[derive(Clone)]
pub struct DirEntry {
    inner: Arc<std::fs::DirEntry>,
    /// Asked for on the thread that has read the entry: most systems tell it in the listing, but not all.
    file_type: Option<FileType>,
}

impl DirEntry {
    fn new(entry: std::fs::DirEntry) -> DirEntry {
        DirEntry { file_type: entry.file_type().ok(), inner: Arc::new(entry) }
    }

    /// The directory's path, as it was given, and the name.
    pub fn path(&self) -> PathBuf {
        self.inner.path()
    }

    /// The name alone.
    pub fn file_name(&self) -> OsString {
        self.inner.file_name()
    }

    /// Whether it is a file, a directory, a symbolic link (which is not followed), … Mostly known already.
    ///
    /// # Errors
    /// As for [`DirEntry::metadata`].
    pub fn file_type(&self) -> io::Result<FileType> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => self.ask(|entry| entry.file_type()),
        }
    }

    /// What the system knows of it; of a symbolic link itself, where it is one. Only the calling tasklet waits.
    ///
    /// # Errors
    /// `NotFound` where it is gone by now; `PermissionDenied`, … as the system says.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.ask(|entry| entry.metadata())
    }

    /// The number of its inode, as the listing has it.
    #[cfg(unix)]
    pub fn ino(&self) -> u64 {
        std::os::unix::fs::DirEntryExt::ino(&*self.inner)
    }

    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&std::fs::DirEntry) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let entry = Arc::clone(&self.inner);
        on_pool("look at", self.path(), move |_| ask(&entry))
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirEntry").field(&self.path()).finish()
    }
}

/// How to make a directory, as [`std::fs::DirBuilder`].
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("a/b");
/// overlapped::run(|| {
///     overlapped::fs::DirBuilder::new().recursive(true).create(&path)?;
///     assert!(overlapped::fs::metadata(&path)?.is_dir());
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct DirBuilder {
    recursive: bool,
    #[cfg(unix)]
    mode: Option<u32>,
}

impl DirBuilder {
    /// Makes one directory, whose parent has to exist.
    pub fn new() -> DirBuilder {
        DirBuilder::default()
    }

    /// Makes those above that do not exist, too; one that exists is then no error.
    pub fn recursive(&mut self, recursive: bool) -> &mut DirBuilder {
        self.recursive = recursive;
        self
    }

    /// The permission bits of what is made, 0o777 unless told; the process's umask is taken from them.
    #[cfg(unix)]
    pub fn mode(&mut self, mode: u32) -> &mut DirBuilder {
        self.mode = Some(mode);
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// As for [`create_dir`](super::create_dir) and [`create_dir_all`](super::create_dir_all).
    pub fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(self.recursive);
        #[cfg(unix)]
        if let Some(mode) = self.mode {
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
        }
        on_pool("make the directory", path, move |path| builder.create(path))
    }
}
