//! ListTransactions (key 66, v0-2): the transactional ids of this broker, by state, producer, duration (KIP-994) and pattern
//! (KIP-1152).

use millstream_base::ErrorCode;
use millstream_txns::{ListFilter, ListedTxn, TxnState};
use millstream_wire::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse, TransactionState,
};
use regex::{Regex, RegexBuilder};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::state_log::Commit;

/// The memory that a client's pattern may take.
const MAX_PATTERN_BYTES: usize = 256 * 1024;

pub(crate) async fn handle(
    context: RequestContext,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let mut response = ListTransactionsResponse::default();
    let mut states = Vec::new();
    let asked_for_states = !request.state_filters.is_empty();
    for name in request.state_filters {
        match TxnState::from_name(&name) {
            Some(state) => states.push(state),
            None => response.unknown_state_filters.push(name),
        }
    }
    if asked_for_states && states.is_empty() {
        // Only unknown states were asked for: nothing is in one of those.
        return response;
    }
    let pattern = match request.transactional_id_pattern.as_deref().map(compile).transpose() {
        Ok(pattern) => pattern,
        Err(code) => {
            response.error_code = code.code();
            return response;
        }
    };
    let seen = {
        let accepts = |id: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(id));
        let filter = ListFilter {
            states: &states,
            producer_ids: &request.producer_id_filters,
            running_longer_than_ms: request.duration_filter,
            transactional_id: Some(&accepts),
        };
        look(&context, &filter)
    };
    match tell(&context, seen).await {
        Ok(listed) => response.transaction_states = listed,
        Err(code) => response.error_code = code.code(),
    }
    response
}

/// A pattern has to match the whole id.
fn compile(pattern: &str) -> Result<Regex, ErrorCode> {
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(MAX_PATTERN_BYTES)
        .dfa_size_limit(MAX_PATTERN_BYTES)
        .build()
        .map_err(|_| ErrorCode::InvalidRegularExpression)
}

/// What the shards of this broker have, and what that waits for.
type Seen = Vec<(Vec<ListedTxn>, Commit)>;

/// All are looked at before the first is waited for.
fn look(context: &RequestContext, filter: &ListFilter<'_>) -> Result<Seen, ErrorCode> {
    let now = context.broker.clock().now_ms();
    let mut all = Vec::new();
    for hosted in context.broker.transactions().shards() {
        match hosted.read(|shard| shard.list(now.get(), filter)) {
            Ok(seen) => all.push(seen),
            // What has just moved is listed by its new coordinator.
            Err(ErrorCode::NotCoordinator) => {}
            Err(code) => return Err(code),
        }
    }
    Ok(all)
}

async fn tell(
    context: &RequestContext,
    seen: Result<Seen, ErrorCode>,
) -> Result<Vec<TransactionState>, ErrorCode> {
    let may_see = |txn: &ListedTxn| {
        context.allows(Operation::Describe, Resource::TransactionalId(&txn.transactional_id))
    };
    let mut all = Vec::new();
    for (listed, commit) in seen? {
        match commit.done().await {
            Ok(()) => {}
            Err(ErrorCode::NotCoordinator) => continue,
            Err(code) => return Err(code),
        }
        all.extend(listed.into_iter().filter(may_see).map(|txn| TransactionState {
            transactional_id: (&txn.transactional_id).into(),
            producer_id: txn.producer_id,
            transaction_state: txn.state.name().into(),
        }));
    }
    Ok(all)
}
