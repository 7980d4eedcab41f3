//! What is seen of tasklets' stacks from outside and from within: backtraces, what a panic prints, gdb.
#![cfg(unix)]

mod support;

use std::backtrace::Backtrace;
use std::process::{Command, Output};

use overlapped::{Builder, Config, Event, handles, spawn, yield_now};
use support::{Watch, run};

/// The ignored test `name`, in a process of its own: libtest's arguments.
fn arguments(name: &str) -> [&str; 4] {
    ["--exact", name, "--ignored", "--nocapture"]
}

fn own_program() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}

#[inline(never)]
fn inner_of_tasklet() -> String {
    std::hint::black_box(Backtrace::force_capture().to_string())
}

#[inline(never)]
fn outer_of_tasklet() -> String {
    yield_now();
    std::hint::black_box(inner_of_tasklet())
}

/// Whether the words are there, in this order.
fn assert_in_order(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        rest = rest.split_once(word).unwrap_or_else(|| panic!("no {word:?}, or not in order, in:\n{text}")).1;
    }
}

#[test]
fn a_backtrace_shows_the_tasklet_then_the_loop_that_resumed_it_and_ends() {
    let _watch = Watch::new();
    Config::new().schedulers(2).run(|| {
        let nested = || spawn(|| spawn(outer_of_tasklet).join().unwrap()).join().unwrap();
        let elsewhere = handles()[1].spawn(outer_of_tasklet).join().unwrap();
        let [first, nested] = [spawn(outer_of_tasklet).join().unwrap(), nested()];
        for text in [&first, &nested, &elsewhere] {
            let base = "stack_init_trampoline";
            assert_in_order(text, &["inner_of_tasklet", "outer_of_tasklet", base, "coroutine::Coroutines", "std::sys"]);
            assert_eq!(text.matches(base).count(), 1, "{text}");
            assert!(!text.contains("<unknown>"), "{text}");
        }
        assert!(elsewhere.contains("threads::others"), "{elsewhere}");
    });
}

#[inline(never)]
fn panics_here() {
    if std::hint::black_box(true) {
        panic!("on purpose");
    }
}

#[test]
fn what_a_panic_prints_ends_where_the_tasklet_begins() {
    let _watch = Watch::new();
    let printed = |backtrace: &str| {
        let mut child = Command::new(own_program());
        child.args(arguments("child_has_a_tasklet_that_panics")).env("RUST_BACKTRACE", backtrace);
        let output = child.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let [short, full] = ["1", "full"].map(printed);
    assert_in_order(&short, &["on purpose", "debuggers::panics_here"]);
    assert!(!short.contains("overlapped::"), "{short}");
    assert_in_order(&full, &["on purpose", "::panics_here", "coroutine::Coroutines", "entry::Config"]);
}

#[test]
#[ignore = "run by what_a_panic_prints_ends_where_the_tasklet_begins, as a process of its own"]
fn child_has_a_tasklet_that_panics() {
    run(|| assert!(spawn(panics_here).join().is_err()));
}

#[inline(never)]
fn waits_here(event: &Event) {
    let answer = std::hint::black_box(4217);
    event.wait();
    std::hint::black_box(answer);
}

#[inline(never)]
fn aborts_here() {
    std::process::abort();
}

#[test]
#[ignore = "run by the tests of gdb, as a process of its own"]
fn child_aborts_while_a_tasklet_waits() {
    overlapped::run(|| {
        let event = Event::new();
        let waits = event.clone();
        let _parked = Builder::new().name("parked").spawn(move || waits_here(&waits)).unwrap();
        yield_now();
        spawn(aborts_here).join().unwrap();
    });
}

/// gdb's words for what it is told to do, of such a program; none where there is no gdb, or where it may not look.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn gdb(commands: &[&str], program: &[&str]) -> Option<String> {
    let mut gdb = Command::new("gdb");
    // The crate's commands are in the program that is looked at.
    gdb.args(["-nx", "-q", "-batch", "-iex", "set auto-load safe-path /", "-iex", "set debuginfod enabled off"]);
    gdb.args(commands.iter().flat_map(|command| ["-ex", command])).arg("--args").arg(own_program()).args(program);
    let Output { stdout, stderr, .. } = match gdb.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("gdb is not on this machine: not tested");
            return None;
        }
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    if said.contains("ptrace") && !said.contains("SIGABRT") {
        eprintln!("gdb may not look at processes here: not tested");
        return None;
    }
    Some(said)
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const LOOK: [&str; 11] = [
    "backtrace",
    "echo --- list\\n",
    "overlapped tasklets",
    "echo --- one\\n",
    "overlapped select 1",
    "info locals",
    "backtrace",
    "overlapped select",
    "backtrace",
    "overlapped select 77",
    "overlapped select 2",
];

/// Of the child above, as it aborts.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn assert_is_seen(said: &str) {
    assert!(!said.contains("corrupt stack") && !said.contains("Backtrace stopped"), "{said}");
    let (running, rest) = said.split_once("--- list").unwrap();
    let (list, one) = rest.split_once("--- one").unwrap();
    assert_in_order(running, &["aborts_here", "<signal handler called>", "Coroutines::resume", "start_thread"]);
    assert_in_order(list, &["1 'parked': event", "debuggers::waits_here", "tests/debuggers.rs", "2: running"]);
    let waits = ["waits_here", "answer = 4217", "waits_here", "child_aborts_while_a_tasklet_waits", "coroutine_func"];
    assert_in_order(one, &[&waits[..], &["stack_init_trampoline", "aborts_here"]].concat());
    // What is refused is said on standard error, which comes last.
    assert_in_order(one, &["no tasklet 77 on this thread", "tasklet 2 does not wait (running)"]);
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn gdb_shows_the_tasklet_that_runs_and_the_one_that_waits() {
    let _watch = Watch::long(2);
    let child = arguments("child_aborts_while_a_tasklet_waits");
    let Some(said) = gdb(&[&["run"][..], &LOOK].concat(), &child) else { return };
    assert_is_seen(&said);
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", not(feature = "sanitizer")))]
#[test]
fn gdb_shows_the_same_of_a_core() {
    let _watch = Watch::long(2);
    if std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default().trim() != "core" {
        eprintln!("cores do not go to the current folder here: not tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("sh");
    child.args(["-c", "ulimit -c unlimited && exec \"$@\"", "sh"]).arg(own_program());
    child.args(arguments("child_aborts_while_a_tasklet_waits")).current_dir(folder.path());
    assert!(!child.output().unwrap().status.success());
    let core = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).next();
    let Some(core) = core else { return eprintln!("the system has written no core: not tested") };
    let load = format!("core-file {}", core.display());
    let Some(said) = gdb(&[&[&*load][..], &LOOK].concat(), &[]) else { return };
    assert_is_seen(&said);
}
