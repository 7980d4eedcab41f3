//! Standard input, output and error, each of a process of its own: an ignored test of this program.

mod support;

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::time::Duration;

use overlapped::io::{stderr, stdin, stdout};
use overlapped::{sleep, spawn, timeout, yield_now};
use support::{Watch, run};

const MOMENT: Duration = Duration::from_millis(5);

/// Comes before what a child prints: the harness has printed before.
const BEGIN: &str = "\n<<<\n";
/// Comes after it.
const END: &str = "\n>>>\n";

/// So many of these are more than a pipe holds.
const MANY: usize = 4000;

fn long_line(number: usize) -> String {
    format!("line {number} {:=>100}\n", "")
}

/// The ignored test `name`, as a process of its own whose streams are pipes.
fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `name` with this input, and returns what it prints between the two marks.
fn printed(name: &str, input: &[u8]) -> String {
    let mut child = child(name).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    between(&child.wait_with_output().unwrap())
}

fn between(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let (_, after) = text.split_once(BEGIN).unwrap_or_else(|| panic!("it has not begun: {text} {errors}"));
    after.split_once(END).map_or(after, |(inside, _)| inside).to_owned()
}

/// What a child does: on tasklets, between the two marks.
fn play(part: impl FnOnce()) {
    run(|| {
        stdout().write_all(BEGIN.as_bytes()).unwrap();
        part();
        stdout().write_all(END.as_bytes()).unwrap();
    });
}

/// Reads lines of a child's until one is `wanted`.
fn read_until(child: &mut Child, wanted: &str) -> BufReader<std::process::ChildStdout> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim_end() != wanted {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it has ended without {wanted:?}");
    }
    lines
}

#[test]
fn only_the_one_that_reads_the_input_waits() {
    let _watch = Watch::new();
    let mut child = child("child_reads_beside_a_ticker").spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"half ").unwrap();
    let mut output = read_until(&mut child, "tick");
    input.write_all(b"a line\nand the rest").unwrap();
    drop(input);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(text.contains("[half a line\n][and the rest][]"), "{text}");
    assert!(child.wait().unwrap().success());
}

#[test]
#[ignore = "run by only_the_one_that_reads_the_input_waits, as a process of its own"]
fn child_reads_beside_a_ticker() {
    play(|| {
        let ticker = spawn(|| {
            loop {
                sleep(MOMENT);
                writeln!(stdout(), "tick").unwrap();
            }
        });
        let mut line = String::new();
        let mut lines = Vec::new();
        for _ in 0..3 {
            line.clear();
            stdin().read_line(&mut line).unwrap();
            lines.push(format!("[{line}]"));
        }
        ticker.cancel();
        drop(ticker.join());
        write!(stdout(), "\n{}", lines.concat()).unwrap();
    });
}

#[test]
fn an_input_is_read_to_its_end_whatever_it_is() {
    let _watch = Watch::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    let text = "a line of the input\n".repeat(5000);
    std::fs::write(&path, &text).unwrap();
    assert_eq!(printed("child_counts_its_input", text.as_bytes()), "100000 bytes", "a pipe");
    for (input, expected) in [(Stdio::from(std::fs::File::open(&path).unwrap()), 100_000), (Stdio::null(), 0)] {
        let output = child("child_counts_its_input").stdin(input).output().unwrap();
        assert_eq!(between(&output), format!("{expected} bytes"));
    }
}

#[test]
#[ignore = "run by an_input_is_read_to_its_end_whatever_it_is, as a process of its own"]
fn child_counts_its_input() {
    play(|| {
        let mut lines = 0;
        // By lines at first, then past the buffer.
        let mut line = String::new();
        while lines < 10 && stdin().read_line(&mut line).unwrap() > 0 {
            lines += 1;
        }
        let mut rest = Vec::new();
        stdin().read_to_end(&mut rest).unwrap();
        write!(stdout(), "{} bytes", line.len() + rest.len()).unwrap();
    });
}

#[test]
fn tasklets_take_turns_at_the_lines_of_the_input() {
    let _watch = Watch::new();
    let input: String = (0..1000).map(|number| format!("{number}\n")).collect();
    let text = printed("child_reads_lines_by_many", input.as_bytes());
    let mut numbers: Vec<usize> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..1000));
}

