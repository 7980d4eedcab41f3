//! Socket addresses in the system's own form.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use socket2::{SockAddr, SockAddrStorage};

use crate::sys::{AddressLength, AddressStorage};

/// A socket address in the system's own form (`sockaddr_storage` with its length), which an operation can read or fill.
///
/// ```
/// use overlapped_port::Address;
/// let address = Address::from("127.0.0.1:80".parse::<std::net::SocketAddr>().unwrap());
/// assert_eq!(address.to_socket_addr().unwrap().port(), 80);
/// ```
#[derive(Clone)]
#[repr(C)]
pub struct Address {
    storage: AddressStorage,
    length: AddressLength,
}

impl Address {
    /// An empty address, to be filled.
    pub fn empty() -> Address {
        // SAFETY: all zeroes is a valid `sockaddr_storage`, of no family.
        Address { storage: unsafe { std::mem::zeroed() }, length: 0 }
    }

    /// The IPv4 or IPv6 address, if this is one.
    pub fn to_socket_addr(&self) -> Option<SocketAddr> {
        if self.length == 0 { None } else { self.to_sockaddr().as_socket() }
    }

    /// A copy in the form that the crate `socket2` has.
    pub fn to_sockaddr(&self) -> SockAddr {
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: both are the system's `sockaddr_storage`, and `length` is no longer than it (`set_length`).
        unsafe {
            *storage.view_as::<AddressStorage>() = self.storage;
            SockAddr::new(storage, self.length)
        }
    }

    /// The address's bytes, as long as the system said; empty where none was given.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `storage` is plain initialised memory, at least `length` bytes long (`set_length`).
        unsafe { std::slice::from_raw_parts((&raw const self.storage).cast(), self.length as usize) }
    }

    /// An address from the bytes of a `sockaddr`.
    ///
    /// # Errors
    /// `InvalidInput` where they are more than a `sockaddr_storage` holds.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Address> {
        let mut address = Address::empty();
        if bytes.len() > size_of::<AddressStorage>() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} bytes are too many for a socket address", bytes.len()),
            ));
        }
        // SAFETY: the length was checked against the storage, and the two cannot overlap.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut address.storage).cast(), bytes.len());
        }
        address.length = bytes.len() as AddressLength;
        Ok(address)
    }

    /// The system's pointer to read the address through, and its length.
    pub(crate) fn as_raw(&self) -> (*const AddressStorage, AddressLength) {
        (&raw const self.storage, self.length)
    }

    /// The pointers through which the system fills the address; the length is set to the room there is.
    pub(crate) fn as_raw_mut(&mut self) -> (*mut AddressStorage, *mut AddressLength) {
        self.length = size_of::<AddressStorage>() as AddressLength;
        (&raw mut self.storage, &raw mut self.length)
    }

    /// Takes over the length that the system reported elsewhere, cut to the room there is.
    pub(crate) fn set_length(&mut self, length: AddressLength) {
        self.length = length.min(size_of::<AddressStorage>() as AddressLength);
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::from(SockAddr::from(address))
    }
}

impl From<SockAddr> for Address {
    fn from(address: SockAddr) -> Address {
        // SAFETY: a `SockAddr` has `len` initialised bytes behind its pointer.
        let bytes = unsafe { std::slice::from_raw_parts(address.as_ptr().cast(), address.len() as usize) };
        Address::from_bytes(bytes).expect("a SockAddr is no longer than its storage")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_socket_addr() {
            Some(address) => address.fmt(f),
            None => write!(f, "Address({:?})", self.as_bytes()),
        }
    }
}
