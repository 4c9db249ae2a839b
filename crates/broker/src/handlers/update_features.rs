//! UpdateFeatures (key 57, v0-2, KIP-584): the levels at which the cluster works, moved once every node can follow.

use millstream_base::ErrorCode;
use millstream_metadata::decide::{FeatureUpdate, UpdateFeatures, UpgradeType};
use millstream_metadata::{ClusterImage, SupportedFeature};
use millstream_quorum::Turn;
use millstream_wire::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::features;

pub(crate) async fn handle(
    context: RequestContext,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let names: Vec<_> = request.feature_updates.iter().map(|u| u.feature.clone()).collect();
    let refused = |code: ErrorCode, message: String| UpdateFeaturesResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..UpdateFeaturesResponse::default()
    };
    if !context.allows(Operation::Alter, Resource::Cluster) {
        let message = "the principal may not alter the cluster".to_owned();
        return refused(ErrorCode::ClusterAuthorizationFailed, message);
    }
    let version = context.version;
    let mut updates = Vec::with_capacity(names.len());
    for update in &request.feature_updates {
        match wanted(version, update) {
            Some(update) => updates.push(update),
            None => {
                let message = format!("feature {} has an unknown upgrade type", update.feature);
                return refused(ErrorCode::InvalidRequest, message);
            }
        }
    }
    let command = UpdateFeatures {
        updates,
        validate_only: request.validate_only,
        defaults: context.broker.active_controller().defaults(),
    };
    let decide = move |image: &ClusterImage, _: &Turn| {
        let supported = features::supported().map(|(name, min, max)| SupportedFeature {
            name: name.into(),
            min,
            max,
        });
        command.decide(image, &supported.collect::<Vec<_>>())
    };
    match context.broker.quorum().execute(decide).await {
        Ok(()) => {
            context.broker.active_controller().look_again();
            UpdateFeaturesResponse {
                error_message: None,
                results: match version {
                    0 | 1 => names.into_iter().map(done).collect(),
                    _ => Vec::new(),
                },
                ..UpdateFeaturesResponse::default()
            }
        }
        Err(error) => refused(error.code(), error.to_string()),
    }
}

fn wanted(version: i16, update: &FeatureUpdateKey) -> Option<FeatureUpdate> {
    let upgrade_type = match (version, update.allow_downgrade, update.upgrade_type) {
        (0, true, _) => UpgradeType::SafeDowngrade,
        (0, false, _) | (_, _, 1) => UpgradeType::Upgrade,
        (_, _, 2) => UpgradeType::SafeDowngrade,
        (_, _, 3) => UpgradeType::UnsafeDowngrade,
        _ => return None,
    };
    let (name, level) = (update.feature.to_string(), update.max_version_level);
    Some(FeatureUpdate { name, level, upgrade_type })
}

fn done(feature: millstream_wire::Str) -> UpdatableFeatureResult {
    UpdatableFeatureResult { feature, error_code: ErrorCode::None.code(), error_message: None }
}
