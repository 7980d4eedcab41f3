//! Files on Overlapped, in blocking style: a tasklet a file.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::Instant;

use overlapped::fs::File;
use overlapped::{sleep, spawn};
use overlapped_benches::Laps;
use overlapped_benches::files::{Copying, OPENS, PIECE, Pair, TICK, Ticker, Work, print};

fn opens(work: &Work) -> io::Result<Laps> {
    let file = work.opened()?;
    let mut laps = Laps::of(OPENS);
    while laps.more() {
        for _ in 0..OPENS {
            File::open(&file)?;
        }
    }
    Ok(laps)
}

fn copy((source, target): &Pair) -> io::Result<()> {
    let (mut reader, mut writer) = (File::open(source)?, File::create(target)?);
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(()),
            length => writer.write_all(&piece[..length])?,
        }
    }
}

fn copies(mut copying: Copying) -> io::Result<Copying> {
    for _ in 0..Copying::TIMES {
        let (ticker, done) = (Rc::new(RefCell::new(Ticker::default())), Rc::new(Cell::new(false)));
        let began = Instant::now();
        let (theirs, ended) = (Rc::clone(&ticker), Rc::clone(&done));
        let ticking = spawn(move || {
            while !ended.get() {
                theirs.borrow_mut().tick();
                sleep(TICK);
            }
        });
        let copiers: Vec<_> = copying.pairs.iter().cloned().map(|pair| spawn(move || copy(&pair))).collect();
        copiers.into_iter().try_for_each(|copier| copier.join().expect("a copier does not panic"))?;
        let time = began.elapsed();
        ticker.borrow_mut().tick();
        done.set(true);
        ticking.join().expect("a ticker does not panic");
        copying.record(time, &ticker.borrow())?;
    }
    Ok(copying)
}

fn main() -> io::Result<()> {
    overlapped::run(|| {
        let work = Work::asked();
        print(opens(&work)?, copies(work.copying("small")?)?, copies(work.copying("")?)?);
        Ok(())
    })
}
