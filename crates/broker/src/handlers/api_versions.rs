//! ApiVersions (key 18, v0-5): what this broker serves. The first request of nearly every client.

use millstream_base::ErrorCode;
use millstream_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};

use crate::apis;
use crate::context::RequestContext;
use crate::features;

pub(crate) fn handle(context: &RequestContext, request: ApiVersionsRequest) -> ApiVersionsResponse {
    if context.version >= 3 {
        let (name, version) = (&*request.client_software_name, &*request.client_software_version);
        if !is_software_name(name) || !is_software_name(version) {
            return refused(context, ErrorCode::InvalidRequest);
        }
        // A client may ask again on the same connection; the first answer stays.
        let _ = context.connection.software.set((name.to_owned(), version.to_owned()));
    }
    if !context.broker.is_meant(request.cluster_id.as_deref(), request.node_id) {
        // KIP-1242: the client meant another cluster or node and should look up its brokers anew.
        return refused(context, ErrorCode::RebootstrapRequired);
    }
    let image = context.broker.image();
    let features = features::describe(&image);
    ApiVersionsResponse {
        api_keys: apis::advertised(context.connection.kind),
        supported_features: features.supported,
        finalized_features: features.finalized,
        // As in Kafka: up to where the metadata is known here. It never goes back.
        finalized_features_epoch: context.broker.quorum().applied().get() - 1,
        ..Default::default()
    }
}

fn refused(context: &RequestContext, error: ErrorCode) -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: error.code(),
        api_keys: apis::advertised(context.connection.kind),
        ..Default::default()
    }
}

/// KIP-511: letters, digits, dots and dashes, beginning and ending with a letter or digit.
fn is_software_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    name.starts_with(plain)
        && name.ends_with(plain)
        && name.chars().all(|c| plain(c) || c == '-' || c == '.')
}

#[cfg(test)]
mod tests {
    use super::is_software_name;

    #[test]
    fn software_names_are_plain() {
        assert!(is_software_name("apache-kafka-java"));
        assert!(is_software_name("4"));
        assert!(!is_software_name(""));
        assert!(!is_software_name("-x"));
        assert!(!is_software_name("a b"));
    }
}