#[test]
#[ignore = "run by tasklets_take_turns_at_the_lines_of_the_input, as a process of its own"]
fn child_reads_lines_by_many() {
    play(|| {
        let readers: Vec<_> = (0..10)
            .map(|_| {
                spawn(|| {
                    let mut line = String::new();
                    while stdin().read_line(&mut line).unwrap() > 0 {
                        stdout().write_all(line.as_bytes()).unwrap();
                        line.clear();
                        yield_now();
                    }
                })
            })
            .collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn a_read_of_the_input_that_is_left_in_time_loses_nothing() {
    let _watch = Watch::new();
    let mut child = child("child_leaves_reads").spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\ntw").unwrap();
    let mut output = read_until(&mut child, "left");
    input.write_all(b"o\nthree\n").unwrap();
    drop(input);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(text.contains("one|two|three|"), "{text}");
}

#[test]
#[ignore = "run by a_read_of_the_input_that_is_left_in_time_loses_nothing, as a process of its own"]
fn child_leaves_reads() {
    play(|| {
        let (mut text, mut ended) = (String::new(), false);
        while !ended {
            let read = timeout(MOMENT, || ended = stdin().read_line(&mut text).unwrap_or(1) == 0);
            if read.is_err() && text.ends_with("tw") {
                writeln!(stdout(), "left").unwrap();
            }
        }
        stdout().write_all(text.replace('\n', "|").as_bytes()).unwrap();
    });
}

#[test]
fn only_the_one_that_writes_to_a_slow_reader_waits() {
    let _watch = Watch::new();
    let mut child = child("child_writes_much").spawn().unwrap();
    // What others say by the other stream comes before anything of the first is read.
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("others run") {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0, "it has ended without a word");
    }
    let output = child.wait_with_output().unwrap();
    let text = between(&output);
    let expected: String = (0..MANY).map(long_line).collect();
    assert!(text == expected, "{} bytes", text.len());
}

#[test]
#[ignore = "run by only_the_one_that_writes_to_a_slow_reader_waits, as a process of its own"]
fn child_writes_much() {
    play(|| {
        let written = Rc::new(Cell::new(0));
        let seen = Rc::clone(&written);
        spawn(move || {
            // When it moves no more, the pipe is full.
            let mut before = 0;
            loop {
                sleep(10 * MOMENT);
                let now = seen.get();
                if now > 0 && now == before {
                    writeln!(stderr(), "others run, at line {now}").unwrap();
                }
                before = now;
            }
        });
        for number in 0..MANY {
            stdout().write_all(long_line(number).as_bytes()).unwrap();
            written.set(number);
        }
    });
}

#[test]
fn a_write_that_is_left_in_time_has_taken_its_line_or_nothing() {
    let _watch = Watch::new();
    let mut child = child("child_leaves_writes").spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("was left") {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0, "it has ended without a word");
    }
    let text = between(&child.wait_with_output().unwrap());
    let expected: String = (0..MANY).map(long_line).collect();
    assert!(text == expected, "{} bytes", text.len());
}

#[test]
#[ignore = "run by a_write_that_is_left_in_time_has_taken_its_line_or_nothing, as a process of its own"]
fn child_leaves_writes() {
    play(|| {
        let mut left = 0;
        for number in 0..MANY {
            let (mut taken, line) = (false, long_line(number));
            while !taken {
                let told = timeout(MOMENT, || taken = write!(stdout(), "{line}").is_ok()).is_err();
                left += usize::from(told);
                if told && left == 5 {
                    writeln!(stderr(), "one was left").unwrap();
                }
            }
        }
    });
}

#[test]
fn the_lines_of_one_turn_stay_together_and_who_has_it_may_take_it_again() {
    let _watch = Watch::new();
    let text = printed("child_writes_in_turns", b"");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 20 * 10 * 2);
    for lines in lines.chunks(2) {
        assert!(lines[0].ends_with(" begins") && *lines[1] == lines[0].replace("begins", "ends"), "{lines:?}");
    }
}

