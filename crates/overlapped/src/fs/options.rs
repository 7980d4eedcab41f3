//! How to open a file.

use std::io;
use std::path::Path;

use overlapped_port::sys::{OpenHow, system_path};
use overlapped_port::{Op, OpenMode, Outcome};

use crate::attempt::attempt;
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
    system: System,
}

/// What only one family of systems knows.
#[cfg(unix)]
#[derive(Clone, Debug)]
struct System {
    flags: i32,
    permissions: u32,
}

/// What only one family of systems knows.
#[cfg(windows)]
#[derive(Clone, Debug, Default)]
struct System {
    access: Option<u32>,
    share: Option<u32>,
    flags: u32,
    attributes: u32,
}

#[cfg(unix)]
impl Default for System {
    fn default() -> System {
        System { flags: 0, permissions: 0o666 }
    }
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// Nothing set: at least one of `read`, `write` and `append` must be.
    pub fn new() -> OpenOptions {
        OpenOptions { mode: OpenMode::default(), system: System::default() }
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

    /// Opens the file. Child processes do not inherit it.
    ///
    /// # Errors
    /// `InvalidInput` for options that make no sense together and for a path with a NUL byte; `NotFound`,
    /// `AlreadyExists`, `PermissionDenied`, … as the system says.
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        let (how, system_path) = (self.how()?, Box::new(system_path(path)?));
        match scheduler::current()?.perform(Op::Open { path: &system_path, how }, None) {
            Ok(Outcome::File(file)) => Ok(std::fs::File::from(file).into()),
            Ok(outcome) => unreachable!("an open brought {outcome:?}"),
            Err(error) => Err(attempt(error, || format!("open {}", path.display()))),
        }
    }
}

#[cfg(unix)]
impl OpenOptions {
    /// The permission bits of a file that is made, 0o666 unless told; the process's umask is taken from them.
    pub fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.system.permissions = mode;
        self
    }

    /// Further flags for open(2), such as `O_NOFOLLOW`; those for the access mode are ignored.
    pub fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.system.flags = flags;
        self
    }

    /// Gives a file that is made the permission bits of another one.
    pub(super) fn made_like(&mut self, metadata: &std::fs::Metadata) -> &mut OpenOptions {
        self.mode(std::os::unix::fs::MetadataExt::mode(metadata) & 0o777)
    }

    fn how(&self) -> io::Result<OpenHow> {
        let how = OpenHow::new(self.mode)?.with_flags(self.system.flags);
        Ok(OpenHow { mode: self.system.permissions, ..how })
    }
}

/// As in the standard library's `OpenOptionsExt` for Windows; the names and numbers are those of CreateFileW.
#[cfg(windows)]
impl OpenOptions {
    /// The access asked for (`dwDesiredAccess`), instead of what `read`, `write` and `append` stand for.
    pub fn access_mode(&mut self, access: u32) -> &mut OpenOptions {
        self.system.access = Some(access);
        self
    }

    /// What others may do while the file is open (`dwShareMode`): all of it unless told, 0 for nothing.
    pub fn share_mode(&mut self, share: u32) -> &mut OpenOptions {
        self.system.share = Some(share);
        self
    }

    /// Further flags (`dwFlagsAndAttributes`), such as `FILE_FLAG_DELETE_ON_CLOSE`. `FILE_FLAG_OVERLAPPED` is always
    /// set.
    pub fn custom_flags(&mut self, flags: u32) -> &mut OpenOptions {
        self.system.flags = flags;
        self
    }

    /// The attributes of a file that is made (`dwFlagsAndAttributes`), such as `FILE_ATTRIBUTE_HIDDEN`.
    pub fn attributes(&mut self, attributes: u32) -> &mut OpenOptions {
        self.system.attributes = attributes;
        self
    }

    /// On Unix, gives a file that is made the permission bits of another one. Here there are none: who may read it is
    /// inherited from its directory, as CopyFileExW leaves it too.
    pub(super) fn made_like(&mut self, _metadata: &std::fs::Metadata) -> &mut OpenOptions {
        self
    }

    fn how(&self) -> io::Result<OpenHow> {
        let System { access, share, flags, attributes } = self.system;
        // Where the access is given in full, none of the three is needed.
        let read = self.mode.read || access.is_some();
        let how = OpenHow::new(OpenMode { read, ..self.mode })?.with_flags(flags | attributes);
        Ok(OpenHow { access: access.unwrap_or(how.access), share: share.unwrap_or(how.share), ..how })
    }
}
