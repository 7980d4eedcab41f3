//! Opens that cannot wait: of a regular file or a folder that exists, whose path the kernel has in its cache
//! (`RESOLVE_CACHED`, openat2(2), Linux 5.12), on a file system of this machine. And those that fail as soon: where the cache
//! knows that nothing has this name.
//!
//! **Elsewhere than at the root: a look first.** What a path names is found out without opening it (`O_PATH`), for to open a
//! device or a FIFO is an act: a tape winds back, a writer that waits goes on. The path is walked twice, and with the look's
//! descriptor that costs 2.2 times what open(2) does.
//!
//! **On the root's mount: once.** `RESOLVE_NO_XDEV` keeps an absolute path on the mount where it begins, so what is opened is
//! on a file system of which we know that it waits for nobody. What it is, is asked afterwards (statx(2)): 1.3 times open(2).
//! It may be
//!
//! - a FIFO. To write, or both ways, it is opened as it would have been by an open that waits. To read, nothing says whether a
//!   writer is there; a thread opens it once more and waits, and this reader stays until then. Nobody sees a difference:
//!   one that waits in open(2) counts as a reader already (`fifo_open`, fs/pipe.c).
//! - a device. Those are on a mount of their own (devtmpfs, devpts); a machine whose `/dev` is a plain folder at the root has
//!   the look first. One that somebody has put elsewhere on the root's file system (a `/dev` made for a chroot, seen from
//!   outside) is closed again and left to the thread: it is opened twice, the first time without a wait. That price is paid
//!   knowingly.
//!
//! **Never a wait.** Should the file be another one by the time of the open, `O_NONBLOCK` keeps that from waiting, as it does
//! where another process holds a lease (fcntl(2)); it is taken off again. A call more, but for no call of the owner's to find.
//!
//! Rejected: to remember which paths named files, for what they name now may be anything; to ask by path (statx(2) has no
//! form that stops at the end of the cache); io_uring's own open, which tries with `O_NONBLOCK` whatever it may be.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::sys::{OpenHow, OwnedFile, SystemPath};

/// What came of it.
pub(super) enum Open {
    Done(io::Result<usize>),
    /// It is a thread's, which then [learns](learn) of the file's device where that is unknown. Of a FIFO it keeps the
    /// `reader` until its own open has ended.
    MayWait {
        learns: bool,
        reader: Option<OwnedFile>,
    },
}

/// It is a thread's, and nothing is to be learnt.
const MAY_WAIT: Open = Open::MayWait { learns: false, reader: None };

/// Devices whose file systems are on this machine, 0 where there is room for one. What does not fit is opened by threads.
static LOCAL: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];

/// What is known of the root's mount.
static ROOT: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
/// It is on this machine, and `/dev` is another mount.
const FILES_ALONE: u8 = 1;
const LOOK_FIRST: u8 = 2;

/// File systems (`f_type`, statfs(2)) that wait for a disk of this machine at most, and not when the inode is in memory.
const LOCAL_TYPES: [u32; 12] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x794C_7630, // overlayfs
    0xF2F5_2010, // f2fs
    0x2FC1_2FC1, // zfs
    0xCA45_1A4E, // bcachefs
    0x7371_7368, // squashfs
    0xE0F5_E1E2, // erofs
    0x8584_58F6, // ramfs
    0x4D44,      // fat
];

pub(super) fn open(path: &SystemPath, how: OpenHow) -> Open {
    // What makes or cuts a file writes to the disk.
    if how.flags & (libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE | libc::O_PATH) != 0 {
        return MAY_WAIT;
    }
    if path.as_bytes().starts_with(b"/") && ROOT.load(Ordering::Relaxed) == FILES_ALONE {
        match resolve(path, how.flags | libc::O_NONBLOCK, libc::RESOLVE_NO_XDEV) {
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => {}
            Err(error) => return refused(error),
            Ok(file) => return found_at_root(file, how.flags),
        }
    }
    open_after_look(path, how.flags)
}

/// An open at the root has brought this.
fn found_at_root(file: OwnedFd, flags: c_int) -> Open {
    match look(file.as_raw_fd()) {
        Some((libc::S_IFREG | libc::S_IFDIR, device)) => {
            // The process may have another root by now (chroot(2)), and each layer of an overlay has a device of its own.
            if !is_local(device) && !note_if_local(file.as_raw_fd(), device) {
                ROOT.store(LOOK_FIRST, Ordering::Relaxed);
            }
            hand_out(file, flags)
        }
        Some((libc::S_IFIFO, _)) if flags & libc::O_NONBLOCK != 0 || flags & libc::O_ACCMODE != libc::O_RDONLY => {
            hand_out(file, flags)
        }
        Some((libc::S_IFIFO, _)) => Open::MayWait { learns: false, reader: Some(file) },
        _ => MAY_WAIT,
    }
}

