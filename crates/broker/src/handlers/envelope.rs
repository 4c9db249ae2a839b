//! Envelope (key 58, v0): a client's request that came to another node, which hands it on to the active controller (KIP-590).
//!
//! The request inside is handled for the principal and the address that the envelope names, so only nodes of the cluster
//! may send one.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use millstream_base::ErrorCode;
use millstream_wire::Decoder;
use millstream_wire::frame::RequestHeaderView;
use millstream_wire::messages::envelope::{EnvelopeRequest, EnvelopeResponse};
use millstream_wire::stored::DefaultPrincipalData;

use crate::apis::{self, ListenerKind};
use crate::authorizer::{Operation, Principal, Resource};
use crate::context::{ConnectionInfo, RequestContext};
use crate::dispatch;

pub(crate) async fn handle(context: RequestContext, request: EnvelopeRequest) -> EnvelopeResponse {
    match open(&context, request).await {
        Ok(answer) => EnvelopeResponse { response_data: Some(answer), ..Default::default() },
        Err(error) => EnvelopeResponse { error_code: error.code(), ..Default::default() },
    }
}

async fn open(context: &RequestContext, request: EnvelopeRequest) -> Result<Bytes, ErrorCode> {
    if !context.allows(Operation::ClusterAction, Resource::Cluster) {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    if !context.broker.is_active_controller() {
        return Err(ErrorCode::NotController);
    }
    let principal = request.request_principal.ok_or(ErrorCode::PrincipalDeserializationFailure)?;
    let principal = principal_of(principal).ok_or(ErrorCode::PrincipalDeserializationFailure)?;
    let client = address_of(&request.client_host_address).ok_or(ErrorCode::InvalidRequest)?;
    let data = request.request_data;
    let header = RequestHeaderView::parse(&data).map_err(|_| ErrorCode::InvalidRequest)?;
    let takes = |on| apis::serves(on, header.key, header.version);
    if !apis::is_forwarded(header.key) || !takes(ListenerKind::Broker) {
        return Err(ErrorCode::InvalidRequest);
    }
    let inner = RequestContext {
        broker: context.broker.clone(),
        connection: ConnectionInfo::on_behalf_of(principal, SocketAddr::new(client, 0)),
        api: header.key,
        version: header.version,
        correlation_id: header.correlation_id,
        client_id: header.client_id.map(Into::into),
    };
    let mut body = data.get(header.len..).unwrap_or_default().to_vec();
    // Boxed: what is inside is dispatched like what is outside.
    let answer = Box::pin(dispatch::whole(inner, &mut body)).await;
    Ok(answer.map_err(|_| ErrorCode::InvalidRequest)?.into_frame())
}

/// Kafka's bytes of a principal: the version, then the fields.
fn principal_of(bytes: Bytes) -> Option<Principal> {
    let mut decoder = Decoder::new(bytes);
    let version = decoder.i16().ok()?;
    let data: DefaultPrincipalData = decoder.read(version).ok()?;
    Some(Principal { kind: (&*data.r#type).into(), name: (&*data.name).into() })
}

/// An address in its 4 or 16 bytes.
fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_four_or_sixteen_bytes() {
        assert_eq!(address_of(&[127, 0, 0, 1]), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(address_of(&[0; 16]), Some(IpAddr::from([0; 16])));
        assert_eq!(address_of(&[1, 2, 3]), None);
    }

    #[test]
    fn a_principal_of_hostile_bytes_is_none() {
        assert_eq!(principal_of(Bytes::from_static(&[0, 9, 1, 1])), None);
        assert_eq!(principal_of(Bytes::from_static(&[0])), None);
        let good = Bytes::from_static(&[0, 0, 5, b'U', b's', b'e', b'r', 2, b'x', 0, 0]);
        let expected = Principal { kind: "User".into(), name: "x".into() };
        assert_eq!(principal_of(good), Some(expected));
    }
}
