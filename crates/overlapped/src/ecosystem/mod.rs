//! Other people's crates on tasklets.
//!
//! **Blocking crates** need nothing from here: whatever is generic over [`Read`](std::io::Read) and [`Write`](std::io::Write)
//! takes a [`TcpStream`](crate::net::TcpStream) as it is (rustls's `StreamOwned`, tungstenite, native-tls), and only the calling
//! tasklet waits.
//!
//! **Futures** that belong to no runtime are waited for by [`block_on`].

mod block_on;
mod in_tasklet;

pub use self::block_on::block_on;
pub use self::in_tasklet::{InTasklet, in_tasklet};
