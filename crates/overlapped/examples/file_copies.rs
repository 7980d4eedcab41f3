//! Ten big and twenty small files copied at once by tasklets, while a ticker shows that the thread is never held up.
//!
//! ```sh
//! cargo run --release --example file_copies
//! ```

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use overlapped::fs::{self, File};
use overlapped::{sleep, spawn};

const BIG: (usize, usize) = (10, 3_000_000);
const SMALL: (usize, usize) = (20, 3_000);
const PIECE: usize = 64 << 10;
const TICK: Duration = Duration::from_millis(1);

/// Bytes that differ from file to file and from place to place.
fn contents(file: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at + file * 977).wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

/// Copies a file piece by piece, as one would without tasklets.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            length => to.write_all(&piece[..length])?,
        }
    }
}

fn main() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let sizes = [vec![BIG.1; BIG.0], vec![SMALL.1; SMALL.0]].concat();
    let paths = |file: usize| -> (PathBuf, PathBuf) {
        (folder.path().join(format!("original {file}")), folder.path().join(format!("copy {file}")))
    };
    for (file, size) in sizes.iter().enumerate() {
        std::fs::write(paths(file).0, contents(file, *size))?;
    }

    let (seconds, worst_gap) = overlapped::run(|| {
        let worst = Rc::new(Cell::new(Duration::ZERO));
        let theirs = worst.clone();
        spawn(move || {
            loop {
                let before = Instant::now();
                sleep(TICK);
                theirs.set(theirs.get().max(before.elapsed()));
            }
        });
        let start = Instant::now();
        let copies: Vec<_> = (0..sizes.len())
            .map(|file| {
                let (from, to) = paths(file);
                spawn(move || copy(&from, &to))
            })
            .collect();
        for copy in copies {
            copy.join()??;
        }
        let seconds = start.elapsed().as_secs_f64();
        let worst_gap = worst.get();
        // Byte for byte, each copy is what its original was made of.
        for (file, size) in sizes.iter().enumerate() {
            if fs::read(paths(file).1)? != contents(file, *size) {
                return Err(io::Error::other(format!("the copy of file {file} differs from the original")));
            }
        }
        io::Result::Ok((seconds, worst_gap))
    })?;
    println!(
        "file copies: {} big and {} small files, {} bytes, copied at once in {seconds:.3} s and right; \
         worst gap of the 1 ms ticker {:.1} ms",
        BIG.0,
        SMALL.0,
        sizes.iter().sum::<usize>(),
        worst_gap.as_secs_f64() * 1e3
    );
    Ok(())
}
