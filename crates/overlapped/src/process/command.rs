//! How to start a child.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
#[cfg(unix)]
use std::sync::OnceLock;

use overlapped_port::{Starter, Ties};

use super::Child;
use super::child::Kills;
use crate::attempt::attempt;

/// How to start a process, as [`std::process::Command`], whose settings these are.
///
/// ```
/// # #[cfg(unix)] {
/// # overlapped::run(|| {
/// let output = overlapped::process::Command::new("echo").arg("hello").output()?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"hello\n");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// # }
/// ```
#[derive(Debug)]
pub struct Command {
    inner: std::process::Command,
    /// Which of the standard streams were set: [`Command::output`] sets the others.
    is_set: [bool; 3],
    kill_on_drop: bool,
    ties: Ties,
    starter: Starter,
}

impl Command {
    /// A command that starts `program`, a path or a name to be looked for in `PATH`, without arguments, in this process's
    /// environment and folder, with its standard streams.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        std::process::Command::new(program).into()
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.inner.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.inner.args(arguments);
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.inner.env(name, value);
        self
    }

    /// Sets variables of the child's environment.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Command {
        self.inner.envs(variables);
        self
    }

    /// Leaves a variable out of the child's environment.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        self.inner.env_remove(name);
        self
    }

    /// Begins with an empty environment.
    pub fn env_clear(&mut self) -> &mut Command {
        self.inner.env_clear();
        self
    }

    /// Sets the folder in which the child begins.
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Command {
        self.inner.current_dir(folder);
        self
    }

    /// Sets the child's standard input; unless told, this process's, with [`Command::output`] none.
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.is_set[0] = true;
        self.inner.stdin(stream);
        self
    }

    /// Sets the child's standard output; unless told, this process's, with [`Command::output`] a pipe.
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.is_set[1] = true;
        self.inner.stdout(stream);
        self
    }

    /// Sets the child's standard error; unless told, this process's, with [`Command::output`] a pipe.
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.is_set[2] = true;
        self.inner.stderr(stream);
        self
    }

    /// Has the child ended (SIGKILL, TerminateProcess) when its [`Child`] is dropped before it was waited for: so that one
    /// that was started within a time limit does not outlive it. Off unless told.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Has the child be the root of a tree of its own, which [`Child::kill_tree`] ends, and [`Command::kill_on_drop`] too. On
    /// Windows that is a job; on Unix a group of processes, which Ctrl-C at the terminal does not reach. Off unless told.
    ///
    /// It is the setting of the next start: on Unix a command that was started once with it keeps the group, but not the
    /// tree.
    pub fn own_tree(&mut self, own: bool) -> &mut Command {
        self.ties.tree = own;
        self
    }

    /// Has the child ended by force when this process has ended, however that did. Off unless told.
    ///
    /// - Windows: with all that it has started (a job that ends when its last handle is closed,
    ///   `JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE`).
    /// - Linux: it alone, not what it has started (`PR_SET_PDEATHSIG`, prctl(2)); and not, where its program is given
    ///   other rights than this process has (set-user-id, file capabilities). It is then started by fork(2), on a thread that
    ///   lasts as long as the process.
    /// - Elsewhere there is no such thing: [`Command::spawn`] answers `Unsupported`.
    pub fn kill_on_parent_exit(&mut self, kill: bool) -> &mut Command {
        self.ties.ends_with_parent = kill;
        self
    }

    /// Starts the child.
    ///
    /// # Errors
    /// `NotFound` where there is no such program, `PermissionDenied` where it may not be started, `InvalidInput` where a
    /// word holds a NUL; what else the system says. [`attempted`](crate::attempted) names the program.
    pub fn spawn(&mut self) -> io::Result<Child> {
        #[cfg(unix)]
        self.remove_withheld();
        let started = self.starter.start(&mut self.inner, self.ties).map_err(|error| self.failed(error))?;
        Ok(Child::of(started, self.kills(self.ties.tree)))
    }

    /// What is ended with the [`Child`].
    fn kills(&self, has_tree: bool) -> Option<Kills> {
        self.kill_on_drop.then_some(if has_tree { Kills::Tree } else { Kills::It })
    }

    /// Starts the child, waits until it has ended, and returns how and what it has written.
    ///
    /// Left early (a time-out, a cancel), the child runs on, unless [`Command::kill_on_drop`] says otherwise.
    ///
    /// # Errors
    /// As for [`Command::spawn`] and [`Child::wait_with_output`].
    pub fn output(&mut self) -> io::Result<Output> {
        self.with_streams([Stdio::null(), Stdio::piped(), Stdio::piped()], Command::spawn)?.wait_with_output()
    }

    /// Starts the child with these standard streams, where others were not set; they are as before for the next start.
    fn with_streams<R>(&mut self, streams: [Stdio; 3], start: impl FnOnce(&mut Command) -> R) -> R {
        self.give(streams);
        let started = start(self);
        self.give([Stdio::inherit(), Stdio::inherit(), Stdio::inherit()]);
        started
    }

    /// Sets those of the standard streams that were not set.
    fn give(&mut self, streams: [Stdio; 3]) {
        let setters = [std::process::Command::stdin, std::process::Command::stdout, std::process::Command::stderr];
        for ((set, stream), is_set) in setters.into_iter().zip(streams).zip(self.is_set) {
            if !is_set {
                set(&mut self.inner, stream);
            }
        }
    }

    /// Starts the child, waits until it has ended, and returns how.
    ///
    /// # Errors
    /// As for [`Command::spawn`] and [`Child::wait`].
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// The standard library's command, for what it alone can tell.
    pub fn as_std(&self) -> &std::process::Command {
        &self.inner
    }

    /// The standard library's command, for settings that it alone has. (On Windows, flags are for
    /// `Command::creation_flags`: those that are set here, a start with ties takes back.)
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.inner
    }

    fn failed(&self, error: io::Error) -> io::Error {
        attempt(error, || {
            let program: OsString = self.inner.get_program().into();
            format!("start {}", program.display())
        })
    }
}

