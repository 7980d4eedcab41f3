//! The threads of the port as the system sees them: how large their stacks are, and what is where there are none.

use std::io::ErrorKind;
use std::time::Duration;

use overlapped_port::sys::{OpenHow, raw_file, raw_socket, system_path};
use overlapped_port::{Config, Lane, Op, OpenMode};

use super::system::{allow_no_more_threads, make_named_pipe, stack_size};
use crate::driver::Driver;
use crate::loopback::pair;
use crate::system;

crate::on_every_backend!(threads_have_the_stack_that_was_asked_for, where_no_thread_can_be_started_files_still_work);

fn threads_have_the_stack_that_was_asked_for(config: Config) {
    let mut driver = Driver::new(config.thread_stack(24 << 20));
    let call = driver.begin_call(|| Ok(stack_size()));
    assert!(driver.counted(call).unwrap() >= 24 << 20);
}

fn where_no_thread_can_be_started_files_still_work(config: Config) {
    // What the thread is denied, no other notices.
    let denied = std::thread::spawn(move || {
        let mut driver = Driver::new(config);
        allow_no_more_threads();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mode = OpenMode { read: true, write: true, create: true, ..OpenMode::default() };
        let file = driver.open(&path, mode).unwrap();
        assert_eq!(driver.write(raw_file(&file), b"content", Some(0)).unwrap(), 7);
        driver.run(Op::Sync { file: raw_file(&file), data_only: false }).unwrap();
        assert_eq!(driver.read(raw_file(&file), 64, Some(0)).unwrap(), b"content");
        driver.run(Op::CloseFile { file: system::give_up(file) }).unwrap();
        drop(driver.open("/dev/null".as_ref(), OpenMode { read: true, ..OpenMode::default() }).unwrap());
        let call = driver.begin_call_in(Lane::Short, || Ok(7));
        assert_eq!(driver.counted(call).unwrap(), 7);
        let (client, server) = pair();
        let recv = driver.begin_recv(raw_socket(&server), 8, 0);
        driver.turn(Duration::ZERO);
        driver.send(raw_socket(&client), b"on").unwrap();
        assert_eq!(driver.received(recv).unwrap(), b"on");

        // What might wait for ever would stop this thread.
        let pipe = folder.path().join("pipe");
        make_named_pipe(&pipe);
        let how = OpenHow { flags: libc::O_RDONLY | libc::O_CLOEXEC, mode: 0 };
        let (opened, _) = driver.run_with(system_path(&pipe).unwrap(), |path| Op::Open { path, how });
        for lane in [Lane::Long, Lane::Endless] {
            let call = driver.begin_call_in(lane, || panic!("it is run"));
            let error = driver.counted(call).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            assert!(error.to_string().starts_with("no thread could be started for a function"), "{error}");
        }
        let error = opened.unwrap_err();
        assert!(error.to_string().starts_with("no thread could be started for an open"), "{error}");
    });
    denied.join().unwrap();
}