#[test]
#[ignore = "run by the_lines_of_one_turn_stay_together_and_who_has_it_may_take_it_again, as a process of its own"]
fn child_writes_in_turns() {
    play(|| {
        let writers: Vec<_> = (0..20)
            .map(|number| {
                spawn(move || {
                    for round in 0..10 {
                        let mut turn = stdout().lock();
                        write!(turn, "{number}, {round}").unwrap();
                        yield_now();
                        stdout().write_all(b" begins\n").unwrap();
                        yield_now();
                        writeln!(stdout().lock(), "{number}, {round} ends").unwrap();
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
}

#[test]
fn what_has_no_line_s_end_goes_out_with_a_flush_and_at_the_end_of_run() {
    let _watch = Watch::new();
    let output = child("child_ends_without_a_line_s_end").stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "it aborts, so that nothing else flushes");
    assert_eq!(between(&output), "flushed, and not");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("at once: the stream has not a thing\n"), "{errors}");
}

#[test]
#[ignore = "run by what_has_no_line_s_end_goes_out_with_a_flush_and_at_the_end_of_run, as a process of its own"]
fn child_ends_without_a_line_s_end() {
    run(|| {
        stdout().write_all(BEGIN.as_bytes()).unwrap();
        write!(stdout(), "flushed").unwrap();
        stdout().flush().unwrap();
        let word = "not";
        write!(stdout(), ", and {word}").unwrap();
        writeln!(stderr(), "at once: the stream has {word} a thing").unwrap();
    });
    std::process::abort();
}

#[cfg(unix)]
#[test]
fn a_stream_that_is_closed_is_empty_and_takes_everything() {
    let _watch = Watch::new();
    let output = child("child_closes_its_streams").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(unix)]
#[test]
#[ignore = "run by a_stream_that_is_closed_is_empty_and_takes_everything, as a process of its own"]
fn child_closes_its_streams() {
    run(|| {
        // SAFETY: nobody else in this process uses the two.
        unsafe {
            libc::close(0);
            libc::close(1);
        }
        assert_eq!(stdin().read_line(&mut String::new()).unwrap(), 0);
        assert_eq!(stdin().read(&mut [0; 100_000]).unwrap(), 0);
        writeln!(stdout(), "to nobody").unwrap();
        stdout().flush().unwrap();
        // The harness prints that the test has ended.
        // SAFETY: the number is free.
        assert_eq!(unsafe { libc::dup2(2, 1) }, 1);
    });
}

#[cfg(unix)]
#[test]
fn a_terminal_is_read_by_lines_while_others_run() {
    use overlapped::process::{Command, Pty};

    run(|| {
        let mut pty = Pty::open().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child_talks_with_a_person", "--ignored", "--nocapture"]);
        let mut child = command.spawn_on(&pty).unwrap();
        let mut shown = String::new();
        let mut until = |pty: &mut Pty, wanted: &str| {
            while !shown.contains(wanted) {
                let mut piece = [0; 1024];
                let count = pty.read(&mut piece).unwrap();
                assert!(count > 0, "the terminal has ended after {shown:?}, without {wanted:?}");
                shown.push_str(std::str::from_utf8(&piece[..count]).unwrap());
            }
        };
        until(&mut pty, "your name? (tick)");
        pty.write_all(b"Ada\n").unwrap();
        until(&mut pty, "hello, Ada");
        // The end of the input, as a person gives it.
        pty.write_all(b"\x04").unwrap();
        until(&mut pty, "bye");
        child.wait().unwrap();
    });
}

#[cfg(unix)]
#[test]
#[ignore = "run by a_terminal_is_read_by_lines_while_others_run, as a process of its own"]
fn child_talks_with_a_person() {
    play(|| {
        assert!(stdin().is_terminal() && stdout().is_terminal() && stderr().is_terminal());
        write!(stdout(), "your name? ").unwrap();
        spawn(|| {
            sleep(MOMENT);
            write!(stdout(), "(tick)").unwrap();
            stdout().flush().unwrap();
        });
        let mut lines = stdin().lines();
        writeln!(stdout(), "hello, {}", lines.next().unwrap().unwrap()).unwrap();
        assert!(lines.next().is_none());
        writeln!(stdout(), "bye").unwrap();
    });
}
