//! Without the feature `tracing`: nothing.

/// By which nobody knows a tasklet.
pub(crate) type SpanId = Option<Nobody>;

#[derive(Clone)]
pub(crate) enum Nobody {}

#[inline]
pub(crate) const fn in_use() -> bool {
    false
}

pub(crate) struct Origin;

impl Origin {
    #[inline]
    pub(crate) fn here() -> Origin {
        Origin
    }

    #[inline]
    pub(crate) fn span(
        &self,
        _kind: &'static str,
        _number: impl FnOnce() -> u64,
        _name: Option<&str>,
        _stack: Option<usize>,
    ) -> TaskletSpan {
        TaskletSpan
    }
}

pub(crate) struct TaskletSpan;

impl TaskletSpan {
    pub(crate) fn id(&self) -> SpanId {
        None
    }

    pub(crate) fn entered(self) -> TaskletSpan {
        self
    }
}

#[inline]
pub(crate) fn trace_wake(_span: &SpanId) {}

pub(crate) enum Left {}

#[inline]
pub(crate) fn leave() -> Option<Left> {
    None
}

impl Left {
    pub(crate) fn enter_again(self) {}
}
