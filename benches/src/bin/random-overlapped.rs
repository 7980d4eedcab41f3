//! Random reads on Overlapped: tasklets that share a file.

use std::io;
use std::rc::Rc;

use overlapped::fs::File;
use overlapped::spawn;
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
    overlapped::run(|| {
        let mut turns = Turns::asked()?;
        let file = Rc::new(File::open(&turns.path)?);
        while turns.more()? {
            let readers: Vec<_> = (0..READERS)
                .map(|reader| {
                    let (file, places) = (Rc::clone(&file), turns.places(reader));
                    spawn(move || reads(&file, places))
                })
                .collect();
            readers.into_iter().try_for_each(|reader| reader.join().expect("a reader does not panic"))?;
        }
        turns.print();
        Ok(())
    })
}