fn open_after_look(path: &SystemPath, flags: c_int) -> Open {
    let looked = libc::O_PATH | libc::O_CLOEXEC | flags & (libc::O_NOFOLLOW | libc::O_DIRECTORY);
    let device = match resolve(path, looked, 0) {
        Err(error) => return refused(error),
        Ok(file) => match look(file.as_raw_fd()) {
            Some((libc::S_IFREG | libc::S_IFDIR, device)) => device,
            _ => return MAY_WAIT,
        },
    };
    if !is_local(device) {
        return Open::MayWait { learns: true, reader: None };
    }
    match resolve(path, flags | libc::O_NONBLOCK, 0) {
        Err(error) => refused(error),
        Ok(file) => hand_out(file, flags),
    }
}

/// The file as it was asked for.
fn hand_out(file: OwnedFd, flags: c_int) -> Open {
    if flags & libc::O_NONBLOCK == 0 {
        // SAFETY: the file is ours, and no memory is involved.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) };
    }
    Open::Done(Ok(file.into_raw_fd() as usize))
}

/// That there is no such name, the cache knows as well as the disk. What else was refused, the call that may wait explains.
fn refused(error: io::Error) -> Open {
    match error.raw_os_error() {
        Some(libc::ENOENT) => Open::Done(Err(error)),
        _ => MAY_WAIT,
    }
}

/// Notes the file's device where its file system is on this machine, and what the root is. It may wait for the disk.
pub(super) fn learn(file: usize) {
    let file = file as c_int;
    if let Some((libc::S_IFREG | libc::S_IFDIR, device)) = look(file)
        && !is_local(device)
    {
        note_if_local(file, device);
    }
    if ROOT.load(Ordering::Relaxed) == UNKNOWN {
        ROOT.store(if has_files_alone() { FILES_ALONE } else { LOOK_FIRST }, Ordering::Relaxed);
    }
}

