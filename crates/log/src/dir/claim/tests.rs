//! Directories of every kind, and what is said of them.

use std::path::PathBuf;

use millstream_env::fs::OsFs;
use millstream_env::random::SeededRandom;

use super::*;

fn prepare(
    directories: &[PathBuf],
    node_id: i32,
    cluster_id: Option<&str>,
) -> Result<Claimed, LogDirError> {
    let options = ClaimOptions {
        directories: directories.to_vec(),
        metadata_dir: None,
        node_id: NodeId(node_id),
        cluster_id: cluster_id.map(str::to_owned),
    };
    claim(&OsFs::shared(), SeededRandom::new(7).as_ref(), &options)
}

fn ids(claimed: &Claimed) -> Vec<Uuid> {
    claimed.dirs.iter().map(LogDir::id).collect()
}

#[test]
fn an_empty_directory_is_formatted_and_known_again() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().join("a"), root.path().join("b")];
    let first = prepare(&dirs, 1, None).unwrap();
    let (first_ids, cluster_id) = (ids(&first), first.cluster_id.clone().unwrap());
    assert_eq!((first.formatted, first_ids.len()), (2, 2));
    assert_ne!(first_ids[0], first_ids[1]);
    assert!(matches!(prepare(&dirs[1..], 1, None), Err(LogDirError::Locked { .. })));
    drop(first);
    let again = prepare(&dirs, 1, None).unwrap();
    assert_eq!(
        (again.formatted, ids(&again), again.cluster_id.as_ref()),
        (0, first_ids, Some(&cluster_id))
    );
    drop(again);
    let grown = [dirs[0].clone(), dirs[1].clone(), root.path().join("c")];
    let grown = prepare(&grown, 1, Some(&cluster_id)).unwrap();
    assert_eq!((grown.formatted, grown.cluster_id.as_ref()), (1, Some(&cluster_id)));
    let twice = [dirs[0].clone(), dirs[0].clone()];
    assert!(matches!(prepare(&twice, 1, None), Err(LogDirError::Twice { .. })));
}

/// A node that joins learns its cluster's id when its directories are in use already.
#[test]
fn a_directory_that_joins_gets_its_cluster_later() {
    let root = tempfile::tempdir().unwrap();
    let directories = vec![root.path().join("a"), root.path().join("b")];
    let options =
        ClaimOptions { directories, metadata_dir: None, node_id: NodeId(1), cluster_id: None };
    let random = SeededRandom::new(7);
    let join = || claim_to_join(&OsFs::shared(), random.as_ref(), &options).unwrap();
    let first = join();
    let first_ids = ids(&first);
    assert_eq!((first.formatted, first.cluster_id.clone()), (2, None));
    std::fs::create_dir(root.path().join("a/__cluster_metadata-0")).unwrap();
    drop(first);
    // Stopped before it knew; then stopped when one directory was told.
    let again = join();
    assert_eq!((ids(&again), again.cluster_id.clone()), (first_ids.clone(), None));
    again.dirs[0].join("mine").unwrap();
    drop(again);
    let joined = join();
    assert_eq!((ids(&joined), joined.cluster_id.as_deref()), (first_ids, Some("mine")));
    let other = joined.dirs[0].join("other").unwrap_err().to_string();
    assert!(other.contains("belongs to cluster mine, not to cluster other"), "{other}");
    for dir in ["a", "b"] {
        let text = std::fs::read(root.path().join(dir).join(META_PROPERTIES)).unwrap();
        let meta = MetaProperties::parse(&text).unwrap();
        assert_eq!(meta.cluster_id.as_deref(), Some("mine"));
    }
}

