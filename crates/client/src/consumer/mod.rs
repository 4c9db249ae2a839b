//! Reading records: by assigned partitions or as a member of a group.

pub mod assignor;