/// Notes a device where the file on it says that its file system is on this machine; true where it does.
fn note_if_local(file: c_int, device: u64) -> bool {
    let mut found = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: there is room for the answer, which is read where the call has filled it.
    let is_local = unsafe { libc::fstatfs(file, found.as_mut_ptr()) == 0 && is_local_type(&found.assume_init()) };
    if is_local {
        // One that two threads learn at a time is there twice.
        let room = |place: &&AtomicU64| place.compare_exchange(0, device, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        LOCAL.iter().find(room);
    }
    is_local
}

fn is_local_type(found: &libc::statfs) -> bool {
    LOCAL_TYPES.contains(&(found.f_type as u32))
}

fn is_local(device: u64) -> bool {
    LOCAL.iter().any(|local| local.load(Ordering::Relaxed) == device)
}

/// Whether the root's mount is on this machine, and devices are elsewhere.
fn has_files_alone() -> bool {
    let mut found = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path ends with a NUL byte, and there is room for the answer, which is read where the call has filled it.
    let is_local =
        unsafe { libc::statfs(c"/".as_ptr(), found.as_mut_ptr()) == 0 && is_local_type(&found.assume_init()) };
    let device = |path| std::fs::metadata(path).map(|metadata| metadata.dev());
    is_local
        && match (device("/"), device("/dev")) {
            (Ok(root), Ok(devices)) => root != devices,
            (Ok(_), Err(error)) => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
}

/// openat2(2), through the cache alone. `EAGAIN` where that does not do.
fn resolve(path: &SystemPath, flags: c_int, resolve: u64) -> io::Result<OwnedFd> {
    // SAFETY: a value of zeroes is a valid one.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = flags as u64;
    how.resolve = libc::RESOLVE_CACHED | resolve;
    // SAFETY: `path` ends with a NUL byte, `how` is what the call takes, of that size; the descriptor is new, and this is
    // its only owner.
    unsafe {
        match libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const how, size_of_val(&how)) {
            ..0 => Err(io::Error::last_os_error()),
            opened => Ok(OwnedFd::from_raw_fd(opened as c_int)),
        }
    }
}

/// What an open file is (`S_IFMT`), and its device, without asking any server.
fn look(file: c_int) -> Option<(libc::mode_t, u64)> {
    let mut found = std::mem::MaybeUninit::<libc::statx>::uninit();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: the name is empty, and there is room for the answer, which is read where the call has filled it.
    let found = unsafe {
        if libc::statx(file, c"".as_ptr(), flags, libc::STATX_TYPE, found.as_mut_ptr()) != 0 {
            return None;
        }
        found.assume_init()
    };
    let device = u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor);
    Some((libc::mode_t::from(found.stx_mode) & libc::S_IFMT, device))
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs::File;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    use std::path::Path;

    use super::*;

    fn path(path: &Path) -> CString {
        CString::new(path.as_os_str().as_bytes()).unwrap()
    }

    fn reads() -> OpenHow {
        OpenHow { flags: libc::O_RDONLY | libc::O_CLOEXEC, mode: 0 }
    }

    /// A folder whose device is known; none where the kernel has no openat2(2), or a filter denies it.
    fn known_folder() -> Option<tempfile::TempDir> {
        let folder = tempfile::tempdir().unwrap();
        resolve(&path(folder.path()), libc::O_PATH, 0).ok()?;
        learn(File::open(folder.path()).unwrap().as_raw_fd() as usize);
        Some(folder)
    }

    fn fifo(folder: &Path) -> CString {
        let fifo = path(&folder.join("fifo"));
        // SAFETY: the path ends with a NUL byte.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        fifo
    }

    /// The same as `open`, once as at the root, whatever is there, and once after a look.
    fn both_ways(path: &CString, flags: c_int) -> [Open; 2] {
        let at_root = match resolve(path, flags | libc::O_NONBLOCK, libc::RESOLVE_NO_XDEV) {
            // Elsewhere than at the root it is found relative to nothing: without the rule it is the same walk.
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => resolve(path, flags | libc::O_NONBLOCK, 0),
            opened => opened,
        };
        [at_root.map_or_else(refused, |file| found_at_root(file, flags)), open_after_look(path, flags)]
    }

    #[test]
    fn a_file_of_a_known_device_is_opened_at_once_and_waits_as_any_other() {
        let Some(folder) = known_folder() else { return };
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for opened in both_ways(&path(&file), reads().flags) {
            let Open::Done(Ok(opened)) = opened else { panic!("its device is known") };
            // SAFETY: it was just opened.
            let opened = unsafe { OwnedFd::from_raw_fd(opened as c_int) };
            // SAFETY: a flag is asked for.
            let flags = unsafe { libc::fcntl(opened.as_raw_fd(), libc::F_GETFL) };
            assert_eq!(flags & (libc::O_NONBLOCK | libc::O_ACCMODE), libc::O_RDONLY);
        }
    }

    #[test]
    fn what_is_no_file_or_would_be_made_or_cut_is_a_threads() {
        let Some(folder) = known_folder() else { return };
        let file = path(&folder.path().join("file"));
        std::fs::write(folder.path().join("file"), "kept").unwrap();
        for path in [&fifo(folder.path()), &CString::from(c"/dev/null"), &CString::from(c"/proc/self/status")] {
            assert!(matches!(open(path, reads()), Open::MayWait { .. }), "{path:?}");
        }
        for flags in [libc::O_WRONLY | libc::O_TRUNC, libc::O_RDWR | libc::O_CREAT] {
            assert!(matches!(open(&file, OpenHow { flags, mode: 0o600 }), Open::MayWait { learns: false, .. }));
        }
        assert_eq!(std::fs::read(folder.path().join("file")).unwrap(), b"kept");
    }

    #[test]
    fn what_the_cache_knows_to_be_missing_is_an_error_at_once() {
        let Some(folder) = known_folder() else { return };
        let missing = folder.path().join("missing");
        // After this it is in the cache.
        assert!(!missing.exists());
        for opened in both_ways(&path(&missing), reads().flags) {
            assert!(matches!(opened, Open::Done(Err(error)) if error.kind() == io::ErrorKind::NotFound));
        }
    }

    #[test]
    fn a_fifo_at_the_root_has_a_reader_while_a_thread_waits_for_its_writer() {
        let Some(folder) = known_folder() else { return };
        let fifo = fifo(folder.path());
        let writer = || {
            let path = folder.path().join("fifo");
            File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path)
        };
        let [opened, _] = both_ways(&fifo, reads().flags);
        let Open::MayWait { reader: Some(reader), learns: false } = opened else { panic!("it may wait for a writer") };
        writer().unwrap();
        drop(reader);
        assert_eq!(writer().unwrap_err().raw_os_error(), Some(libc::ENXIO), "nobody reads any more");
        let [opened, _] = both_ways(&fifo, libc::O_WRONLY);
        assert!(matches!(opened, Open::MayWait { reader: None, .. }), "to write, it waits for a reader");
        let [opened, _] = both_ways(&fifo, libc::O_RDWR);
        let Open::Done(Ok(opened)) = opened else { panic!("both ways it never waits") };
        // SAFETY: it was just opened.
        drop(unsafe { OwnedFd::from_raw_fd(opened as c_int) });
    }

    #[test]
    fn a_device_among_the_files_is_a_threads() {
        let Some(folder) = known_folder() else { return };
        let device = folder.path().join("null");
        // SAFETY: the path ends with a NUL byte.
        let made = unsafe { libc::mknod(path(&device).as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 3)) };
        if made != 0 {
            return; // Only root makes devices, and not everywhere.
        }
        assert!(std::fs::metadata(&device).unwrap().file_type().is_char_device());
        for opened in both_ways(&path(&device), reads().flags) {
            assert!(matches!(opened, Open::MayWait { learns: false, reader: None }));
        }
    }
}
