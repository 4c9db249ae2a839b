//! Answers of the controller, as far as the channel must understand them: whether it was the active one.
//!
//! Key trait: [`ControllerAnswer`]. A request that came to a controller which was not active, or no longer, is asked again.

use millstream_base::ErrorCode;
use millstream_wire::messages::allocate_producer_ids::AllocateProducerIdsResponse;
use millstream_wire::messages::alter_partition::AlterPartitionResponse;
use millstream_wire::messages::assign_replicas_to_dirs::AssignReplicasToDirsResponse;
use millstream_wire::messages::broker_heartbeat::BrokerHeartbeatResponse;
use millstream_wire::messages::broker_registration::BrokerRegistrationResponse;
use millstream_wire::messages::controller_registration::ControllerRegistrationResponse;
use millstream_wire::messages::create_topics::CreateTopicsResponse;
use millstream_wire::messages::envelope::EnvelopeResponse;

/// An answer that may come from a controller which is not the active one.
pub(crate) trait ControllerAnswer {
    /// The code at the top of the answer, or of its first part where it has none at the top.
    fn first_code(&self) -> i16;

    /// Whether another controller must be asked.
    fn is_from_passive(&self) -> bool {
        self.first_code() == ErrorCode::NotController.code()
    }
}

macro_rules! answers_with_code {
    ($($response:ty),* $(,)?) => {
        $(impl ControllerAnswer for $response {
            fn first_code(&self) -> i16 {
                self.error_code
            }
        })*
    };
}

answers_with_code!(
    AllocateProducerIdsResponse,
    AlterPartitionResponse,
    AssignReplicasToDirsResponse,
    BrokerHeartbeatResponse,
    BrokerRegistrationResponse,
    ControllerRegistrationResponse,
    EnvelopeResponse,
);

impl ControllerAnswer for CreateTopicsResponse {
    fn first_code(&self) -> i16 {
        self.topics.first().map_or(0, |topic| topic.error_code)
    }
}
