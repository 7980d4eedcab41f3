//! Directories: what is listed, how, and what is made.

mod support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::time::Duration;

use overlapped::fs::{self, DirBuilder};
use overlapped::{attempted, timeout};
use support::run;

/// Several times what is read in one go.
const MANY: usize = 1000;

/// A folder with so many files, and their names.
fn folder_of(count: usize) -> (tempfile::TempDir, BTreeSet<OsString>) {
    let folder = tempfile::tempdir().unwrap();
    let names: BTreeSet<_> = (0..count).map(|number| OsString::from(format!("file {number}"))).collect();
    names.iter().for_each(|name| std::fs::write(folder.path().join(name), b"").unwrap());
    (folder, names)
}

#[test]
fn each_entry_is_listed_once_however_many_there_are() {
    for count in [0, 1, 255, 256, 257, MANY] {
        let (folder, names) = folder_of(count);
        run(|| {
            let mut listing = fs::read_dir(folder.path()).unwrap();
            let listed: Vec<_> = listing.by_ref().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(listed.len(), count);
            assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), names);
            assert!(listing.next().is_none(), "the end stays");
        });
    }
}

/// On Windows the system may have read it whole.
#[cfg(unix)]
#[test]
fn a_listing_is_read_as_it_is_asked_for() {
    let (folder, names) = folder_of(4 * MANY);
    run(|| {
        let mut listing = fs::read_dir(folder.path()).unwrap();
        let first = listing.next().unwrap().unwrap().file_name();
        assert!(names.contains(&first));
        names.iter().for_each(|name| std::fs::remove_file(folder.path().join(name)).unwrap());
        let rest = listing.filter(|entry| entry.is_ok()).count();
        assert!(rest < 3 * MANY, "{rest} were read ahead");
    });
}

/// At whatever point of the read it is left: the time is longer by a little with each try.
#[test]
fn a_listing_that_is_left_in_time_loses_no_entry() {
    let (folder, names) = folder_of(4 * MANY);
    run(|| {
        let mut listing = fs::read_dir(folder.path()).unwrap();
        let mut listed = Vec::new();
        let (mut ended, mut patience) = (false, Duration::ZERO);
        while !ended {
            // Whatever comes of the block: the entry is put outside of it.
            let _ = timeout(patience, || match listing.next() {
                None => ended = true,
                Some(Ok(entry)) => {
                    listed.push(entry.file_name());
                    patience = Duration::ZERO;
                }
                Some(Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    patience += Duration::from_micros(5);
                }
            });
        }
        assert_eq!(listed.len(), 4 * MANY);
        assert!(listed.into_iter().collect::<BTreeSet<_>>() == names);
    });
}

#[test]
fn an_entry_tells_what_it_is_and_what_is_gone_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"contents").unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    run(|| {
        let mut entries: Vec<_> = fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        entries.sort_by_key(|entry| entry.file_name());
        let [file, inner] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(file.path(), folder.path().join("file"));
        assert!(file.file_type().unwrap().is_file() && inner.file_type().unwrap().is_dir());
        assert_eq!(file.metadata().unwrap().len(), 8);
        assert!(inner.metadata().unwrap().is_dir());
        #[cfg(unix)]
        assert_eq!(file.ino(), std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap()));
        fs::remove_file(file.path()).unwrap();
        #[cfg(unix)]
        {
            let error = file.metadata().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert_eq!(attempted(&error), format!("look at {}: {error}", file.path().display()));
        }
        let error = fs::read_dir(file.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(attempted(&error).starts_with("list "));
    });
}

#[test]
fn directories_are_made_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b");
    run(|| {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        builder.mode(0o700);
        assert_eq!(builder.create(&deep).unwrap_err().kind(), ErrorKind::NotFound);
        builder.recursive(true).create(&deep).unwrap();
        builder.create(&deep).expect("one that exists is no error");
        #[cfg(unix)]
        for made in [&deep, &folder.path().join("a")] {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(made).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o700);
        }
        assert_eq!(DirBuilder::new().create(&deep).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(fs::exists(&deep).unwrap() && !fs::exists(deep.join("c")).unwrap());
    });
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_made_followed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    run(|| {
        fs::symlink("file", &link).unwrap();
        assert!(!fs::exists(&link).unwrap(), "what it points to is not there");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        fs::write(&link, b"by the link").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"by the link");
        assert_eq!(fs::read_link(&link).unwrap(), std::path::Path::new("file"));
        let types: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name(), entry.file_type().unwrap().is_symlink()))
            .collect();
        assert!(types.contains(&("link".into(), true)) && types.contains(&("file".into(), false)));
        assert_eq!(fs::symlink("file", &link).unwrap_err().kind(), ErrorKind::AlreadyExists);
        // To whom it belongs already.
        let metadata = fs::metadata(&file).unwrap();
        let (user, group) =
            (std::os::unix::fs::MetadataExt::uid(&metadata), std::os::unix::fs::MetadataExt::gid(&metadata));
        fs::chown(&link, Some(user), Some(group)).unwrap();
        fs::lchown(&link, Some(user), None).unwrap();
        fs::remove_file(&link).unwrap();
        assert!(fs::exists(&file).unwrap());
        let error = fs::chown(&link, None, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(attempted(&error).starts_with("change the owner of "));
    });
}
