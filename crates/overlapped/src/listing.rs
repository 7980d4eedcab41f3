//! What there is to see: tasklets and what they wait for, the port, and a warning about those that hold the thread.

use std::io;
use std::time::Duration;

use crate::coroutine::stacks_in_use;
use crate::scheduler::{Status, boards, current, try_current};

/// Every tasklet of this thread that has not ended, `run`'s own first: what each waits for, and for how long.
///
/// ```
/// overlapped::run(|| {
///     let idle = overlapped::Builder::new().name("idle").spawn(|| {
///         overlapped::sleep(std::time::Duration::from_secs(60));
///     })?;
///     overlapped::yield_now();
///     let status = &overlapped::tasklets()[1];
///     assert_eq!((status.name.as_deref(), status.waits_for), (Some("idle"), "sleep"));
///     idle.cancel();
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub fn tasklets() -> Vec<Status> {
    try_current().map(|scheduler| scheduler.tasklets()).unwrap_or_default()
}

/// What this thread's port is, how stacks are guarded and how many are in use, what the port did and what is in flight;
/// `None` outside [`run`](crate::run).
pub fn report() -> Option<overlapped_port::Report> {
    let mut report = try_current()?.report();
    report.setup.push(format!("stacks: {}; {} in use", crate::stack::guards(), stacks_in_use()));
    Some(report)
}

/// Every thread that has tasklets in this process, as text: its tasklets with what each waits for, the longest wait
/// first, and what its port has done. From whatever thread and at any time, also while a tasklet holds its thread.
///
/// ```
/// overlapped::run(|| {
///     let text = overlapped::explain();
///     assert!(text.contains("tasklet main: running"), "{text}");
/// });
/// ```
pub fn explain() -> String {
    boards().iter().map(|board| board.explain(|_| String::new())).collect::<Vec<_>>().join("\n")
}

/// Warns on standard error when a tasklet of this thread has held it for longer than `limit`: which one, and for how
/// long. All others stand still meanwhile, and nothing else would show why. `None` ends that. A tenth of a second is a
/// good limit to begin with; the environment variable `OVERLAPPED_WATCH` sets one for every [`run`](crate::run), in seconds.
///
/// Unless asked for it is off, for it takes a thread of its own, which wakes four times within the limit. The tasklets
/// pay nothing for it.
///
/// ```
/// use std::time::Duration;
/// overlapped::run(|| {
///     overlapped::watch(Some(Duration::from_millis(100)))?;
///     // … what waits now and then is not complained of …
///     overlapped::watch(None)
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Outside [`run`](crate::run), and where the system has no thread for it.
pub fn watch(limit: Option<Duration>) -> io::Result<()> {
    current()?.watch_or_not(limit)
}
