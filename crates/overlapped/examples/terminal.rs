//! Ten shells at once, each driven through a terminal of its own as a person would do it, on one thread: a line is typed,
//! what the shell shows is read until it waits for the next, the size changes, and a command is interrupted by `^C`.

#[cfg(unix)]
mod unix {
    use std::io::{self, Read, Write};
    use std::time::{Duration, Instant};

    use overlapped::process::{Command, Pty, Size};
    use overlapped::{run, spawn, timeout};

    const SHELLS: usize = 10;
    /// What the shell shows when it waits for a line.
    const PROMPT: &str = "what? ";

    /// Reads until the shell has shown `wanted` last, and returns all before.
    fn until(mut pty: &Pty, wanted: &str) -> io::Result<String> {
        let (mut shown, mut room) = (String::new(), [0; 1024]);
        loop {
            if let Some(before) = shown.strip_suffix(wanted) {
                return Ok(before.to_owned());
            }
            let count = pty.read(&mut room)?;
            if count == 0 {
                return Err(io::Error::other(format!("the shell has ended after {shown:?}")));
            }
            shown += &String::from_utf8_lossy(&room[..count]);
        }
    }

    /// Types a line, and returns what the shell answers.
    fn ask(mut pty: &Pty, line: &str) -> io::Result<String> {
        pty.write_all(format!("{line}\n").as_bytes())?;
        let shown = until(pty, PROMPT)?;
        // The terminal shows what is typed, and ends lines its own way.
        let answer = shown.strip_prefix(&format!("{line}\r\n")).ok_or_else(|| io::Error::other(shown.clone()))?;
        Ok(answer.replace("\r\n", "\n"))
    }

    fn drive(number: u16) -> io::Result<()> {
        let pty = Pty::open()?;
        let size = Size { rows: 24, columns: 80 + number };
        pty.resize(size)?;
        let mut shell = Command::new("sh");
        shell.arg("-i").env("PS1", PROMPT).env("TERM", "dumb").env_remove("ENV").kill_on_drop(true);
        let mut shell = shell.spawn_on(&pty)?;
        until(&pty, PROMPT)?;
        assert_eq!(ask(&pty, "stty size")?, format!("24 {}\n", 80 + number));
        pty.resize(Size { rows: 50, ..size })?;
        assert_eq!(ask(&pty, "stty size")?, format!("50 {}\n", 80 + number));
        // That the command itself says so tells that it is in the foreground, where `^C` goes.
        (&pty).write_all(b"sh -c 'echo begun; exec sleep 60'\n")?;
        until(&pty, "begun\r\n")?;
        (&pty).write_all(b"\x03")?;
        until(&pty, PROMPT)?;
        (&pty).write_all(b"exit 7\n")?;
        (&pty).read_to_end(&mut Vec::new())?;
        assert_eq!(shell.wait()?.code(), Some(7));
        Ok(())
    }

    pub(crate) fn main() -> io::Result<()> {
        let begun = Instant::now();
        run(|| {
            timeout(Duration::from_secs(30), || {
                let shells: Vec<_> = (0..SHELLS).map(|number| spawn(move || drive(number as u16))).collect();
                shells.into_iter().try_for_each(|shell| shell.join()?)
            })
            .map_err(io::Error::from)
            .flatten()
        })?;
        let seconds = begun.elapsed().as_secs_f64();
        println!("terminal: {SHELLS} shells at once, each on a terminal of its own, in {seconds:.2} s");
        Ok(())
    }
}

#[cfg(unix)]
fn main() -> std::io::Result<()> {
    unix::main()
}

#[cfg(not(unix))]
fn main() {
    println!("terminal: this system has no terminals of this kind");
}
