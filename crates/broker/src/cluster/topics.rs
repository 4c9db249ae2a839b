//! Topics that the broker makes for itself: because a client asked for one that is not there, or for a coordinator.

use std::time::Duration;

use millstream_base::ErrorCode;
use millstream_env::task;
use millstream_wire::messages::create_topics::{
    CreatableTopic, CreatableTopicResult, CreateTopicsRequest,
};

use super::error::ControllerError;
use crate::broker::Broker;

/// How long the controller may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the metadata here may take to show what the controller made.
const ARRIVAL: Duration = Duration::from_secs(5);

impl Broker {
    /// Has the active controller make topics. Returns when those that were made, or were there, are in the metadata here;
    /// each has its own result.
    ///
    /// # Errors
    /// [`ControllerError`] when no controller could be asked.
    pub(crate) async fn make_topics(
        &self,
        topics: Vec<CreatableTopic>,
    ) -> Result<Vec<CreatableTopicResult>, ControllerError> {
        let timeout_ms = i32::try_from(PATIENCE.as_millis()).unwrap_or(i32::MAX);
        let request = CreateTopicsRequest { topics, timeout_ms, validate_only: false };
        let made = self.controller().call_within(request, PATIENCE).await?.topics;
        let exists = ErrorCode::TopicAlreadyExists.code();
        let there: Vec<&CreatableTopicResult> =
            made.iter().filter(|topic| [0, exists].contains(&topic.error_code)).collect();
        let mut images = self.quorum().watch();
        let arrived = images
            .wait_for(|image| there.iter().all(|topic| image.topics.get(&topic.name).is_some()));
        // A topic that is deleted again at once does not arrive.
        drop(task::timeout(ARRIVAL, arrived).await);
        Ok(made)
    }
}
