//! Who coordinates a group, and calls about groups.
//!
//! A coordinator is asked for once and kept until an error says that it moved.

use std::time::Duration;

use millstream_base::{ErrorCode, NodeId};
use millstream_wire::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use millstream_wire::{Request, Str};

use super::calls::AskedAs;
use super::{Cluster, Lane};
use crate::ClientError;

/// How long a coordinator may take to answer before anyone asks whether it still is one.
const PATIENCE: Duration = Duration::from_secs(2);

impl Cluster {
    /// The broker that coordinates `group`, as far as known.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<NodeId, ClientError> {
        let known = self.inner.known.lock().coordinators.get(group).copied();
        match known {
            Some(node) => Ok(node),
            None => self.find_coordinator(group).await,
        }
    }

    pub(super) async fn find_coordinator(&self, group: &str) -> Result<NodeId, ClientError> {
        let build = |version: i16| {
            let mut request = FindCoordinatorRequest::default();
            if version >= 4 {
                request.coordinator_keys = vec![group.into()];
            } else {
                request.key = group.into();
            }
            request
        };
        let found = coordinator_of(self.call_quickest(build).await?, group)?;
        if self.metadata().broker(found).is_none() {
            self.refresh().await?;
        }
        self.inner.known.lock().coordinators.insert(group.to_owned(), found);
        Ok(found)
    }

    /// Sends a request about `group` to its coordinator. The caller tells
    /// [`Cluster::note_coordinator_error`] of errors within the answer.
    pub(crate) async fn call_coordinator<R: Request>(
        &self,
        group: &str,
        lane: Lane,
        within: Option<Duration>,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        self.call_coordinator_upto(group, (lane, None), within, build).await
    }

    /// The same in a version of at most `max`.
    pub(crate) async fn call_coordinator_upto<R: Request>(
        &self,
        group: &str,
        (lane, max): (Lane, Option<i16>),
        within: Option<Duration>,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let node = self.coordinator(group).await?;
        let called = async {
            let connection = self.connection(node, lane).await?;
            let version = connection.version_of::<R>(max)?;
            let request = build(version);
            // One that hangs keeps its connections open; the others may have put another in its place.
            let place = AskedAs::Coordinator(node, group);
            let answer = connection.call(&request, version, within);
            self.while_there((&connection, R::KEY.name()), place, PATIENCE, answer).await
        };
        called.await.inspect_err(|error| self.note_coordinator_error(group, error))
    }

    /// Forgets who coordinates `group` if `error` says that this changed.
    pub(crate) fn note_coordinator_error(&self, group: &str, error: &ClientError) {
        let moved = matches!(
            error.code(),
            Some(
                ErrorCode::NotCoordinator
                    | ErrorCode::CoordinatorNotAvailable
                    | ErrorCode::ReplicaNotAvailable
            )
        ) || matches!(error, ClientError::Connection(_));
        if moved {
            self.inner.known.lock().coordinators.remove(group);
        }
    }
}

fn coordinator_of(response: FindCoordinatorResponse, group: &str) -> Result<NodeId, ClientError> {
    let what = || format!("coordinator of group `{group}`");
    let (code, message, node) = match response.coordinators.into_iter().next() {
        Some(first) => (first.error_code, first.error_message, first.node_id),
        None => (response.error_code, response.error_message, response.node_id),
    };
    ClientError::check_with(code, message.as_ref().map(Str::as_str), what)?;
    Ok(NodeId(node))
}
