//! The replicas that this broker hosts: their logs, what this broker is to them, and who waits on them.

mod acks;
mod append;
mod bells;
mod complaint;
mod flush;
mod follow;
mod isr;
mod logs;
mod partition;
mod read;
mod replicas;
mod role;
mod shared;
mod starts;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transactional;
mod waiter;

pub(crate) use acks::{CommitFailure, Durable};
pub(crate) use append::{AppendFailure, Appended};
pub(crate) use bells::Bell;
pub(crate) use follow::{FollowFailure, FromLeader};
pub(crate) use logs::Logs;
pub(crate) use partition::Partition;
pub(crate) use read::{FetchRead, FetchRefused, Follower, Isolation, Reader};
pub(crate) use replicas::{Lookup, Replicas};
pub(crate) use role::Duty;
pub(crate) use shared::Shared;
pub(crate) use starts::AllStarted;
pub(crate) use transactional::{TxnMarker, Verification, Writer};
pub(crate) use waiter::FetchWaiter;
