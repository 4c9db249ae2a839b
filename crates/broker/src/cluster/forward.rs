//! A client's request on its way to the active controller (KIP-590).

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use millstream_base::ErrorCode;
use millstream_wire::messages::envelope::EnvelopeRequest;
use millstream_wire::stored::DefaultPrincipalData;
use millstream_wire::{Encode as _, EncodeError, Encoder};

use super::error::ControllerError;
use crate::authorizer::Principal;
use crate::context::RequestContext;

/// How long a client waits for a controller: less than the 30 seconds after which clients give up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Hands `frame`, a request with its header, to the active controller and brings back its answer with its header.
pub(crate) async fn forward(
    context: &RequestContext,
    frame: Bytes,
) -> Result<Bytes, ControllerError> {
    let refused = |reason: String| ControllerError::Refused { api: context.api.name(), reason };
    let principal = principal_bytes(&context.connection.principal);
    let request = EnvelopeRequest {
        request_data: frame,
        request_principal: Some(principal.map_err(|error| refused(error.to_string()))?),
        client_host_address: address_bytes(context.connection.peer.ip()),
    };
    let answer = context.broker.controller().call_within(request, PATIENCE).await?;
    match (answer.error_code, answer.response_data) {
        (0, Some(data)) => Ok(data),
        (code, _) => {
            let name = ErrorCode::from_code(code).map_or("an unknown error", ErrorCode::name);
            Err(refused(format!("the active controller answers the envelope with {name}")))
        }
    }
}

/// Kafka's bytes of a principal: the version, then the fields.
fn principal_bytes(principal: &Principal) -> Result<Bytes, EncodeError> {
    const VERSION: i16 = 0;
    let data = DefaultPrincipalData {
        r#type: (&*principal.kind).into(),
        name: (&*principal.name).into(),
        token_authenticated: false,
    };
    let mut encoder = Encoder::new();
    encoder.i16(VERSION);
    data.encode(&mut encoder, VERSION)?;
    Ok(encoder.into_bytes())
}

fn address_bytes(address: IpAddr) -> Bytes {
    match address.to_canonical() {
        IpAddr::V4(v4) => Bytes::copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => Bytes::copy_from_slice(&v6.octets()),
    }
}
