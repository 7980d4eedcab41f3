//! Files by the standard library, one after the other: no ticker can run beside it, so its gap is the whole time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Instant;

use overlapped_benches::Laps;
use overlapped_benches::files::{Copying, OPENS, PIECE, Pair, Ticker, Work, print};

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
        let (mut ticker, began) = (Ticker::default(), Instant::now());
        copying.pairs.iter().try_for_each(copy)?;
        ticker.tick();
        copying.record(began.elapsed(), &ticker)?;
    }
    Ok(copying)
}

fn main() -> io::Result<()> {
    let work = Work::asked();
    print(opens(&work)?, copies(work.copying("small")?)?, copies(work.copying("")?)?);
    Ok(())
}
