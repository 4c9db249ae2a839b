//! Reading only what needs no waiting: the async threads look first at what is in memory.
//!
//! Key function: [`without_waiting`]. It holds for the calling thread, so that code which reads files need not know.

use std::cell::Cell;

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(true) };
}

/// Whether reads on this thread may wait for a disk.
pub fn may_wait() -> bool {
    MAY_WAIT.get()
}

/// Runs `work`, in which a read that would have to wait for a disk fails with `WouldBlock` instead. Where the file system
/// cannot tell, it waits. Opening files is not covered.
pub fn without_waiting<R>(work: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            MAY_WAIT.set(self.0);
        }
    }
    let _restore = Restore(MAY_WAIT.replace(false));
    work()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{OpenMode, OsFs};

    #[test]
    fn what_is_in_memory_is_read_and_the_thread_is_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsFs::shared().open(&dir.path().join("f"), OpenMode::Create).unwrap();
        file.write_all_at(b"hot", 0).unwrap();
        let mut buf = [0; 3];
        without_waiting(|| {
            assert!(!may_wait());
            file.read_exact_at(&mut buf, 0).unwrap();
            assert!(!without_waiting(may_wait));
            assert!(!may_wait());
        });
        assert!(may_wait());
        assert_eq!(&buf, b"hot");
    }
}
