//! Files on a real directory.

use super::*;

fn dir(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("millstream-fs-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn bytes_written_at_a_position_come_back() {
    let dir = dir("bytes");
    let file = OsFs.open(&dir.join("a"), OpenMode::CreateNew).unwrap();
    file.write_all_at(b"hello world", 0).unwrap();
    let parts = [io::IoSlice::new(b"TH"), io::IoSlice::new(b"ERE")];
    assert_eq!(file.write_vectored_at(&parts, 6).unwrap(), 5);
    let mut buf = [0; 11];
    file.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"hello THERE");
    assert_eq!(file.read_up_to(&mut buf, 6).unwrap(), 5);
    let short = file.read_exact_at(&mut buf, 6).unwrap_err();
    assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    file.truncate(5).unwrap();
    assert_eq!(file.size().unwrap(), 5);
    file.sync_data().unwrap();
    assert_ne!(file.cached(0, 5), Residency::NotCached);
    file.prefetch(0, 5);
    assert!(file.descriptor().is_some());
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn names_are_listed_in_order_and_kinds_of_errors_are_kept() {
    let dir = dir("names");
    OsFs.create_dir(&dir.join("sub")).unwrap();
    OsFs.write_atomically(&dir.join("b"), b"12").unwrap();
    OsFs.write_atomically(&dir.join("b"), b"3").unwrap();
    assert_eq!(OsFs.read(&dir.join("b"), 10).unwrap(), b"3");
    assert_eq!(OsFs.read(&dir.join("b"), 0).unwrap_err().kind(), io::ErrorKind::InvalidData);
    let names: Vec<_> = OsFs.list(&dir).unwrap().into_iter().map(|e| (e.name, e.is_dir)).collect();
    assert_eq!(names, [("b".to_owned(), false), ("sub".to_owned(), true)]);
    assert!(OsFs.entry(&dir.join("none")).unwrap().is_none());
    let missing = OsFs.open(&dir.join("none"), OpenMode::Write).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let there = OsFs.open(&dir.join("b"), OpenMode::CreateNew).unwrap_err();
    assert_eq!(there.kind(), io::ErrorKind::AlreadyExists);
    OsFs.rename(&dir.join("b"), &dir.join("c")).unwrap();
    OsFs.sync_dir(&dir).unwrap();
    OsFs.sync_all(&dir).unwrap();
    OsFs.remove_file(&dir.join("c")).unwrap();
    assert!(OsFs.free_bytes(&dir).unwrap() <= OsFs.total_bytes(&dir).unwrap());
    OsFs.remove_dir_all(&dir).unwrap();
}

#[test]
fn a_lock_has_one_holder() {
    let dir = dir("lock");
    let held = OsFs.lock(&dir.join(".lock")).unwrap();
    let second = OsFs.lock(&dir.join(".lock")).unwrap_err();
    assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
    drop(held);
    OsFs.lock(&dir.join(".lock")).unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}
