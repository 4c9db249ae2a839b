//! UpdateFeatures (API key 57): the levels at which the cluster works.

use std::sync::Arc;

use millstream_base::ErrorCode;
use millstream_wire::stored::FeatureLevelRecord;

use super::rules::ElectionDefaults;
use super::{Decision, Refusal, count, elr};
use crate::image::{ClusterImage, ELR_VERSION, METADATA_VERSION, SupportedFeature};
use crate::record::MetadataRecord;
use crate::snapshot::text;

/// The level of `metadata.version` from which on records can name eligible leader replicas (Kafka 4.0).
const LOWEST_FOR_ELR: i16 = 23;

/// Which way a level may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeType {
    /// Only up.
    Upgrade,
    /// Down, if nothing is lost by it.
    SafeDowngrade,
    /// Down, whatever is lost.
    UnsafeDowngrade,
}

/// One feature to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// The feature.
    pub name: String,
    /// The new level; 0 takes it out of use.
    pub level: i16,
    /// Which way it may move.
    pub upgrade_type: UpgradeType,
}

/// The command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateFeatures {
    /// The features.
    pub updates: Vec<FeatureUpdate>,
    /// Only say what would happen.
    pub validate_only: bool,
    /// The controller's own settings.
    pub defaults: ElectionDefaults,
}

impl UpdateFeatures {
    /// Decides all or nothing: the first feature that cannot move refuses the request, as in Kafka from version
    /// 2 on. `supported` is what this node itself can work with; every registered broker must agree.
    pub fn decide(
        &self,
        image: &ClusterImage,
        supported: &[SupportedFeature],
    ) -> Result<Decision<()>, Refusal> {
        let named = count(self.updates.iter().map(|update| update.name.as_str()));
        let mut records: Vec<MetadataRecord> = Vec::new();
        for update in &self.updates {
            if named.get(update.name.as_str()).is_some_and(|times| *times > 1) {
                let message = format!("feature {} is named more than once", update.name);
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            let current = image.feature_level(&update.name);
            check_direction(update, current)?;
            check_supported(image, supported, update)?;
            if update.level != current {
                let (name, feature_level) = (text(&update.name), update.level);
                let body = FeatureLevelRecord { name, feature_level };
                records.push(MetadataRecord::FeatureLevel(body));
                records.extend(self.follows(image, update, current));
            }
        }
        if self.validate_only {
            records.clear();
        }
        Ok(Decision { records, reply: () })
    }

    /// What else changes with a feature.
    fn follows(
        &self,
        image: &ClusterImage,
        update: &FeatureUpdate,
        current: i16,
    ) -> Vec<MetadataRecord> {
        match (update.name == ELR_VERSION, update.level) {
            (true, 0) => elr::end(image),
            (true, _) if current == 0 => elr::begin(image, self.defaults),
            _ => Vec::new(),
        }
    }
}

fn check_direction(update: &FeatureUpdate, current: i16) -> Result<(), Refusal> {
    let refuse = |message| Err(Refusal::new(ErrorCode::InvalidUpdateVersion, message));
    let FeatureUpdate { name, level, upgrade_type } = update;
    if *level < 0 {
        return refuse(format!("feature {name} cannot have the level {level}"));
    }
    if name == METADATA_VERSION && *level < current {
        return refuse(format!("{name} is at {current} and cannot be lowered"));
    }
    match upgrade_type {
        UpgradeType::Upgrade if *level < current => refuse(format!(
            "feature {name} is at {current}; to lower it to {level} ask for a downgrade"
        )),
        UpgradeType::SafeDowngrade | UpgradeType::UnsafeDowngrade if *level > current => {
            refuse(format!("feature {name} is at {current}; {level} would be an upgrade"))
        }
        _ => Ok(()),
    }
}

fn check_supported(
    image: &ClusterImage,
    supported: &[SupportedFeature],
    update: &FeatureUpdate,
) -> Result<(), Refusal> {
    let FeatureUpdate { name, level, .. } = update;
    let refuse = |message| Err(Refusal::new(ErrorCode::InvalidUpdateVersion, message));
    if *level == 0 {
        return Ok(());
    }
    let metadata = image.feature_level(METADATA_VERSION);
    if name == ELR_VERSION && metadata < LOWEST_FOR_ELR {
        return refuse(format!(
            "feature {name} needs {METADATA_VERSION} {LOWEST_FOR_ELR}, and the cluster is at {metadata}: raise that first"
        ));
    }
    let fits = |features: &[SupportedFeature]| {
        features.iter().any(|f| *f.name == **name && f.min <= *level && *level <= f.max)
    };
    if !fits(supported) {
        return refuse(format!("this controller does not know feature {name} at level {level}"));
    }
    if let Some(broker) = image.brokers.values().find(|broker| !fits(&broker.features)) {
        return refuse(format!(
            "broker {} cannot work with feature {name} at level {level}: upgrade it first, or unregister it if it is gone for good",
            broker.id
        ));
    }
    match image.controllers.values().find(|controller| !fits(&controller.features)) {
        Some(controller) => refuse(format!(
            "controller {} cannot work with feature {name} at level {level}: upgrade it first, or unregister it if it is gone for good",
            controller.id
        )),
        None => Ok(()),
    }
}

/// The records that begin a new cluster: the levels of its features, `metadata.version` first.
pub fn bootstrap_features(levels: &[(Arc<str>, i16)]) -> Vec<MetadataRecord> {
    let mut levels: Vec<_> = levels.to_vec();
    levels.sort_by_key(|(name, _)| name.as_ref() != METADATA_VERSION);
    let record = |(name, level): (Arc<str>, i16)| {
        let body = FeatureLevelRecord { name: text(&name), feature_level: level };
        MetadataRecord::FeatureLevel(body)
    };
    levels.into_iter().map(record).collect()
}
