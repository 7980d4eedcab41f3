//! Random reads on compio: tasks that share a file.

use std::io;

use compio::buf::BufResult;
use compio::fs::File;
use compio::io::AsyncReadAtExt;
use compio::runtime::{Runtime, spawn};
use overlapped_benches::random::{PAGE, Places, READERS, READS, Turns, check, offset};

async fn reads(file: File, places: Places) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(PAGE);
    for page in places.take(READS as usize) {
        bytes.clear();
        let BufResult(read, buffer) = file.read_exact_at(bytes, offset(page)).await;
        read?;
        bytes = buffer;
        check(page, &bytes);
    }
    Ok(())
}

async fn measure() -> io::Result<()> {
    let mut turns = Turns::asked()?;
    let file = File::open(&turns.path).await?;
    while turns.more()? {
        let readers: Vec<_> = (0..READERS).map(|reader| spawn(reads(file.clone(), turns.places(reader)))).collect();
        for reader in readers {
            reader.await.expect("a task does not panic")?;
        }
    }
    turns.print();
    Ok(())
}

fn main() -> io::Result<()> {
    Runtime::new()?.block_on(measure())
}
