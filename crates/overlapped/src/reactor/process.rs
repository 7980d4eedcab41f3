//! Child processes that tell a protocol.
//!
//! The pipes are transports of their own; a tasklet waits for the end. A child may end before its output does, which its own
//! children may hold open: so both are told, and [`ProcessProtocol::process_ended`] when all is over.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;

use overlapped_port::Process;

use super::guard::{guarded, guarded_for};
use super::{Protocol, Transport, attach_reader, attach_writer};
use crate::process::Command;
use crate::scheduler;
use crate::tasklet::Builder;

/// Which of a child's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChildOutput {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// What is told of a child, by callbacks under the rules of [`Protocol`]. One that panics has its message printed; the child
/// and what else is told of it go on.
pub trait ProcessProtocol: 'static {
    /// The child runs.
    fn process_started(&mut self, _process: &ProcessTransport) {}

    /// The child has written something to a pipe of ours.
    fn output_received(&mut self, _process: &ProcessTransport, _output: ChildOutput, _bytes: &[u8]) {}

    /// That pipe has ended: the child, and all that it gave it to, have closed it. Or the system's error.
    fn output_ended(&mut self, _process: &ProcessTransport, _output: ChildOutput, _reason: io::Result<()>) {}

    /// The child has ended; its output may go on. An error says why that is not known, or that the [`run`](crate::run) ends.
    fn process_exited(&mut self, _process: &ProcessTransport, _status: io::Result<ExitStatus>) {}

    /// The child and its output have ended: the last call.
    fn process_ended(&mut self) {}
}

/// Starts a child and tells `protocol` of it. Of its standard streams, those that `command` says are
/// [`piped`](std::process::Stdio::piped) come here.
///
/// ```
/// # #[cfg(unix)] {
/// use overlapped::process::{Command, Stdio};
/// use overlapped::reactor::{self, ChildOutput, ProcessProtocol, ProcessTransport};
///
/// struct Collects(Vec<u8>, overlapped::Queue<Vec<u8>>);
/// impl ProcessProtocol for Collects {
///     fn output_received(&mut self, _: &ProcessTransport, _: ChildOutput, bytes: &[u8]) {
///         self.0.extend_from_slice(bytes);
///     }
///     fn process_ended(&mut self) {
///         self.1.try_put(std::mem::take(&mut self.0)).unwrap();
///     }
/// }
///
/// overlapped::run(|| {
///     let output = overlapped::Queue::new();
///     let mut command = Command::new("cat");
///     let protocol = Collects(Vec::new(), output.clone());
///     let child = reactor::spawn_process(command.stdin(Stdio::piped()).stdout(Stdio::piped()), protocol)?;
///     let input = child.stdin().unwrap();
///     input.write(b"in and out");
///     input.write_eof();
///     assert_eq!(output.get().unwrap(), b"in and out");
///     std::io::Result::Ok(())
/// }).unwrap();
/// # }
/// ```
///
/// # Errors
/// As for [`Command::spawn`]; outside of [`run`](crate::run).
pub fn spawn_process(command: &mut Command, protocol: impl ProcessProtocol) -> io::Result<ProcessTransport> {
    scheduler::current()?;
    let mut child = command.spawn()?;
    let outputs = usize::from(child.stdout.is_some()) + usize::from(child.stderr.is_some());
    let watched = Rc::new(Watched {
        id: child.id(),
        process: RefCell::new(child.process()),
        stdin: RefCell::new(None),
        left: Cell::new(outputs + 1),
        protocol: RefCell::new(Some(Box::new(protocol))),
    });
    let transport = ProcessTransport(Rc::clone(&watched));
    // On the next turn, as the pipes' transports are, and before them.
    let starts = transport.clone();
    super::call_soon(move || starts.tell(|protocol, process| protocol.process_started(process)));
    if let Some(stdin) = child.stdin.take() {
        watched.stdin.replace(Some(attach_writer(stdin, Input)?));
    }
    if let Some(stdout) = child.stdout.take() {
        attach_reader(stdout, Output(transport.clone(), ChildOutput::Stdout))?;
    }
    if let Some(stderr) = child.stderr.take() {
        attach_reader(stderr, Output(transport.clone(), ChildOutput::Stderr))?;
    }
    // Also where it is never begun, for the run ends before.
    let mut exits = Exits(transport.clone(), None);
    Builder::new().name(format!("child process {}", child.id())).spawn(move || {
        exits.with(child.wait());
    })?;
    Ok(transport)
}

