//! What is done to a file or directory by its name, on the port's pool of threads.

use std::fs::{Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use crate::attempt::attempt;
use crate::offload::offload_io;

/// Does something with a path on the pool; only the calling tasklet waits.
pub(super) fn on_pool<T: Send + 'static>(
    what: &'static str,
    path: impl AsRef<Path>,
    act: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.as_ref();
    let theirs = path.to_owned();
    offload_io(move || act(&theirs)).map_err(|error| attempt(error, || format!("{what} {}", path.display())))
}

/// What the system knows of the file at a path; of what a symbolic link points to, where it is one.
///
/// # Errors
/// `NotFound`, `PermissionDenied`, … as the system says.
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    on_pool("look at", path, |path| std::fs::metadata(path))
}

/// What the system knows of the file at a path; of a symbolic link itself, where it is one.
///
/// # Errors
/// As for [`metadata`].
pub fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    on_pool("look at", path, |path| std::fs::symlink_metadata(path))
}

/// Whether there is something at a path; at what a symbolic link points to, where it is one.
///
/// ```
/// overlapped::run(|| {
///     assert!(overlapped::fs::exists("Cargo.toml")?);
///     assert!(!overlapped::fs::exists("Cargo.toml.gone")?);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Where that cannot be told: `PermissionDenied`, … as the system says.
pub fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    on_pool("look at", path, |path| std::fs::exists(path))
}

/// Sets the permissions of the file at a path.
///
/// # Errors
/// As for [`metadata`].
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    on_pool("set the permissions of", path, |path| std::fs::set_permissions(path, permissions))
}

/// Removes a file, or a symbolic link itself; on Windows, one to a directory is removed by [`remove_dir`]. Handles that are
/// open stay good.
///
/// # Errors
/// As for [`metadata`].
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    on_pool("remove", path, |path| std::fs::remove_file(path))
}

/// Gives a file or directory another name, replacing a file that has it.
///
/// # Errors
/// As for [`metadata`]; `CrossesDevices` where the two names are on different file systems.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let to = to.as_ref().to_owned();
    on_pool("rename", from, |from| std::fs::rename(from, to))
}

/// Gives a file a second name.
///
/// # Errors
/// As for [`rename`]; `AlreadyExists` where that name is taken.
pub fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let link = link.as_ref().to_owned();
    on_pool("link", original, |original| std::fs::hard_link(original, link))
}

/// What a symbolic link points to.
///
/// # Errors
/// `InvalidInput` where it is none; as for [`metadata`].
pub fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    on_pool("read the link", path, |path| std::fs::read_link(path))
}

/// The path from the root, without symbolic links.
///
/// # Errors
/// As for [`metadata`].
pub fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    on_pool("resolve", path, |path| std::fs::canonicalize(path))
}

/// Makes a directory. [`DirBuilder`](super::DirBuilder) has more to say about it.
///
/// # Errors
/// `AlreadyExists`; `NotFound` where its parent does not exist; as for [`metadata`].
pub fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    on_pool("make the directory", path, |path| std::fs::create_dir(path))
}

/// Makes a directory and those above it that do not exist; one that exists is no error.
///
/// # Errors
/// As for [`metadata`].
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    on_pool("make the directory", path, |path| std::fs::create_dir_all(path))
}

/// Removes an empty directory; on Windows, a symbolic link to a directory too.
///
/// # Errors
/// `DirectoryNotEmpty`; as for [`metadata`].
pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    on_pool("remove the directory", path, |path| std::fs::remove_dir(path))
}

/// Removes a directory and all that is in it. Where the calling tasklet is cancelled, it goes on.
///
/// # Errors
/// As for [`metadata`].
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    on_pool("remove the directory", path, |path| std::fs::remove_dir_all(path))
}

/// Makes a symbolic link at `link`, which points to `original`, be that there or not.
///
/// # Errors
/// `AlreadyExists` where the name is taken; as for [`metadata`].
#[cfg(unix)]
pub fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let original = original.as_ref().to_owned();
    on_pool("make the link", link, |link| std::os::unix::fs::symlink(original, link))
}

/// Gives the file at a path to another user and group; `None` leaves that as it is.
///
/// # Errors
/// `PermissionDenied`, mostly for all but the superuser; as for [`metadata`].
#[cfg(unix)]
pub fn chown(path: impl AsRef<Path>, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    on_pool("change the owner of", path, move |path| std::os::unix::fs::chown(path, user, group))
}

/// As [`chown`], of a symbolic link itself, where it is one.
///
/// # Errors
/// As for [`chown`].
#[cfg(unix)]
pub fn lchown(path: impl AsRef<Path>, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    on_pool("change the owner of", path, move |path| std::os::unix::fs::lchown(path, user, group))
}

/// Makes a symbolic link at `link` to a file, be that there or not.
///
/// # Errors
/// `AlreadyExists` where the name is taken; `PermissionDenied` for users who may make no links; as for [`metadata`].
#[cfg(windows)]
pub fn symlink_file(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let original = original.as_ref().to_owned();
    on_pool("make the link", link, |link| std::os::windows::fs::symlink_file(original, link))
}

/// Makes a symbolic link at `link` to a directory, be that there or not.
///
/// # Errors
/// As for [`symlink_file`].
#[cfg(windows)]
pub fn symlink_dir(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let original = original.as_ref().to_owned();
    on_pool("make the link", link, |link| std::os::windows::fs::symlink_dir(original, link))
}
