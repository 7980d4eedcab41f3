//! Beginning to open a file, on Unix.
//!
//! An open may wait: for a FIFO's other end, a device, a disk, a dead mount. So it is a thread's business, of which the pool
//! has more when they are stuck. (io_uring's own way would wait on a thread of the kernel's, of which it has as many for this
//! as for all file work: eight opens of FIFOs would stop all of it.) The thread has a path of its own, for it may still wait
//! for the other end of a FIFO when the operation was cancelled and is over.
//!
//! Most opens need not wait, and the way to a thread and back costs several times what they do. Linux can tell beforehand
//! ([`cached`]).

use super::Started;
use crate::sys::{self, OpenHow, SystemPath};

/// Opens the file at once where that cannot wait, else hands it to a thread.
pub(super) fn open(path: &SystemPath, how: OpenHow) -> Started {
    let learns = match cached::open(path, how) {
        cached::Open::Done(file) => return Started::Done(Ok(file), None),
        cached::Open::MayWait { learns } => learns,
    };
    let path = path.clone();
    Started::Open(Box::new(move |patience| {
        let file = sys::open(&path, how, patience)?;
        if learns {
            cached::learn(file);
        }
        Ok(file)
    }))
}

/// Opens that cannot wait: of a regular file or a directory that exists, whose path the kernel has in its cache
/// (`RESOLVE_CACHED`, openat2(2), Linux 5.12), on a file system of this machine.
///
/// What a path names is found out without opening it (`O_PATH`), for to open a device or a FIFO is an act: a tape winds
/// back, a writer that waits goes on. Should it be another one by the time of the
/// open, `O_NONBLOCK` keeps that from waiting, as it does where another process holds a lease (fcntl(2)); it is taken off
/// again.
#[cfg(target_os = "linux")]
mod cached {
    use std::ffi::c_int;
    use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::sys::{OpenHow, SystemPath};

    /// What came of it.
    pub(super) enum Open {
        Done(usize),
        /// It is a thread's, which then [learns](learn) of the file's device where that is unknown.
        MayWait {
            learns: bool,
        },
    }

