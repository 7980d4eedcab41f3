//! Opens that wait: of FIFOs whose other end nobody has opened.

use std::path::PathBuf;

use overlapped_port::sys::{OpenHow, OwnedFile, RawFile, SystemPath, raw_file, system_path};
use overlapped_port::{Config, Lane, Op, OpenMode, Outcome};

use super::system::make_named_pipe;
use crate::driver::{Driver, Flight};
use crate::system;

crate::on_every_backend!(opens_that_wait_hold_back_nothing, opens_that_were_given_up_hold_back_nothing,);

/// Named pipes in a folder of their own.
struct Pipes {
    paths: Vec<PathBuf>,
    _folder: tempfile::TempDir,
}

impl Pipes {
    fn new(count: usize) -> Pipes {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..count).map(|number| folder.path().join(number.to_string())).collect();
        paths.iter().for_each(|path| make_named_pipe(path));
        Pipes { paths, _folder: folder }
    }

    fn open(&self, driver: &mut Driver, number: usize, flags: i32) -> Flight<SystemPath> {
        let how = OpenHow { flags: flags | libc::O_CLOEXEC, mode: 0 };
        driver.begin_with(system_path(&self.paths[number]).unwrap(), |path| Op::Open { path, how })
    }
}

fn file(outcome: Outcome) -> OwnedFile {
    match outcome {
        Outcome::File(file) => file,
        other => panic!("{other:?} is no file"),
    }
}

fn opened(driver: &mut Driver, open: Flight<SystemPath>) -> OwnedFile {
    file(driver.finish(open).0.unwrap())
}

/// All that a port does on its threads, and all that a kernel might do on its own.
fn files_work(driver: &mut Driver) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mode = OpenMode { read: true, write: true, create: true, ..OpenMode::default() };
    let file = driver.open(&path, mode).unwrap();
    let number: RawFile = raw_file(&file);
    assert_eq!(driver.write(number, b"content", Some(0)).unwrap(), 7);
    driver.run(Op::Sync { file: number, data_only: false }).unwrap();
    assert_eq!(driver.read(number, 64, Some(0)).unwrap(), b"content");
    driver.run(Op::CloseFile { file: system::give_up(file) }).unwrap();
    for lane in [Lane::Short, Lane::Long, Lane::Endless] {
        let call = driver.begin_call_in(lane, || Ok(7));
        assert_eq!(driver.counted(call).unwrap(), 7);
    }
}

fn opens_that_wait_hold_back_nothing(config: Config) {
    const PIPES: usize = 40;
    let mut driver = Driver::new(config.threads(4));
    let pipes = Pipes::new(PIPES);
    let readers: Vec<_> = (0..PIPES).map(|number| pipes.open(&mut driver, number, libc::O_RDONLY)).collect();
    files_work(&mut driver);
    assert!(readers.iter().all(|reader| !driver.has_ended(*reader)));
    // Their writers are not held back by them either, in whichever order they come.
    let writers: Vec<_> = (0..PIPES).rev().map(|number| pipes.open(&mut driver, number, libc::O_WRONLY)).collect();
    let writers: Vec<_> = writers.into_iter().map(|writer| opened(&mut driver, writer)).collect();
    let readers: Vec<_> = readers.into_iter().map(|reader| opened(&mut driver, reader)).collect();
    assert_eq!(driver.write(raw_file(&writers[0]), b"through the last", None).unwrap(), 16);
    assert_eq!(driver.read(raw_file(&readers[PIPES - 1]), 64, None).unwrap(), b"through the last");
}

fn opens_that_were_given_up_hold_back_nothing(config: Config) {
    const PIPES: usize = 40;
    let mut driver = Driver::new(config.threads(4));
    let pipes = Pipes::new(PIPES);
    for number in 0..PIPES {
        let open = pipes.open(&mut driver, number, libc::O_WRONLY);
        driver.turn(std::time::Duration::ZERO);
        driver.cancel_waiting(open);
    }
    assert_eq!(driver.port().in_flight(), 0);
    files_work(&mut driver);
    let (reader, writer) = (pipes.open(&mut driver, 0, libc::O_RDONLY), pipes.open(&mut driver, 0, libc::O_WRONLY));
    let (reader, writer) = (opened(&mut driver, reader), opened(&mut driver, writer));
    drop(writer);
    // What was given up is let go of, and holds no end of the pipe open: the read comes to the end.
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"");
    // The threads that still wait are let go.
    for path in &pipes.paths {
        let nonblocking = OpenHow { flags: libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC, mode: 0 };
        let path = system_path(path).unwrap();
        drop(file(driver.run_with(path, |path| Op::Open { path, how: nonblocking }).0.unwrap()));
    }
}
