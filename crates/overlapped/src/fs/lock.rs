//! Locks of whole files: who has one keeps other processes out, as far as they ask for it too.
//!
//! **A lock is tried, again and again.** The system tells nobody that one is free. Whoever waits tries at growing intervals,
//! from half a millisecond to ten; where many of a thread wait, so much less often that they try some two thousand times a
//! second together. So a lock that was released is taken soon and not at once, and who waits longest is not always first,
//! as with the system's own wait. A wait costs no thread, holds back nothing, and leaves nothing behind where it ends
//! early.
//!
//! Rejected: a thread that waits in flock(2). Where its tasklet is told to leave, nothing gets it out of there: it would
//! take the lock later, for nobody; and to give it back would be wrong if the same open file has been locked again
//! meanwhile. There is no overlapped form but on Windows (LockFileEx), where the wait would then be another than elsewhere.
//!
//! Each try is made on the port's threads: the server of a network file system has to be asked.

use std::cell::Cell;
use std::fs::TryLockError;
use std::io;
use std::time::{Duration, Instant};

use overlapped_port::sim::now;
use overlapped_port::sys::disk;

use super::File;
use crate::interrupt::Telling;
use crate::scheduler::{told, wait};
use crate::time::uncancellable;

/// How long to wait for the second try, and how long at most before another where few wait.
const PAUSES: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(10));

/// How much longer that is for each that waits.
const A_WAITER: Duration = Duration::from_micros(500);

thread_local! {
    /// How many tasklets of this thread wait for a lock.
    static WAITING: Cell<u32> = const { Cell::new(0) };
}

/// One that waits, until it is dropped.
struct Waits;

impl Waits {
    fn new() -> Waits {
        WAITING.set(WAITING.get() + 1);
        Waits
    }

    /// How long it waits for its next try, at most.
    fn longest(&self) -> Duration {
        PAUSES.1.max(A_WAITER * WAITING.get())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        WAITING.set(WAITING.get() - 1);
    }
}

/// Waits until `deadline`.
fn pause(deadline: Instant) -> io::Result<()> {
    while now() < deadline {
        wait(Telling::Error, Some(deadline), "file lock").map_err(told)?;
    }
    Ok(())
}

/// Locks, as the standard library has them: of the whole file, between processes and between handles that were opened by
/// themselves; of a [clone](File::try_clone) the lock is the same. It ends with [`File::unlock`], or when the last handle of
/// this open file is closed.
///
/// On Unix such a lock is advice (flock(2)): it keeps out those that ask for it. On Windows (LockFileEx) it keeps other
/// handles from reading and writing too, or, where it is shared, from writing.
impl File {
    /// Takes the file's lock for this handle alone, waiting for it. Released, it is had within some milliseconds: the system
    /// tells nobody, so it is asked again and again. A handle that has a lock already changes it on Unix; on Windows it waits
    /// for itself.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("journal");
    /// overlapped::run(|| {
    ///     let journal = overlapped::fs::File::create(&path)?;
    ///     journal.lock()?;
    ///     let other = overlapped::fs::File::open(&path)?;
    ///     let waits = overlapped::spawn(move || other.lock_shared());
    ///     journal.unlock()?;
    ///     waits.join().unwrap()
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `Unsupported` where the file system has no locks; where the tasklet is told to leave, and it has no lock then; what
    /// the system says.
    pub fn lock(&self) -> io::Result<()> {
        self.wait_for_lock(false)
    }

    /// Takes the file's lock together with others that take it so, waiting until nobody has it alone. As [`File::lock`].
    ///
    /// # Errors
    /// As for [`File::lock`].
    pub fn lock_shared(&self) -> io::Result<()> {
        self.wait_for_lock(true)
    }

    /// Takes the file's lock for this handle alone if nobody has it.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] where somebody has it; as for [`File::lock`].
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        self.try_to_lock(false)
    }

    /// Takes the file's lock together with others that take it so, if nobody has it alone.
    ///
    /// # Errors
    /// As for [`File::try_lock`].
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.try_to_lock(true)
    }

    /// Gives the lock back, also where the tasklet is told to leave.
    ///
    /// # Errors
    /// What the system says; on Windows, where this handle has no lock.
    pub fn unlock(&self) -> io::Result<()> {
        uncancellable(|| self.on_pool(disk::unlock))
    }

    fn try_to_lock(&self, shared: bool) -> Result<(), TryLockError> {
        let taken = self.number_on_pool(move |file| match disk::try_lock(file, shared) {
            Ok(()) => Ok(1),
            Err(TryLockError::WouldBlock) => Ok(0),
            Err(TryLockError::Error(error)) => Err(error),
        });
        match taken {
            Ok(0) => Err(TryLockError::WouldBlock),
            Ok(_) => Ok(()),
            Err(error) => Err(TryLockError::Error(error)),
        }
    }

    fn wait_for_lock(&self, shared: bool) -> io::Result<()> {
        let waits = Waits::new();
        let mut length = PAUSES.0;
        loop {
            match self.try_to_lock(shared) {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => pause(now() + length)?,
            }
            length = (2 * length).min(waits.longest());
        }
    }
}
