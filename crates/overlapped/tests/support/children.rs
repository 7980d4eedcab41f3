//! What holds of child processes on every system.

use overlapped::process::{Child, Command};
use overlapped::{is_cancelled, run, spawn, uncancellable, yield_now};

use super::LONG;

/// A command of the system's shell.
pub(crate) fn shell(script: &str) -> Command {
    let (shell, options) = if cfg!(windows) { ("cmd", &["/d", "/c"][..]) } else { ("sh", &["-c"][..]) };
    let mut command = Command::new(shell);
    command.args(options).arg(script);
    command
}

/// Whoever is told to leave while a child runs hears so from the wait, and can still end the child. `start` starts one that
/// does not end by itself.
pub(crate) fn who_leaves_a_wait_can_still_end_the_child(start: impl Fn() -> Child) {
    run(|| {
        for limit in [None, Some(LONG)] {
            let mut child = start();
            // Kept open: a wait closes what is in the child.
            let _input = child.stdin.take();
            let waiter = spawn(move || {
                let waited = match limit {
                    None => child.wait().map(Some),
                    Some(limit) => child.wait_timeout(limit),
                };
                assert!(is_cancelled(&waited.unwrap_err()));
                child.kill().unwrap();
                uncancellable(|| child.wait()).unwrap()
            });
            yield_now();
            waiter.cancel();
            assert!(!waiter.join().unwrap().success());
        }
    });
}
