//! A span of [`tracing`](https://docs.rs/tracing)'s for each tasklet. There is nothing to call here: the feature `tracing` is
//! enough.
//!
//! ```
//! use std::time::Duration;
//! use overlapped::{Builder, sleep};
//! use tracing::{info, info_span};
//! use tracing_subscriber::layer::SubscriberExt;
//!
//! // With tracing_subscriber::fmt::layer(), say, or console_subscriber::spawn().
//! tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
//!
//! overlapped::run(|| {
//!     let worker = Builder::new().name("worker").spawn(|| {
//!         let _request = info_span!("request", number = 7).entered();
//!         sleep(Duration::from_millis(1));
//!         // In the spans of the tasklet and of the request, whatever ran meanwhile.
//!         info!("answered");
//!     })?;
//!     worker.join().unwrap();
//!     std::io::Result::Ok(())
//! })?;
//! # std::io::Result::Ok(())
//! ```
//!
//! **The span** is made when the tasklet is spawned, closed when it has ended, entered whenever the tasklet runs and left
//! whenever it waits. Its name is `runtime.spawn`, its target `overlapped::tasklet`, its level `TRACE`; its fields are `kind`
//! (`tasklet`, or `main` for the closure of [`run`](crate::run())), `task.name` ([`Builder::name`](crate::Builder::name)),
//! `task.id` (the number that [`explain`](crate::explain()) shows), `stack.bytes`, and `loc.file`, `loc.line` and `loc.col` of
//! the call that has spawned it. It is a root, which follows from the span in which it was spawned: a tasklet may outlive that.
//! Whoever wants it inside captures it: `let span = Span::current(); spawn(move || span.in_scope(|| …))`.
//!
//! **Guards may be held across waits**, other than in `async` code: a tasklet that waits leaves all spans that it is in, and
//! enters them again before it goes on. So `#[instrument]` on a function that waits is right, too.
//!
//! **tokio-console** shows tasklets as its tasks: `console_subscriber::init()` before `run` is all that it needs, in a program
//! that is built with `RUSTFLAGS="--cfg console_without_tokio_unstable"`. "Polls" are the times that a tasklet was gone to,
//! "busy" is how long it had the thread; wake-ups are events of the target `runtime::waker`, level `TRACE`. (A program's log that
//! is not to have them leaves the targets `runtime` and `overlapped::tasklet` out.)
//!
//! **The subscriber** is the program's, or the thread's round `run`. A tasklet that sets one for itself
//! (`tracing::subscriber::with_default`) and waits meanwhile has set it for its whole thread. What a subscriber does when a span
//! is entered or left must not wait, for no tasklet runs then: that panics. And a subscriber has to know in which span a thread
//! is (`Subscriber::current_span`), as all do that are made of tracing-subscriber's `Registry`: of one that does not know,
//! whoever runs next is in the spans of who waits.
//!
//! **What it costs**: without the feature, nothing; with it and no subscriber, a look at one number at each switch; with one,
//! what the subscriber takes to leave the spans and to enter them.
