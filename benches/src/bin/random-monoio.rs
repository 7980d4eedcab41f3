//! Random reads on monoio: tasks that share a file.

use std::io;
use std::rc::Rc;

use monoio::fs::File;
use monoio::{IoUringDriver, RuntimeBuilder, spawn};
use overlapped_benches::random::{PAGE, Places, READERS, READS, Turns, check, offset};

async fn reads(file: Rc<File>, places: Places) -> io::Result<()> {
    let mut bytes = vec![0; PAGE];
    for page in places.take(READS as usize) {
        let (read, buffer) = file.read_exact_at(bytes, offset(page)).await;
        read?;
        bytes = buffer;
        check(page, &bytes);
    }
    Ok(())
}

async fn measure() -> io::Result<()> {
    let mut turns = Turns::asked()?;
    let file = Rc::new(File::open(&turns.path).await?);
    while turns.more()? {
        let readers: Vec<_> = (0..READERS).map(|reader| spawn(reads(Rc::clone(&file), turns.places(reader)))).collect();
        for reader in readers {
            reader.await?;
        }
    }
    turns.print();
    Ok(())
}

fn main() -> io::Result<()> {
    RuntimeBuilder::<IoUringDriver>::new().build()?.block_on(measure())
}