struct Watched {
    id: u32,
    /// Until it is known how it ended.
    process: RefCell<Option<Arc<Process>>>,
    stdin: RefCell<Option<Transport>>,
    /// How many of it and its outputs have not ended.
    left: Cell<usize>,
    /// `None` while it is told something, and once it has been told all.
    protocol: RefCell<Option<Box<dyn ProcessProtocol>>>,
}

/// A child that was started by [`spawn_process`]. Dropping it changes nothing.
#[derive(Clone)]
pub struct ProcessTransport(Rc<Watched>);

impl ProcessTransport {
    /// The child's number for the system; once it has ended, it may be another's.
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// The child's standard input, if that is a pipe: end it with [`Transport::write_eof`], else the child waits for more.
    pub fn stdin(&self) -> Option<Transport> {
        self.0.stdin.borrow().clone()
    }

    /// Ends the child at once (SIGKILL, TerminateProcess). One that has ended stays as it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&self) -> io::Result<()> {
        self.0.process.borrow().as_ref().map_or(Ok(()), |process| process.kill())
    }

    /// Sends the child a signal (kill(2)). One that has ended takes it without effect.
    ///
    /// # Errors
    /// `InvalidInput` for no signal; where the child has become another user's.
    #[cfg(unix)]
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.0.process.borrow().as_ref().map_or(Ok(()), |process| process.signal(signal))
    }

    /// Called by the loop.
    fn tell(&self, call: impl FnOnce(&mut dyn ProcessProtocol, &ProcessTransport)) {
        let Some(mut protocol) = self.0.protocol.borrow_mut().take() else { return };
        guarded(|| call(&mut *protocol, self));
        self.0.protocol.replace(Some(protocol));
    }

    /// The child, or one of its outputs, has ended.
    fn one_less(&self) {
        self.0.left.set(self.0.left.get() - 1);
        if self.0.left.get() == 0
            && let Some(mut protocol) = self.0.protocol.take()
        {
            guarded(|| protocol.process_ended());
            guarded(move || drop(protocol));
        }
    }
}

impl fmt::Debug for ProcessTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessTransport").field("id", &self.0.id).finish_non_exhaustive()
    }
}

/// Of the child's standard input: that nobody reads it is the child's affair.
struct Input;

impl Protocol for Input {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

struct Output(ProcessTransport, ChildOutput);

impl Protocol for Output {
    fn data_received(&mut self, _: &Transport, bytes: &[u8]) {
        self.0.tell(|protocol, process| protocol.output_received(process, self.1, bytes));
    }

    fn connection_lost(&mut self, reason: io::Result<()>) {
        self.0.tell(|protocol, process| protocol.output_ended(process, self.1, reason));
        self.0.one_less();
    }
}

/// Tells of the child's end when it is dropped.
struct Exits(ProcessTransport, Option<io::Result<ExitStatus>>);

impl Exits {
    fn with(&mut self, status: io::Result<ExitStatus>) {
        // From now on its number may be another's.
        self.0.0.process.take();
        self.1 = Some(status);
    }
}

impl Drop for Exits {
    fn drop(&mut self) {
        let unknown = || io::Error::new(io::ErrorKind::ConnectionAborted, "the run has ended before the child");
        let status = self.1.take().unwrap_or_else(|| Err(unknown()));
        let tell = || {
            self.0.tell(|protocol, process| protocol.process_exited(process, status));
            self.0.one_less();
        };
        // In the tasklet, as the loop would call it.
        match scheduler::try_current() {
            Some(scheduler) => scheduler.call_between(|| drop(guarded_for(tell))),
            None => tell(),
        }
    }
}