    /// Devices whose file systems are on this machine, 0 where there is room for one. What does not fit is opened by threads.
    static LOCAL: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];

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
            return Open::MayWait { learns: false };
        }
        let device = look(path, how.flags);
        if !device.is_some_and(is_local) {
            return Open::MayWait { learns: device.is_some() };
        }
        let Some(file) = open_cached(path, how.flags | libc::O_NONBLOCK) else {
            return Open::MayWait { learns: false };
        };
        if how.flags & libc::O_NONBLOCK == 0 {
            // SAFETY: the file is ours, and no memory is involved.
            unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, how.flags) };
        }
        Open::Done(file.into_raw_fd() as usize)
    }

    /// Notes the file's device where its file system is on this machine.
    pub(super) fn learn(file: usize) {
        let mut found = std::mem::MaybeUninit::<libc::statfs>::uninit();
        // SAFETY: there is room for the answer, which is read where the call has filled it.
        let kind = unsafe {
            if libc::fstatfs(file as c_int, found.as_mut_ptr()) != 0 {
                return;
            }
            found.assume_init().f_type as u32
        };
        let device = device(file as c_int).filter(|device| LOCAL_TYPES.contains(&kind) && !is_local(*device));
        if let Some(device) = device {
            // One that two threads learn at a time is there twice.
            let room =
                |place: &&AtomicU64| place.compare_exchange(0, device, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            LOCAL.iter().find(room);
        }
    }

    fn is_local(device: u64) -> bool {
        LOCAL.iter().any(|local| local.load(Ordering::Relaxed) == device)
    }

    /// The device of the regular file or directory at `path`, where the kernel knows without a wait.
    fn look(path: &SystemPath, flags: c_int) -> Option<u64> {
        let look = libc::O_PATH | libc::O_CLOEXEC | flags & (libc::O_NOFOLLOW | libc::O_DIRECTORY);
        device(open_cached(path, look)?.as_raw_fd())
    }

    /// openat2(2), through the cache alone. What it refuses, the call that may wait explains.
    fn open_cached(path: &SystemPath, flags: c_int) -> Option<OwnedFd> {
        // SAFETY: a value of zeroes is a valid one.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = flags as u64;
        how.resolve = libc::RESOLVE_CACHED;
        // SAFETY: `path` ends with a NUL byte, `how` is what the call takes, of that size; the descriptor is new, and this is
        // its only owner.
        unsafe {
            let opened =
                libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const how, size_of_val(&how));
            (opened >= 0).then(|| OwnedFd::from_raw_fd(opened as c_int))
        }
    }

    /// The device of an open regular file or directory, without asking any server.
    fn device(file: c_int) -> Option<u64> {
        let mut found = std::mem::MaybeUninit::<libc::statx>::uninit();
        let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
        // SAFETY: the name is empty, and there is room for the answer, which is read where the call has filled it.
        let found = unsafe {
            if libc::statx(file, c"".as_ptr(), flags, libc::STATX_TYPE, found.as_mut_ptr()) != 0 {
                return None;
            }
            found.assume_init()
        };
        let kind = u32::from(found.stx_mode) & libc::S_IFMT;
        matches!(kind, libc::S_IFREG | libc::S_IFDIR)
            .then(|| u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor))
    }

    #[cfg(test)]
    mod tests {
        use std::ffi::CString;
        use std::os::unix::ffi::OsStrExt;
        use std::path::Path;

        use super::*;

        fn path(path: &Path) -> CString {
            CString::new(path.as_os_str().as_bytes()).unwrap()
        }

        fn reads() -> OpenHow {
            OpenHow { flags: libc::O_RDONLY | libc::O_CLOEXEC, mode: 0 }
        }

        #[test]
        fn a_file_of_a_known_device_is_opened_at_once_and_waits_as_any_other() {
            let file = tempfile::NamedTempFile::new().unwrap();
            let path = path(file.path());
            if look(&path, 0).is_none() {
                return; // The kernel has no openat2, or a filter denies it.
            }
            learn(file.as_file().as_raw_fd() as usize);
            let Open::Done(opened) = open(&path, reads()) else { panic!("its device is known") };
            // SAFETY: it was just opened.
            let opened = unsafe { OwnedFd::from_raw_fd(opened as c_int) };
            // SAFETY: a flag is asked for.
            let flags = unsafe { libc::fcntl(opened.as_raw_fd(), libc::F_GETFL) };
            assert_eq!(flags & (libc::O_NONBLOCK | libc::O_ACCMODE), libc::O_RDONLY);
        }

        #[test]
        fn what_is_no_file_or_would_be_made_or_cut_is_a_threads() {
            let directory = tempfile::tempdir().unwrap();
            let fifo = path(&directory.path().join("fifo"));
            // SAFETY: the path ends with a NUL byte.
            assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
            let file = path(&directory.path().join("file"));
            std::fs::write(directory.path().join("file"), "kept").unwrap();
            let missing = path(&directory.path().join("missing"));
            for path in [&fifo, &missing, &CString::from(c"/dev/null"), &CString::from(c"/proc/self/status")] {
                assert!(matches!(open(path, reads()), Open::MayWait { .. }), "{path:?}");
            }
            for flags in [libc::O_WRONLY | libc::O_TRUNC, libc::O_RDWR | libc::O_CREAT] {
                assert!(matches!(open(&file, OpenHow { flags, mode: 0o600 }), Open::MayWait { learns: false }));
            }
            assert_eq!(std::fs::read(directory.path().join("file")).unwrap(), b"kept");
        }
    }
}

/// Elsewhere nothing tells.
#[cfg(not(target_os = "linux"))]
mod cached {
    use crate::sys::{OpenHow, SystemPath};

    pub(super) enum Open {
        #[allow(dead_code, reason = "nothing says that it need not wait")]
        Done(usize),
        MayWait {
            learns: bool,
        },
    }

    pub(super) fn open(_: &SystemPath, _: OpenHow) -> Open {
        Open::MayWait { learns: false }
    }

    pub(super) fn learn(_: usize) {}
}