impl From<std::process::Command> for Command {
    /// Takes a command over. The standard library does not tell which of its standard streams were set: they count as not
    /// set.
    fn from(inner: std::process::Command) -> Command {
        Command { inner, is_set: [false; 3], kill_on_drop: false, ties: Ties::default(), starter: Starter::default() }
    }
}

/// Variables that were meant for this process alone. Removed from each command, because to remove them from this
/// process's environment would not be sound, see [`systemd`](crate::systemd).
#[cfg(unix)]
static WITHHELD: OnceLock<&[&str]> = OnceLock::new();

/// Has children get none of these variables of this process's environment, unless their commands set them.
#[cfg(unix)]
pub(crate) fn withhold(variables: &'static [&'static str]) {
    let withheld = WITHHELD.get_or_init(|| variables);
    assert_eq!(*withheld, variables, "one part of the crate withholds variables");
}

#[cfg(unix)]
const _: () = {
    use std::os::fd::AsFd;
    use std::os::unix::process::CommandExt;

    use super::Pty;

    impl Command {
        fn remove_withheld(&mut self) {
            for name in WITHHELD.get().copied().unwrap_or_default() {
                if !self.inner.get_envs().any(|(set, _)| set == *name) {
                    self.inner.env_remove(name);
                }
            }
        }

        /// Starts the child on a terminal of its own: it leads a session whose controlling terminal that is, is the root of a
        /// tree ([`Child::kill_tree`]), and has it for those of its standard streams that were not set. It is then started by
        /// fork(2).
        ///
        /// ```
        /// # use std::io::Read;
        /// use overlapped::process::{Command, Pty};
        /// # overlapped::run(|| {
        /// let mut pty = Pty::open()?;
        /// let mut child = Command::new("tty").spawn_on(&pty)?;
        /// let mut shown = String::new();
        /// pty.read_to_string(&mut shown)?;
        /// assert!(shown.starts_with("/dev/"));
        /// assert!(child.wait()?.success());
        /// # std::io::Result::Ok(())
        /// # }).unwrap();
        /// ```
        ///
        /// # Errors
        /// As for [`Command::spawn`]; `PermissionDenied` where a child that runs has the terminal already.
        pub fn spawn_on(&mut self, pty: &Pty) -> io::Result<Child> {
            self.remove_withheld();
            let terminal = pty.terminal().map_err(|error| self.failed(error))?;
            let clone = || terminal.try_clone().map(Stdio::from);
            let streams = [clone()?, clone()?, clone()?];
            let started = self.with_streams(streams, |command| {
                command.starter.start_on(&mut command.inner, command.ties, terminal.as_fd())
            });
            Ok(Child::of(started.map_err(|error| self.failed(error))?, self.kills(true)))
        }

        /// Has the child run as this user. It is then started by fork(2).
        pub fn uid(&mut self, id: u32) -> &mut Command {
            self.inner.uid(id);
            self
        }

        /// Has the child run with this group. It is then started by fork(2).
        pub fn gid(&mut self, id: u32) -> &mut Command {
            self.inner.gid(id);
            self
        }

        /// Sets the child's own name, the first of its arguments.
        pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
            self.inner.arg0(name);
            self
        }

        /// Puts the child into a group of processes: 0 for a new one of its own, which Ctrl-C at the terminal does not
        /// reach, and all of which kill(2) reaches with the negative number.
        pub fn process_group(&mut self, group: i32) -> &mut Command {
            self.inner.process_group(group);
            self
        }

        /// Calls a function in the child before its program begins. It is then started by fork(2).
        ///
        /// # Safety
        /// As for [`CommandExt::pre_exec`]: in the child of a fork, only what is async-signal-safe may be called.
        #[allow(unsafe_code, reason = "the function is the standard library's")]
        pub unsafe fn pre_exec(
            &mut self,
            function: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
        ) -> &mut Command {
            // SAFETY: the caller's promise.
            unsafe { self.inner.pre_exec(function) };
            self
        }
    }
};

#[cfg(windows)]
impl Command {
    /// Sets flags of CreateProcessW, "Process Creation Flags", such as `CREATE_NO_WINDOW`.
    pub fn creation_flags(&mut self, flags: u32) -> &mut Command {
        self.starter.set_flags(&mut self.inner, flags);
        self
    }
}
