//! A guide, to be read from top to bottom or by need. There is no code here: each page's programs run as tests.
//!
//! | page | answers |
//! |---|---|
//! | [`first_server`] | how a server is written, and how it ends |
//! | [`files`] | files, directories, locks, standard input and output |
//! | [`leaving`] | time-outs, cancelling, and what destructors may do |
//! | [`together`] | several tasklets as one: scopes, groups, `select!`, tokens, deadlines |
//! | [`backpressure`] | bounds: queues, pools, and who waits for whom |
//! | [`sharing`] | what tasklets share: `Rc`, thread-locals, locks across a wait |
//! | [`stacks`] | how large a stack has to be, and what an overflow does |
//! | [`what_runs_where`] | which calls block whom, and how to use several cores |
//! | [`blocking_crates`] | which crates that block work as they are, and what to do with the others |
//! | [`debugging`] | how to see what waits, where, and what takes the time: `explain`, backtraces, gdb, perf |
//! | [`bad_network`] | how to test a server against a bad network in five minutes |
//! | [`coming_from`] | threads, tokio and may: what is called what, and what is different |

#[doc = include_str!("first_server.md")]
pub mod first_server {}

#[doc = include_str!("files.md")]
pub mod files {}

#[doc = include_str!("leaving.md")]
pub mod leaving {}

#[doc = include_str!("together.md")]
pub mod together {}

#[doc = include_str!("backpressure.md")]
pub mod backpressure {}

#[doc = include_str!("sharing.md")]
pub mod sharing {}

#[doc = include_str!("stacks.md")]
pub mod stacks {}

#[doc = include_str!("what_runs_where.md")]
pub mod what_runs_where {}

#[doc = include_str!("blocking_crates.md")]
pub mod blocking_crates {}

#[doc = include_str!("debugging.md")]
pub mod debugging {}

#[doc = include_str!("bad_network.md")]
pub mod bad_network {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}
