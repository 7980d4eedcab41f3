//! Random reads on tokio's current-thread runtime: `random-tokio FILE [HOW]`.
//!
//! HOW is `fs`, unless told: tokio's `File` reads where it stands, so that each task has one of its own, and seeks before each
//! read; or `blocking`: a positioned read of the standard library's, given to the pool of threads.

use std::io::{self, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use overlapped_benches::argument;
use overlapped_benches::random::{PAGE, Places, READERS, READS, Turns, check, offset};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::task::{JoinSet, spawn_blocking};

async fn seeks_and_reads(mut file: File, places: Places) -> io::Result<()> {
    let mut bytes = [0; PAGE];
    for page in places.take(READS as usize) {
        file.seek(SeekFrom::Start(offset(page))).await?;
        file.read_exact(&mut bytes).await?;
        check(page, &bytes);
    }
    Ok(())
}

async fn reads_in_the_pool(file: Arc<std::fs::File>, places: Places) -> io::Result<()> {
    let mut bytes = vec![0; PAGE];
    for page in places.take(READS as usize) {
        let file = Arc::clone(&file);
        let read = move || file.read_exact_at(&mut bytes, offset(page)).map(|()| bytes);
        bytes = spawn_blocking(read).await.expect("a read does not panic")?;
        check(page, &bytes);
    }
    Ok(())
}

async fn measure() -> io::Result<()> {
    let in_the_pool = argument(2, "fs".to_owned()) == "blocking";
    let mut turns = Turns::asked()?;
    let shared = Arc::new(std::fs::File::open(&turns.path)?);
    while turns.more()? {
        let mut readers = JoinSet::new();
        for reader in 0..READERS {
            let places = turns.places(reader);
            if in_the_pool {
                readers.spawn(reads_in_the_pool(Arc::clone(&shared), places));
            } else {
                readers.spawn(seeks_and_reads(File::open(&turns.path).await?, places));
            }
        }
        readers.join_all().await.into_iter().collect::<io::Result<()>>()?;
    }
    turns.print();
    Ok(())
}

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure())
}
