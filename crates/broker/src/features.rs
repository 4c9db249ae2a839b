//! The feature levels that this broker speaks (KIP-584), as ApiVersions tells them.
//!
//! A level stands here when everything that it promises works: clients act on it.

use std::sync::Arc;

use millstream_metadata::{ClusterImage, ELR_VERSION, METADATA_VERSION};
use millstream_wire::messages::api_versions::{FinalizedFeatureKey, SupportedFeatureKey};

/// Name, lowest and highest level.
const SUPPORTED: &[(&str, i16, i16)] =
    &[(METADATA_VERSION, 7, 33), ("transaction.version", 0, 2), (ELR_VERSION, 0, 1)];

/// What ApiVersions says of features.
pub(crate) struct Features {
    /// What this broker could do.
    pub supported: Vec<SupportedFeatureKey>,
    /// What the cluster has agreed on.
    pub finalized: Vec<FinalizedFeatureKey>,
}

/// The levels with which a new cluster begins: the highest of each.
pub(crate) fn bootstrap() -> Vec<(Arc<str>, i16)> {
    SUPPORTED.iter().map(|(name, _, max)| (Arc::from(*name), *max)).collect()
}

/// What the broker registers itself with.
pub(crate) fn supported() -> impl Iterator<Item = (&'static str, i16, i16)> {
    SUPPORTED.iter().copied()
}

/// The supported features and those that `image` has finalized.
pub(crate) fn describe(image: &ClusterImage) -> Features {
    let key = |&(name, min_version, max_version): &(&'static str, i16, i16)| SupportedFeatureKey {
        name: name.into(),
        min_version,
        max_version,
    };
    let finalized = SUPPORTED.iter().filter(|(name, _, _)| image.feature_level(name) > 0);
    let finalized = finalized.map(|(name, _, _)| FinalizedFeatureKey {
        name: (*name).into(),
        max_version_level: image.feature_level(name),
        min_version_level: image.feature_level(name),
    });
    Features { supported: SUPPORTED.iter().map(key).collect(), finalized: finalized.collect() }
}
