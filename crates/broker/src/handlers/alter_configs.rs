//! AlterConfigs (key 33, v0-2): replaces all settings of a resource. IncrementalAlterConfigs took its place.

use millstream_base::ErrorCode;
use millstream_metadata::decide::{Alteration, Refusal};
use millstream_wire::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};

use crate::context::RequestContext;
use crate::resources::{self, Asked};

pub(crate) async fn handle(
    context: RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let asked = request.resources.iter().map(asked).collect();
    let results = resources::alter(&context, asked, request.validate_only).await;
    let responses = results.into_iter().map(|(resource_type, name, result)| {
        let refusal: Option<Refusal> = result.err();
        AlterConfigsResourceResponse {
            error_code: refusal.as_ref().map_or(ErrorCode::None, |refusal| refusal.code).code(),
            error_message: refusal.map(|refusal| refusal.message.into()),
            resource_type,
            resource_name: name.into(),
        }
    });
    AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

fn asked(resource: &AlterConfigsResource) -> Asked {
    let settings = resource.configs.iter();
    let wanted = settings.map(|s| (s.name.to_string(), s.value.as_ref().map(ToString::to_string)));
    Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_string(),
        alteration: Ok(Alteration::Replace(wanted.collect())),
    }
}
