//! Other people's crates on tasklets.
//!
//! **Blocking crates** need nothing from here: whatever is generic over [`Read`](std::io::Read) and [`Write`](std::io::Write)
//! takes a [`TcpStream`](crate::net::TcpStream) as it is (rustls's `StreamOwned`, tungstenite, native-tls), and only the calling
//! tasklet waits.
//!
//! **Futures** that belong to no runtime are waited for by [`block_on()`].
//!
//! **Crates that poll a stream** get a [`PolledStream`]: with the feature `futures-io` it has the traits of `futures-io`, with
//! the feature `hyper` those of hyper's `rt`, beside an [`Executor`](hyper::Executor) and a [`Timer`](hyper::Timer). With the
//! feature `tower`, [`tower::serve`] serves HTTP/1 and HTTP/2 by any service of tower's, axum's `Router` among them.
//!
//! **Spans** of `tracing`'s, one for each tasklet, come with the feature `tracing`, and tokio-console shows them:
//! [`mod@tracing`].
//!
//! # Code that blocks, inside of a future
//! A poll that waits holds back who polls, here the tasklet; the thread's other tasklets run on. What that tasklet carries is
//! what counts:
//!
//! - In a `block_on` of one's own, it is the future itself, and whatever it has joined.
//! - In a connection of hyper's it is the connection. A handler that waits while it is polled keeps its connection from
//!   receiving and sending meanwhile: one that reads the rest of its own request in that way waits for ever, in HTTP/2 all of
//!   the connection's requests do. So a request belongs in a tasklet of its own: [`in_tasklet()`], `hyper::service`; hyper runs
//!   each request of HTTP/2 by its `Executor`, which is a tasklet for each; and `tower::serve` sees to it.

mod block_on;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
pub mod hyper;
mod in_tasklet;
#[cfg(any(feature = "futures-io", feature = "hyper"))]
mod polled;
#[cfg(feature = "tower")]
pub mod tower;
#[cfg(feature = "tracing")]
pub mod tracing;

pub use self::block_on::block_on;
pub use self::in_tasklet::{InTasklet, in_tasklet};
#[cfg(any(feature = "futures-io", feature = "hyper"))]
pub use self::polled::PolledStream;
