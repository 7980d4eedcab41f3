//! Descriptors that the manager keeps for the service's next process: the descriptor store of
//! sd_pid_notify_with_fds(3).

use std::io;
use std::os::fd::BorrowedFd;

use super::listen::number;
use super::notify::{invalid, tell};

/// The longest name, in bytes.
const LONGEST: usize = 255;

/// Has the manager keep descriptors under a name (`FDSTORE=1`), for the next process of this service, which gets them
/// by [`listen_fds`](super::listen_fds): state that outlives a restart or a crash. This process keeps its own. Returns
/// whether there is a manager to ask; what it keeps it does not say: nothing where `FileDescriptorStoreMax=` is 0,
/// nothing beyond that number, and nothing twice. It lets go of one whose other side has hung up.
///
/// # Errors
/// `InvalidInput` for a name that is not 1 to 255 bytes of printable ASCII without colons, for no descriptor, and for
/// more than 253, or than [`store_limit`]. As for [`notify`](super::notify()).
///
/// ```
/// # overlapped::run(|| {
/// use std::os::fd::AsFd;
///
/// let listener = overlapped::net::TcpListener::bind("127.0.0.1:0")?;
/// overlapped::systemd::store("lines", &[listener.as_fd()])?;
/// # std::io::Result::Ok(())
/// # })?;
/// # std::io::Result::Ok(())
/// ```
pub fn store(name: &str, fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
    check(name)?;
    let limit = store_limit()?;
    if fds.is_empty() || limit.is_some_and(|limit| fds.len() > limit) {
        let limit = limit.map_or("253".to_owned(), |limit| limit.to_string());
        return Err(invalid(format!("{} descriptors to store, where 1 to {limit} can be", fds.len())));
    }
    tell(&format!("FDSTORE=1\nFDNAME={name}"), fds)
}

/// Has the manager let go of all that it keeps under a name (`FDSTOREREMOVE=1`).
///
/// # Errors
/// `InvalidInput` for a name as [`store`] would not have it. As for [`notify`](super::notify()).
pub fn unstore(name: &str) -> io::Result<bool> {
    check(name)?;
    tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[])
}

/// How many descriptors the manager keeps for this service (`FDSTORE`, which systemd sets since version 254, from
/// `FileDescriptorStoreMax=`); `None` where it does not say.
///
/// # Errors
/// `InvalidData` where the variable is no number.
pub fn store_limit() -> io::Result<Option<usize>> {
    Ok(number("FDSTORE")?.map(|limit| limit as usize))
}

/// Refuses a name that the manager would ignore, or could not find again.
fn check(name: &str) -> io::Result<()> {
    let is_allowed = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
    if (1..=LONGEST).contains(&name.len()) && name.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(invalid(format!(
        "{name:?} is no name for a descriptor: 1 to {LONGEST} bytes of printable ASCII without colons"
    )))
}
