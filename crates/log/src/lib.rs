//! Segments, indexes, recovery, retention and compaction on disk.
