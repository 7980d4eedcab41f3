//! What a file is going to need, told to the system beforehand.

use std::io;

use overlapped_port::sys::disk;
pub use overlapped_port::sys::disk::Advice;

use super::File;

impl File {
    /// Sees to it that `length` bytes from `offset` on have their place on the disk: writing there does not fail for want of
    /// room. A file that ends before them becomes longer, with zeroes; no byte changes. fallocate(2), posix_fallocate(2),
    /// `F_PREALLOCATE`, SetEndOfFile.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("download");
    /// overlapped::run(|| {
    ///     let file = overlapped::fs::File::create(&path)?;
    ///     match file.allocate(0, 1 << 20) {
    ///         Ok(()) => assert_eq!(file.metadata()?.len(), 1 << 20),
    ///         // Not every file system can.
    ///         Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Unsupported),
    ///     }
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `StorageFull`; `InvalidInput` for a length of 0; `Unsupported` where the file system cannot; what the system says.
    pub fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.on_pool(move |file| disk::allocate(file, offset, length))
    }

    /// Tells the system how `length` bytes from `offset` on are going to be used, so that it reads ahead as fits, or frees
    /// what its cache has of them (posix_fadvise(2)); a length of 0 is up to the end. It changes no byte. Windows and macOS
    /// have no such call, and there it does nothing.
    ///
    /// ```
    /// use overlapped::fs::{Advice, File};
    ///
    /// overlapped::run(|| {
    ///     let file = File::open("Cargo.toml")?;
    ///     file.advise(0, 0, Advice::Sequential)
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// What the system says: a pipe can be given no advice.
    pub fn advise(&self, offset: u64, length: u64, advice: Advice) -> io::Result<()> {
        self.on_pool(move |file| disk::advise(file, offset, length, advice))
    }
}
