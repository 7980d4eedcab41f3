use corosensei::stack::{DefaultStack, Stack};
use std::io;
#[derive(Clone, Copy)]
pub(crate) struct Guard;
pub(crate) struct PooledStack(DefaultStack);
unsafe impl Stack for PooledStack {
    fn base(&self) -> corosensei::stack::StackPointer {
        self.0.base()
    }
    fn limit(&self) -> corosensei::stack::StackPointer {
        self.0.limit()
    }
}
impl PooledStack {
    pub(crate) fn guard(&self) -> Guard {
        Guard
    }
}
pub(crate) struct StackPool(Vec<PooledStack>);
impl StackPool {
    pub(crate) fn new() -> Self {
        StackPool(vec![])
    }
    pub(crate) fn take(&mut self, size: usize) -> io::Result<PooledStack> {
        if let Some(s) = self.0.pop() {
            return Ok(s);
        }
        Ok(PooledStack(DefaultStack::new(size)?))
    }
    pub(crate) fn give(&mut self, s: PooledStack) {
        self.0.push(s)
    }
}
pub(crate) fn set_current(_: Option<(Guard, Option<&str>)>) {}
