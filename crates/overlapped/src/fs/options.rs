//! How to open a file.

use std::io;
use std::path::Path;

use overlapped_port::sys::{OpenHow, system_path};
use overlapped_port::{Op, OpenMode, Outcome};

use crate::blocking::attempt;
use crate::fs::File;
use crate::scheduler;

/// How to open a file, as [`std::fs::OpenOptions`].
///
/// ```
/// use std::io::Write;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("log");
/// overlapped::run(|| {
///     let mut log = overlapped::fs::OpenOptions::new().append(true).create(true).open(&path)?;
///     log.write_all(b"a line\n")
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    mode: OpenMode,
    #[cfg(unix)]
    flags: i32,
    #[cfg(unix)]
    permissions: u32,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// Nothing set: at least one of `read`, `write` and `append` must be.
    pub fn new() -> OpenOptions {
        OpenOptions {
            mode: OpenMode::default(),
            #[cfg(unix)]
            flags: 0,
            #[cfg(unix)]
            permissions: 0o666,
        }
    }

    /// To read.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.mode.read = read;
        self
    }

    /// To write, from the file's beginning over what is there.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.mode.write = write;
        self
    }

    /// To write at the file's end, wherever that is at the time of each write.
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.mode.append = append;
        self
    }

    /// Cuts the file to no bytes when it is opened; needs `write`.
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.mode.truncate = truncate;
        self
    }

    /// Makes the file where it does not exist; needs `write` or `append`.
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.mode.create = create;
        self
    }

    /// Makes the file and fails where it exists, in one step; `create` and `truncate` do not count then.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.mode.create_new = create_new;
        self
    }

    /// The permission bits of a file that is made, 0o666 unless told; the process's umask is taken from them.
    #[cfg(unix)]
    pub fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.permissions = mode;
        self
    }

    /// Further flags for open(2), such as `O_NOFOLLOW`; those for the access mode are ignored.
    #[cfg(unix)]
    pub fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.flags = flags;
        self
    }

    fn how(&self) -> io::Result<OpenHow> {
        let how = OpenHow::new(self.mode)?;
        #[cfg(unix)]
        let how = OpenHow { mode: self.permissions, ..how.with_flags(self.flags) };
        Ok(how)
    }

    /// Opens the file. Child processes do not inherit it.
    ///
    /// # Errors
    /// `InvalidInput` for options that make no sense together and for a path with a NUL byte; `NotFound`,
    /// `AlreadyExists`, `PermissionDenied`, … as the system says.
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        let (how, system_path) = (self.how()?, Box::new(system_path(path)?));
        match scheduler::current()?.operate(Op::Open { path: &system_path, how }, None) {
            Ok(Outcome::File(file)) => Ok(std::fs::File::from(file).into()),
            Ok(outcome) => unreachable!("an open brought {outcome:?}"),
            Err(error) => Err(attempt(error, || format!("open {}", path.display()))),
        }
    }
}
