//! Random reads on glommio: tasks that share a file, which it reads through the page cache.

use std::io;
use std::rc::Rc;

use glommio::io::BufferedFile;
use glommio::{LocalExecutorBuilder, spawn_local};
use overlapped_benches::random::{PAGE, Places, READERS, READS, Turns, check, offset};

async fn reads(file: Rc<BufferedFile>, places: Places) -> io::Result<()> {
    for page in places.take(READS as usize) {
        check(page, &file.read_at(offset(page), PAGE).await?);
    }
    Ok(())
}

async fn measure() -> io::Result<()> {
    let mut turns = Turns::asked()?;
    let file = Rc::new(BufferedFile::open(&turns.path).await?);
    while turns.more()? {
        let readers: Vec<_> =
            (0..READERS).map(|reader| spawn_local(reads(Rc::clone(&file), turns.places(reader)))).collect();
        for reader in readers {
            reader.await?;
        }
    }
    turns.print();
    Ok(())
}

fn main() -> io::Result<()> {
    LocalExecutorBuilder::default().make()?.run(measure())
}
