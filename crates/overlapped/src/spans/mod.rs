//! A span of `tracing`'s for each tasklet, with the feature `tracing`: `ecosystem::tracing` says what users see.
//!
//! `tracing` knows which spans a *thread* is in. So whoever is left leaves its spans too, all of them, the innermost first, and
//! enters them again when it is gone back to: those that it has entered itself as well as its own. Which those are only the
//! subscriber knows ([`Subscriber::current_span`], asked until there is none); a span that is left is kept open meanwhile.
//!
//! Rejected: to leave the tasklet's own span alone (a guard that is held across a wait, the usual thing in code that blocks,
//! would take others into its span); a subscriber of ours between the user's and the program (it would have to be set, and in
//! the right order); to exchange the thread's scoped subscriber as well (it can be replaced by a guard alone, which holds what
//! was before, and guards of several tasklets do not end in the order in which they began).
//!
//! Without the feature all of this is nothing.
//!
//! [`Subscriber::current_span`]: https://docs.rs/tracing/latest/tracing/trait.Subscriber.html#method.current_span

#[cfg(feature = "tracing")]
mod traced;
#[cfg(not(feature = "tracing"))]
mod untraced;

#[cfg(feature = "tracing")]
pub(crate) use self::traced::{Origin, SpanId, TaskletSpan, in_use, leave, trace_wake};
#[cfg(not(feature = "tracing"))]
pub(crate) use self::untraced::{Origin, SpanId, TaskletSpan, in_use, leave, trace_wake};
