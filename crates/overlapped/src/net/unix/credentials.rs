//! Who is at the other end.

use std::io;

use overlapped_port::sys::{peer_credentials, raw_socket};

use super::UnixStream;

/// The process at the other end of a stream, as it was when it connected or listened, or made the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UCred {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its number, where the system tells it (Linux). It may have ended meanwhile, and the number be another's.
    pub pid: Option<i32>,
}

impl UnixStream {
    /// Who is at the other end (`SO_PEERCRED`, unix(7); elsewhere getpeereid(3)).
    ///
    /// ```
    /// let (one, _other) = overlapped::net::UnixStream::pair()?;
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(one.peer_cred()?.pid, Some(std::process::id() as i32));
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// What the system says.
    pub fn peer_cred(&self) -> io::Result<UCred> {
        let (uid, gid, pid) = peer_credentials(raw_socket(self))?;
        Ok(UCred { uid, gid, pid })
    }
}
