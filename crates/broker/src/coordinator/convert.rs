//! From the wire's strings to what the coordinator keeps, and back.
//!
//! What a group keeps outlives the request, so strings are copied here instead of pinning the frame.

use std::sync::Arc;

use millstream_base::ErrorCode;
use millstream_groups::ClientInfo;
use millstream_wire::Str;

use crate::context::RequestContext;

/// Who sends the request, as DescribeGroups shows it.
pub(crate) fn client_info(context: &RequestContext) -> ClientInfo {
    ClientInfo {
        id: context.client_id().into(),
        host: format!("/{}", context.connection.peer.ip()).into(),
    }
}

/// A string to keep.
pub(crate) fn own(text: &Str) -> Arc<str> {
    text.into()
}

/// A string to keep, if there is one.
pub(crate) fn own_opt(text: Option<&Str>) -> Option<Arc<str>> {
    text.map(own)
}

/// A string to send, if there is one.
pub(crate) fn send_opt(text: Option<&Arc<str>>) -> Option<Str> {
    text.map(Str::from)
}

/// The number on the wire of how something ended.
pub(crate) fn code_of(result: Result<(), ErrorCode>) -> i16 {
    result.err().unwrap_or(ErrorCode::None).code()
}
