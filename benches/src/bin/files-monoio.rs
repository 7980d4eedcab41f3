//! Files on monoio, which reads and writes at offsets and closes by the ring: a task a file.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Instant;

use monoio::buf::IoBuf;
use monoio::fs::File;
use monoio::{IoUringDriver, RuntimeBuilder, spawn};
use overlapped_benches::Laps;
use overlapped_benches::files::{Copying, OPENS, PIECE, Pair, TICK, Ticker, Work, print};

async fn opens(work: &Work) -> io::Result<Laps> {
    let file = work.opened()?;
    let mut laps = Laps::of(OPENS);
    while laps.more() {
        for _ in 0..OPENS {
            File::open(&file).await?.close().await?;
        }
    }
    Ok(laps)
}

async fn copy((source, target): Pair) -> io::Result<()> {
    let (reader, writer) = (File::open(source).await?, File::create(target).await?);
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    loop {
        let (length, read) = reader.read_at(piece, at).await;
        let length = length?;
        if length == 0 {
            reader.close().await?;
            return writer.close().await;
        }
        let (written, slice) = writer.write_all_at(read.slice(..length), at).await;
        written?;
        at += length as u64;
        piece = slice.into_inner();
    }
}

async fn copies(mut copying: Copying) -> io::Result<Copying> {
    for _ in 0..Copying::TIMES {
        let (ticker, done) = (Rc::new(RefCell::new(Ticker::default())), Rc::new(Cell::new(false)));
        let began = Instant::now();
        let (theirs, ended) = (Rc::clone(&ticker), Rc::clone(&done));
        let ticking = spawn(async move {
            while !ended.get() {
                theirs.borrow_mut().tick();
                monoio::time::sleep(TICK).await;
            }
        });
        let copiers: Vec<_> = copying.pairs.iter().cloned().map(|pair| spawn(copy(pair))).collect();
        for copier in copiers {
            copier.await?;
        }
        let time = began.elapsed();
        ticker.borrow_mut().tick();
        done.set(true);
        ticking.await;
        copying.record(time, &ticker.borrow())?;
    }
    Ok(copying)
}

async fn measure() -> io::Result<()> {
    let work = Work::asked();
    print(opens(&work).await?, copies(work.copying("small")?).await?, copies(work.copying("")?).await?);
    Ok(())
}

fn main() -> io::Result<()> {
    RuntimeBuilder::<IoUringDriver>::new().enable_timer().build()?.block_on(measure())
}
