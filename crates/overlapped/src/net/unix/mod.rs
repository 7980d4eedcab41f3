//! Unix sockets: streams and datagrams within one machine, under paths of the file system or abstract names (unix(7)).

mod address;
mod credentials;
mod datagram;
mod rights;
mod stream;

pub(crate) use address::of_path;
pub use credentials::UCred;
pub use datagram::UnixDatagram;
pub use rights::WithFds;
pub use stream::{UnixIncoming, UnixListener, UnixStream};
