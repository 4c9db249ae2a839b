//! Who may do what: every handler asks here before it acts.
//!
//! For now everyone may do everything; the questions are asked all the same, so that access control can come
//! without a handler being opened again.

use std::sync::Arc;

/// Who a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// `User` for all principals so far.
    pub kind: Arc<str>,
    /// The name; `ANONYMOUS` on a listener without authentication.
    pub name: Arc<str>,
}

impl Principal {
    /// Who comes without showing credentials.
    pub fn anonymous() -> Self {
        Self { kind: "User".into(), name: "ANONYMOUS".into() }
    }
}

/// Kafka's ACL operations (their numbers on the wire are those of `AclOperation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum Operation {
    /// Read records, or use a group.
    Read = 3,
    /// Write records.
    Write = 4,
    /// Create topics.
    Create = 5,
    /// Delete topics, groups or records.
    Delete = 6,
    /// Change partitions.
    Alter = 7,
    /// See metadata.
    Describe = 8,
    /// What only brokers do.
    ClusterAction = 9,
    /// See settings.
    DescribeConfigs = 10,
    /// Change settings.
    AlterConfigs = 11,
    /// Produce with an idempotent producer.
    IdempotentWrite = 12,
}

/// What an operation is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic, by name.
    Topic(&'a str),
    /// A group, by id.
    Group(&'a str),
    /// The cluster.
    Cluster,
    /// A transactional id.
    TransactionalId(&'a str),
}

impl Resource<'_> {
    /// The operations that make sense for this kind of resource.
    pub fn operations(self) -> &'static [Operation] {
        use Operation::{
            Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs,
            IdempotentWrite, Read, Write,
        };
        match self {
            Self::Topic(_) => {
                &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs]
            }
            Self::Group(_) => &[Read, Delete, Describe, DescribeConfigs, AlterConfigs],
            Self::Cluster => &[
                Create,
                Alter,
                Describe,
                ClusterAction,
                DescribeConfigs,
                AlterConfigs,
                IdempotentWrite,
            ],
            Self::TransactionalId(_) => &[Write, Describe],
        }
    }

    /// [`Self::operations`] as the bits of the wire's `AuthorizedOperations` fields.
    pub fn all_operations(self) -> i32 {
        operation_bits(self.operations().iter().copied())
    }
}

/// Operations as the bits of the wire's `AuthorizedOperations` fields.
pub(crate) fn operation_bits(operations: impl Iterator<Item = Operation>) -> i32 {
    operations.fold(0, |bits, operation| bits | (1 << (operation as i32)))
}

/// Decides about operations.
pub trait Authorizer: Send + Sync + std::fmt::Debug {
    /// Whether `principal`, connected from `host`, may do `operation` to `resource`.
    fn allows(
        &self,
        principal: &Principal,
        host: std::net::IpAddr,
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool;
}

/// Allows all: a broker without access control.
#[derive(Debug)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn allows(&self, _: &Principal, _: std::net::IpAddr, _: Operation, _: Resource<'_>) -> bool {
        true
    }
}
