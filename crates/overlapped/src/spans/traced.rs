//! With the feature `tracing`.

use std::panic::Location;

use tracing::dispatcher::{Dispatch, get_default};
use tracing::level_filters::LevelFilter;
use tracing::{Id, Span};

/// By which a subscriber knows a tasklet.
pub(crate) type SpanId = Option<Id>;

/// Whether anybody listens.
#[inline]
pub(crate) fn in_use() -> bool {
    LevelFilter::current() != LevelFilter::OFF
}

/// Where a tasklet was spawned, and in which span.
pub(crate) struct Origin {
    at: &'static Location<'static>,
    within: Option<Span>,
}

impl Origin {
    #[inline]
    #[track_caller]
    pub(crate) fn here() -> Origin {
        Origin { at: Location::caller(), within: in_use().then(Span::current) }
    }

    /// The span of a tasklet that was spawned there; `stack` is the size of its stack, in bytes. Names and fields are those by
    /// which console-subscriber knows a task.
    #[inline]
    pub(crate) fn span(
        &self,
        kind: &'static str,
        number: impl FnOnce() -> u64,
        name: Option<&str>,
        stack: Option<usize>,
    ) -> TaskletSpan {
        // A root: a tasklet may outlive the span that it comes from, and would keep it open.
        let span = tracing::trace_span!(
            target: "overlapped::tasklet",
            parent: None,
            "runtime.spawn",
            kind,
            task.name = name,
            task.id = number(),
            stack.bytes = stack,
            loc.file = self.at.file(),
            loc.line = self.at.line(),
            loc.col = self.at.column(),
        );
        if let Some(id) = self.within.as_ref().and_then(Span::id) {
            span.follows_from(id);
        }
        // The scheduler is its waker, as long as it lives.
        trace_waker("waker.clone", &span.id());
        TaskletSpan(span)
    }
}

/// A tasklet's own span.
pub(crate) struct TaskletSpan(Span);

impl TaskletSpan {
    pub(crate) fn id(&self) -> SpanId {
        self.0.id()
    }

    /// Enters it until the result is dropped.
    pub(crate) fn entered(self) -> impl Drop {
        self.0.entered()
    }
}

/// Tells that a tasklet was woken.
pub(crate) fn trace_wake(span: &SpanId) {
    trace_waker("waker.wake_by_ref", span);
}

fn trace_waker(op: &'static str, span: &SpanId) {
    if let Some(id) = span {
        tracing::trace!(target: "runtime::waker", op, task.id = id.into_u64());
    }
}

/// The spans that a thread was in, kept open.
pub(crate) struct Left {
    subscriber: Dispatch,
    innermost: Id,
    /// Those round it, from inside to outside: most often there are none.
    others: Vec<Id>,
}

/// Leaves all spans that the thread is in.
pub(crate) fn leave() -> Option<Left> {
    // The subscriber is not called inside of `get_default`: what it asks in its turn would be answered by none.
    let subscriber = get_default(Dispatch::clone);
    let next = || {
        let id = subscriber.clone_span(subscriber.current_span().id()?);
        subscriber.exit(&id);
        Some(id)
    };
    let innermost = next()?;
    let others = std::iter::from_fn(next).collect();
    Some(Left { subscriber, innermost, others })
}

impl Left {
    /// Enters them again, in their order.
    pub(crate) fn enter_again(self) {
        for id in self.others.into_iter().rev().chain([self.innermost]) {
            self.subscriber.enter(&id);
            self.subscriber.try_close(id);
        }
    }
}
