//! What is done to a file or directory by its name, on the port's pool of threads.

use std::fs::{DirEntry, Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use crate::attempt::attempt;
use crate::offload::offload_io;

/// Does something with a path on the pool; only the calling tasklet waits.
fn on_pool<T: Send + 'static>(
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

/// Sets the permissions of the file at a path.
///
/// # Errors
/// As for [`metadata`].
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    on_pool("set the permissions of", path, |path| std::fs::set_permissions(path, permissions))
}

/// Removes a file. Handles that are open stay good.
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

/// Makes a directory.
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

/// Removes an empty directory.
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

/// The entries of a directory, read all at once. [`DirEntry::metadata`] blocks the thread: [`symlink_metadata`] of the
/// entry's path does not.
///
/// ```
/// overlapped::run(|| {
///     let names: Vec<_> = overlapped::fs::read_dir(".")?.map(|entry| Ok(entry?.file_name())).collect::<Result<_, std::io::Error>>()?;
///     assert!(names.iter().any(|name| name == "Cargo.toml"));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// `NotADirectory`; as for [`metadata`].
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<std::vec::IntoIter<io::Result<DirEntry>>> {
    on_pool("list", path, |path| Ok(std::fs::read_dir(path)?.collect::<Vec<_>>().into_iter()))
}
