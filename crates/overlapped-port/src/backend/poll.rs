use super::*;
pub(super) struct Poll;
impl Poll {
    pub(super) fn start(_: &Settings) -> io::Result<Poll> {
        Err(io::Error::other("stub"))
    }
}
impl Backend for Poll {
    fn name(&self) -> &'static str {
        "poll"
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
