//! Random reads by threads of the system, one for each reader.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread;

use overlapped_benches::random::{PAGE, Places, READERS, READS, Turns, check, offset};

fn reads(file: &File, places: Places) -> io::Result<()> {
    let mut bytes = [0; PAGE];
    for page in places.take(READS as usize) {
        file.read_exact_at(&mut bytes, offset(page))?;
        check(page, &bytes);
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let mut turns = Turns::asked()?;
    let file = File::open(&turns.path)?;
    while turns.more()? {
        thread::scope(|threads| {
            let reader = |reader| {
                let (file, places) = (&file, turns.places(reader));
                threads.spawn(move || reads(file, places))
            };
            let readers: Vec<_> = (0..READERS).map(reader).collect();
            readers.into_iter().try_for_each(|reader| reader.join().expect("a reader does not panic"))
        })?;
    }
    turns.print();
    Ok(())
}
