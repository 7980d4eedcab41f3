//! Files.

use std::rc::Rc;

use overlapped::sim::Rules;
use overlapped::spawn;

use super::{bytes_at, storm};

#[test]
fn files_are_as_they_were_written() {
    let rules = Rules { short_files: 3, ..Rules::default() };
    storm(rules, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = Rc::new(overlapped::fs::File::create(&path).unwrap());
        let writers: Vec<_> = (0..3_usize)
            .map(|number| {
                let file = Rc::clone(&file);
                spawn(move || {
                    let mut written = 0;
                    while written < 500 {
                        let place = number * 500 + written;
                        written += file.write_at(&bytes_at(place, 500 - written), place as u64).unwrap();
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        file.sync_all().unwrap();
        assert!(overlapped::fs::read(&path).unwrap() == bytes_at(0, 1500));
    });
}
