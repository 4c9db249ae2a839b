//! The replicas that this broker hosts: their logs, high watermarks and who waits on them.

mod flush;
mod logs;
mod partition;
mod replicas;
mod waiter;

pub(crate) use logs::Logs;
pub(crate) use partition::{AppendFailure, Isolation, Partition};
pub(crate) use replicas::{Lookup, Replicas};
pub(crate) use waiter::FetchWaiter;
