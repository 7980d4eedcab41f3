//! Locks of files: who has one, who waits for it, and what goes on meanwhile.

mod support;

use std::cell::Cell;
use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use overlapped::fs::{self, File};
use overlapped::{Config, is_cancelled, offload, sleep, spawn, timeout, yield_now};
use support::{Watch, run, wait_for};
use tempfile::TempDir;

const MOMENT: Duration = Duration::from_millis(20);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, b"contents").unwrap();
    (folder, path)
}

/// A handle on which the port has worked already.
fn open(path: &Path) -> File {
    let file = File::options().read(true).write(true).open(path).unwrap();
    assert_eq!(file.read_at(&mut [0; 8], 0).unwrap(), 8);
    file
}

fn is_taken(tried: Result<(), TryLockError>) -> bool {
    match tried {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(error)) => panic!("{error}"),
    }
}

#[test]
fn a_lock_keeps_out_others_and_a_shared_one_those_that_want_it_alone() {
    let (_folder, path) = folder();
    run(|| {
        let (first, second, third) = (open(&path), open(&path), open(&path));
        first.lock().unwrap();
        assert!(is_taken(second.try_lock()) && is_taken(second.try_lock_shared()));
        let theirs = std::fs::File::open(&path).unwrap();
        assert!(is_taken(theirs.try_lock()), "it is the system's lock");
        first.unlock().unwrap();
        second.lock_shared().unwrap();
        third.lock_shared().unwrap();
        assert!(is_taken(first.try_lock()));
        second.unlock().unwrap();
        assert!(is_taken(first.try_lock()));
        third.unlock().unwrap();
        first.try_lock().unwrap();
        let clone = first.try_clone().unwrap();
        drop(first);
        assert!(is_taken(second.try_lock()), "a clone has the same lock");
        drop(clone);
        second.try_lock_shared().expect("the last handle is closed");
    });
}

#[test]
fn who_waits_for_a_lock_has_it_when_it_is_released_and_others_run_meanwhile() {
    let (_folder, path) = folder();
    run(|| {
        let holder = open(&path);
        holder.lock().unwrap();
        let waits: Vec<_> = [File::lock, File::lock_shared]
            .map(|lock| {
                let file = open(&path);
                spawn(move || {
                    lock(&file).unwrap();
                    file.unlock().unwrap();
                })
            })
            .into();
        sleep(MOMENT);
        assert!(!waits.iter().any(|wait| wait.is_finished()));
        holder.unlock().unwrap();
        waits.into_iter().for_each(|wait| wait.join().unwrap());
    });
}

#[test]
fn a_wait_for_a_lock_that_is_left_takes_it_neither_then_nor_later() {
    let (_folder, path) = folder();
    run(|| {
        let (holder, leaves) = (open(&path), Rc::new(open(&path)));
        holder.lock().unwrap();
        assert!(timeout(MOMENT, || leaves.lock()).is_err());
        let theirs = Rc::clone(&leaves);
        let cancelled = spawn(move || theirs.lock_shared());
        sleep(MOMENT);
        cancelled.cancel();
        assert!(is_cancelled(&cancelled.join().unwrap().unwrap_err()), "it is told by the result");
        holder.unlock().unwrap();
        sleep(MOMENT);
        open(&path).try_lock().unwrap();
    });
}

/// More than the port has threads for what waits without end.
#[test]
fn many_that_wait_for_a_lock_hold_back_neither_files_nor_functions() {
    const MANY: usize = 300;
    let (folder, path) = folder();
    run(|| {
        let holder = open(&path);
        holder.lock().unwrap();
        let (inside, had) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let waits: Vec<_> = (0..MANY)
            .map(|_| {
                let (file, inside, had) = (open(&path), Rc::clone(&inside), Rc::clone(&had));
                spawn(move || {
                    file.lock().unwrap();
                    assert!(!inside.replace(true), "two have it");
                    yield_now();
                    inside.set(false);
                    had.set(had.get() + 1);
                    file.unlock().unwrap();
                })
            })
            .collect();
        sleep(MOMENT);
        assert_eq!(offload(|| 42).unwrap(), 42);
        let other = folder.path().join("other");
        fs::write(&other, b"written").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"written");
        assert_eq!(had.get(), 0);
        holder.unlock().unwrap();
        wait_for("all had the lock", || had.get() == MANY);
        waits.into_iter().for_each(|wait| wait.join().unwrap());
    });
}

/// Also where its call has to wait for a thread: there is one, and others always have something to ask.
#[test]
fn a_lock_is_given_back_by_who_is_told_to_leave() {
    let (_folder, path) = folder();
    let _watch = Watch::new();
    Config::new().threads(1).run(|| {
        let (holder, other) = (Rc::new(open(&path)), open(&path));
        let theirs = Rc::clone(&holder);
        let leaves = spawn(move || {
            theirs.lock().unwrap();
            // A wait with a result is the first to be told.
            while theirs.sync_all().is_ok() {}
            theirs.unlock()
        });
        wait_for("it has the lock", || {
            let taken = is_taken(other.try_lock());
            if !taken {
                other.unlock().unwrap();
            }
            taken
        });
        let busy: Vec<_> = (0..50)
            .map(|_| {
                let path = path.clone();
                spawn(move || while fs::metadata(&path).is_ok() {})
            })
            .collect();
        sleep(MOMENT);
        leaves.cancel();
        leaves.join().unwrap().unwrap();
        other.try_lock().unwrap();
        busy.iter().for_each(|tasklet| tasklet.cancel());
    });
}
