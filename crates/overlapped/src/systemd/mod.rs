//! A service of systemd's: sockets that the manager passes, what it is told, and descriptors that it keeps.
//!
//! [`listen_fds`] takes the sockets that the manager has opened for this process (sd_listen_fds(3)): `LISTEN_PID` names
//! the process, `LISTEN_FDS` tells how many there are, from descriptor 3 on, and `LISTEN_FDNAMES` their names.
//! [`ready`], [`reloading`], [`stopping`], [`status`], [`main_process`] and [`watchdog`] tell the manager how the
//! service is (sd_notify(3)): datagrams to the socket that `NOTIFY_SOCKET` names. Where nobody wants to be told, they
//! do nothing and return false. [`store()`] has the manager keep descriptors, which the next process of the service
//! gets from [`listen_fds`] (`FileDescriptorStoreMax=`).
//!
//! A server of [`prefork`](crate::prefork) is one in two lines: [`listeners`] for
//! [`Builder::listen_all`](crate::prefork::Builder::listen_all), and
//! [`Builder::tell_systemd`](crate::prefork::Builder::tell_systemd).
//!
//! # Whose the descriptors are
//! They are taken once, and all or none. A number is believed only where its descriptor is open and will be inherited
//! on exec(3): so is what the manager passes, and nothing that this crate or the standard library opens. Taken, they
//! are not inherited any more.
//!
//! **Children** are not to take them for theirs. `LISTEN_PID` protects those that look at it; and once the
//! descriptors are taken, [`Command`](crate::process::Command) withholds the variables from what it starts, unless the
//! command sets them.
//!
//! **Rejected.**
//! - To remove the variables from this process's environment, as sd_listen_fds(3) can: another thread may read the
//!   environment meanwhile, from C too, which is why [`std::env::remove_var`] is unsafe. A safe function cannot know
//!   that there is no such thread. A program that calls exec(3) itself, in place of starting a child, keeps its process
//!   number and so hands the variables on: the program that it becomes has them, finds the descriptors closed, and is
//!   told that.
//! - libsystemd: the protocols are a few lines, promised to stay as they are (systemd's *Interface Portability and Stability
//!   Promise*), and its functions block the thread.
//! - Messages by `vsock:`, which a virtual machine sends to its host's manager: `Unsupported`.

mod listen;
mod notify;
mod store;

pub use self::listen::{Passed, Socket, listen_fds, listeners};
pub use self::notify::{main_process, notify, ready, reloading, status, stopping, watchdog, watchdog_interval};
pub use self::store::{store, store_limit, unstore};
