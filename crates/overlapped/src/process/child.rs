//! A child that was started.

use std::io::{self, Read};
use std::process::{ExitStatus, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use overlapped_port::sim::now;
use overlapped_port::{End, Interest, Op, Process};

use super::{ChildStderr, ChildStdin, ChildStdout};
use crate::blocking::count;
use crate::scheduler::try_current;
use crate::sync::Event;
use crate::tasklet::{Builder, JoinHandle};
use crate::time::deadline_after;

/// A child process, as [`std::process::Child`]. Made by [`Command::spawn`](super::Command::spawn).
///
/// Dropping it does not end the child, unless [`Command::kill_on_drop`](super::Command::kill_on_drop) says so. A tasklet
/// then waits for its end, so that no zombie stays as long as the program is inside of [`run`](crate::run).
#[derive(Debug)]
pub struct Child {
    /// Where the child's standard input is written to, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Where the child's standard output is read from, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Where the child's standard error is read from, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    running: Running,
}

impl Child {
    /// `kills` is whether it, or its tree, is ended when this is dropped.
    pub(super) fn of((mut child, process): (std::process::Child, Process), kills: Option<Kills>) -> Child {
        Child {
            stdin: child.stdin.take().map(Into::into),
            stdout: child.stdout.take().map(Into::into),
            stderr: child.stderr.take().map(Into::into),
            running: Running { process: Some(Arc::new(process)), id: child.id(), ended: None, kills },
        }
    }

    /// The child's number for the system. Once the child was waited for, it may be another's.
    pub fn id(&self) -> u32 {
        self.running.id
    }

    /// Waits until the child has ended, and says how; asked again, says the same. Its standard input is closed first, so
    /// that it does not wait for more.
    ///
    /// # Errors
    /// Where another part of the program has asked the system how it ended, or ignores SIGCHLD.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.running.wait_until(None).map(|ended| ended.expect("there is no deadline"))
    }

    /// As [`Child::wait`], but no longer than `duration`: `None` where the child runs on. Its standard input stays open.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use std::time::Duration;
    /// # overlapped::run(|| {
    /// let mut child = overlapped::process::Command::new("sleep").arg("60").spawn()?;
    /// assert!(child.wait_timeout(Duration::from_millis(10))?.is_none());
    /// child.kill()?;
    /// assert!(!child.wait()?.success());
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Child::wait`].
    pub fn wait_timeout(&mut self, duration: Duration) -> io::Result<Option<ExitStatus>> {
        self.running.wait_until(Some(deadline_after(duration)))
    }

    /// How the child ended; `None` while it runs. Does not wait.
    ///
    /// # Errors
    /// As for [`Child::wait`].
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.running.try_wait()
    }

    /// Ends the child at once (SIGKILL, TerminateProcess); [`Child::wait`] for it still. One that has ended stays as it
    /// is.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&mut self) -> io::Result<()> {
        self.running.process().map_or(Ok(()), Process::kill)
    }

    /// Ends the child at once with all that it has started and they have, where it was started with
    /// [`Command::own_tree`](super::Command::own_tree) or on a terminal; [`Child::wait`] for it still. To be called before that
    /// has said how the child ended, also where it has: from then on it does nothing, for the system may have given the
    /// tree's number to another.
    ///
    /// On Windows that is a job, which nothing leaves that was not allowed to. On Unix it is the child's group of processes:
    /// a descendant that begins a group or a session of its own (an interactive shell's jobs, daemons) has left it and
    /// runs on.
    ///
    /// # Errors
    /// `InvalidInput` where it was started without a tree; what the system says.
    pub fn kill_tree(&mut self) -> io::Result<()> {
        self.running.process().map_or(Ok(()), Process::kill_tree)
    }

    /// Sends the child a signal (kill(2)). One that has ended takes it without effect.
    ///
    /// # Errors
    /// `InvalidInput` for no signal; where the child has become another user's.
    #[cfg(unix)]
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.running.process().map_or(Ok(()), |process| process.signal(signal))
    }

    /// The process, for whoever has to end it while a tasklet waits for it: only until [`Child::wait`] has said how it ended.
    pub(crate) fn process(&self) -> Option<Arc<Process>> {
        self.running.process.clone()
    }

    /// Closes the child's standard input, reads its standard output and error to their ends, both at once, and waits until
    /// it has ended. What is no pipe is empty in the result.
    ///
    /// Left early (a time-out, a cancel), what was read is lost; the child runs on.
    ///
    /// # Errors
    /// As for [`Child::wait`]; where a pipe cannot be read.
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let stderr = self.stderr.take().map(|end| Reading(Some(crate::spawn(move || read_all(end)))));
        let stdout = self.stdout.take().map_or(Ok(Vec::new()), read_all)?;
        let stderr = stderr.map_or(Ok(Vec::new()), Reading::finish)?;
        Ok(Output { status: self.wait()?, stdout, stderr })
    }
}

fn read_all(mut end: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    end.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A tasklet that reads a pipe, and ends when nobody wants its bytes any more.
struct Reading(Option<JoinHandle<io::Result<Vec<u8>>>>);

impl Reading {
    fn finish(mut self) -> io::Result<Vec<u8>> {
        self.0.take().expect("it was not finished before").join()?
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(reader) = self.0.take() {
            reader.cancel();
        }
    }
}

/// A child without its pipes.
#[derive(Debug)]
struct Running {
    /// `None` once it is dropped, and a tasklet has taken the process over.
    process: Option<Arc<Process>>,
    id: u32,
    ended: Option<ExitStatus>,
    kills: Option<Kills>,
}

/// What is ended with a child's [`Child`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Kills {
    It,
    Tree,
}

impl Running {
    /// The process, unless it is known to have ended.
    fn process(&self) -> Option<&Process> {
        self.process.as_deref().filter(|_| self.ended.is_none())
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if let Some(process) = self.process() {
            self.ended = process.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Waits until it has ended; `None` where `deadline` has come before.
    fn wait_until(&mut self, deadline: Option<Instant>) -> io::Result<Option<ExitStatus>> {
        while self.try_wait()?.is_none() {
            let Some(process) = self.process() else { break };
            match await_end(process, deadline) {
                Ok(true) => {}
                Ok(false) => return self.try_wait(),
                Err(error) => return Err(error),
            }
        }
        Ok(self.ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.try_wait()
            && let Some(process) = self.process.take()
        {
            let _ = match self.kills {
                Some(Kills::Tree) => process.kill_tree(),
                Some(Kills::It) => process.kill(),
                None => Ok(()),
            };
            // Where no tasklet can be had, the zombie stays until the program ends.
            if try_current().is_some() {
                let _ = Builder::new().name(format!("child process {}", self.id)).spawn(move || reap(&process));
            }
        }
    }
}

/// Waits until a process that nobody holds any more has ended. At the end of `run` it is left alone.
fn reap(process: &Process) {
    while matches!(process.try_wait(), Ok(None)) && await_end(process, None).is_ok() {}
}

/// Waits until a process has ended; false where `deadline` has come before.
fn await_end(process: &Process, deadline: Option<Instant>) -> io::Result<bool> {
    match process.end() {
        End::Readable(descriptor) => {
            match count(Op::Poll { socket: descriptor, interest: Interest::READABLE }, deadline) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::TimedOut && is_over(deadline) => Ok(false),
                Err(error) => Err(error),
            }
        }
        End::Told => {
            let ended = Event::new();
            let theirs = ended.clone();
            let _watch = process.on_end(move || theirs.set())?;
            // One that is told to leave hears so as where a descriptor is waited for.
            Ok(ended.wait_until(deadline)?)
        }
    }
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| now() >= deadline)
}