#[test]
fn the_marker_of_a_clean_stop_names_the_epoch() {
    let check = |text: &str, epoch| assert_eq!(marked_epoch(text.as_bytes()), epoch, "{text}");
    check(r#"{"version":0,"brokerEpoch":42}"#, 42);
    check(r#"{"brokerEpoch": -1, "version": 0}"#, -1);
    check(r#"{"brokerEpoch" : 7"#, 7);
    check("", -1);
    check("\u{0}\"brokerEpoch\":x", -1);
}

/// A file where a directory should be stands for a disk that fails.
#[test]
fn a_failing_directory_is_named_and_the_others_go_on() {
    let root = tempfile::tempdir().unwrap();
    let (good, bad) = (root.path().join("good"), root.path().join("file/bad"));
    std::fs::write(root.path().join("file"), "").unwrap();
    let claimed = prepare(&[good.clone(), bad.clone()], 1, None).unwrap();
    assert_eq!((claimed.dirs.len(), claimed.formatted), (1, 1));
    let [(path, error)] = &claimed.failed[..] else { panic!("{:?}", claimed.failed) };
    assert_eq!(path, &bad);
    assert!(error.to_string().contains("file/bad"), "{error}");
    drop(claimed);
    // That of the metadata log is needed.
    let error = prepare(&[bad, good], 1, None).unwrap_err();
    assert!(matches!(error, LogDirError::Storage(_)), "{error}");
}

/// What a directory with this `meta.properties` is answered with, beside one that node 1 of cluster `mine` has.
fn check(text: &str, expected: &str) {
    let root = tempfile::tempdir().unwrap();
    let (good, other) = (root.path().join("good"), root.path().join("other"));
    prepare(std::slice::from_ref(&good), 1, Some("mine")).unwrap();
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join(META_PROPERTIES), text).unwrap();
    let found = match prepare(&[good, other.clone()], 1, None) {
        Ok(_) => "good".to_owned(),
        Err(error) => error.to_string().replace(&other.display().to_string(), "DIR"),
    };
    assert!(found.contains(expected), "{found}");
    assert_eq!(
        std::fs::read_to_string(other.join(META_PROPERTIES)).unwrap() == text,
        found != "good" || text.contains("directory.id")
    );
}

#[test]
fn what_belongs_to_others_is_refused_with_the_way_out() {
    let id = "directory.id=U8sc0biJJ4-RAfRfUgfWhg";
    check(&format!("#comment\n\nversion=1\r\nnode.id = 1\ncluster.id=mine\n{id}\n"), "good");
    check("version=1\nnode.id=1\ncluster.id=mine\n", "good");
    check(
        &format!("version=1\nnode.id=2\ncluster.id=mine\n{id}"),
        "DIR belongs to node 2, and this is node 1: set node.id=2",
    );
    check(
        &format!("version=1\nnode.id=1\ncluster.id=yours\n{id}"),
        "DIR belongs to cluster yours, not to cluster mine",
    );
    check("version=2\n", "run the release that wrote it");
    check("version=0\nbroker.id=1\ncluster.id=mine\n", "ZooKeeper");
    check("", "ZooKeeper");
    check("version=x\n", "version=x is not a number");
    check("version=1\nnode.id=1\n", "no cluster.id");
    check("version=1\ncluster.id=mine\n", "no node.id");
    check("version=1\ncluster.id=mine\nnode.id=1\ndirectory.id=short\n", "directory.id");
    check("version=1\ncluster.id=mine\nnode.id=99999999999\n", "too large");
}

#[test]
fn a_directory_with_files_and_no_name_tag_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    for harmless in [".lock", "lost+found", "meta.properties.tmp"] {
        std::fs::write(root.path().join(harmless), "").unwrap();
    }
    std::fs::write(root.path().join("holiday.jpg"), "").unwrap();
    let error = prepare(&dirs, 1, None).unwrap_err().to_string();
    assert!(error.contains("it holds `holiday.jpg`"), "{error}");
    std::fs::remove_file(root.path().join("holiday.jpg")).unwrap();
    assert_eq!(prepare(&dirs, 1, None).unwrap().formatted, 1);
    assert!(matches!(prepare(&[], 1, None), Err(LogDirError::NoDirectory)));
}
