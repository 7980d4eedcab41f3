use super::*;
pub(super) struct Uring;
impl Uring {
    pub(super) fn start(_: &Settings) -> io::Result<Uring> {
        Err(io::Error::other("stub"))
    }
}
impl Backend for Uring {
    fn name(&self) -> &'static str {
        "uring"
    }
    fn setup(&self) -> Vec<String> {
        vec![]
    }
    unsafe fn begin(&mut self, _: OpId, _: Op<'_>) -> Started {
        todo!()
    }
    fn cancel(&mut self, _: OpId) {}
    fn wait(&mut self, _: Option<Duration>, _: &mut Vec<Event>) -> io::Result<()> {
        todo!()
    }
    fn notifier(&self) -> Arc<dyn Notify> {
        todo!()
    }
    fn buffer<'b>(&'b self, _: &'b Buffer) -> &'b [u8] {
        todo!()
    }
    fn recycle(&mut self, _: Buffer) {}
    fn kernel_entries(&self) -> u64 {
        0
    }
}
