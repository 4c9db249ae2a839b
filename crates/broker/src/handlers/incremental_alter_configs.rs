//! IncrementalAlterConfigs (key 44, v0-1): sets, deletes, and adds to or takes from lists (KIP-339).

use millstream_base::ErrorCode;
use millstream_config::Op;
use millstream_metadata::decide::{Alteration, ConfigEdit, Refusal};
use millstream_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use crate::context::RequestContext;
use crate::resources::{self, Asked};

pub(crate) async fn handle(
    context: RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
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
    IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

fn asked(resource: &AlterConfigsResource) -> Asked {
    let edits: Result<Vec<ConfigEdit>, Refusal> = resource.configs.iter().map(edit).collect();
    Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_string(),
        alteration: edits.map(Alteration::Incremental),
    }
}

fn edit(setting: &AlterableConfig) -> Result<ConfigEdit, Refusal> {
    let op = Op::from_code(setting.config_operation).ok_or_else(|| {
        let message = format!("there is no operation {} on settings", setting.config_operation);
        Refusal::new(ErrorCode::InvalidRequest, message)
    })?;
    let value = setting.value.as_ref().map(ToString::to_string);
    Ok(ConfigEdit { name: setting.name.to_string(), op, value })
}
