//! The broker: listeners, dispatch, one file per API, hosted replicas and coordinators.
//!
//! Key types: [`start`] and [`Running`] (what the command line uses), `Broker` (what all connections share), `RequestContext` (what a
//! handler gets), `Partition` (a hosted replica). The way of a request: `server::connection` -> `dispatch` -> `handlers::*`. No handler
//! knows a socket; nothing here blocks an async thread on fsync or a cold read.

mod apis;
mod authorizer;
mod auto_create;
mod broker;
mod cluster;
mod cluster_view;
mod context;
mod controller;
mod coordinator;
mod dispatch;
mod features;
mod fetch;
mod handlers;
mod housekeeping;
mod producer_ids;
mod replica;
mod replication;
mod resources;
mod server;
mod settings;
mod start;
mod state_log;
mod storage;
mod topic_rules;
mod transactions;

pub use authorizer::{AllowAll, Authorizer, Operation, Principal, Resource};
pub use broker::{BoundListener, Broker};
pub use cluster::JoinError;
pub use start::{Running, StartError, start, start_on};
