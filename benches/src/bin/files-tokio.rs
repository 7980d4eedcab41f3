//! Files on tokio: each call on a thread of its pool, and a task a file on the current thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Instant;

use overlapped_benches::Laps;
use overlapped_benches::files::{Copying, OPENS, PIECE, Pair, TICK, Ticker, Work, print};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{LocalSet, spawn_local};

async fn opens(work: &Work) -> io::Result<Laps> {
    let file = work.opened()?;
    let mut laps = Laps::of(OPENS);
    while laps.more() {
        for _ in 0..OPENS {
            File::open(&file).await?;
        }
    }
    Ok(laps)
}

async fn copy((source, target): Pair) -> io::Result<()> {
    let (mut reader, mut writer) = (File::open(source).await?, File::create(target).await?);
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece).await? {
            0 => return writer.flush().await,
            length => writer.write_all(&piece[..length]).await?,
        }
    }
}

async fn copies(mut copying: Copying) -> io::Result<Copying> {
    for _ in 0..Copying::TIMES {
        let (ticker, done) = (Rc::new(RefCell::new(Ticker::default())), Rc::new(Cell::new(false)));
        let began = Instant::now();
        let (theirs, ended) = (Rc::clone(&ticker), Rc::clone(&done));
        let ticking = spawn_local(async move {
            while !ended.get() {
                theirs.borrow_mut().tick();
                tokio::time::sleep(TICK).await;
            }
        });
        let copiers: Vec<_> = copying.pairs.iter().cloned().map(|pair| spawn_local(copy(pair))).collect();
        for copier in copiers {
            copier.await.expect("a task does not panic")?;
        }
        let time = began.elapsed();
        ticker.borrow_mut().tick();
        done.set(true);
        ticking.await.expect("a task does not panic");
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, measure())
}
