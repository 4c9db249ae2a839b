//! What a follower does: fetches, copies, cuts.

use millstream_base::{NodeId, Offset};
use millstream_partition::Repair;

use super::replica::Role;
use super::{Context, FETCH_TIMEOUT_US, Node};
use crate::message::{Address, Fetch, FetchBody, Message};

impl Node {
    /// Sends a fetch, unless one is out that may still be answered.
    pub(super) fn fetch_if_due(&mut self, partition: i32, ctx: &mut Context<'_>) {
        let request = self.next_request();
        let Some(broker_epoch) = self.epoch else { return };
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let Role::Follower { state, fetch } = &mut replica.role else { return };
        if fetch.is_some_and(|(_, until_us)| ctx.now_us < until_us) {
            return;
        }
        *fetch = Some((request, ctx.now_us + FETCH_TIMEOUT_US));
        let position = state.next_fetch(replica.log.epochs());
        let from = self.id;
        let message = Message::Fetch(Fetch { from, broker_epoch, partition, request, position });
        ctx.send(Address::Node(state.leader()), message);
    }

    pub(super) fn on_fetched(
        &mut self,
        partition: i32,
        request: u64,
        from: NodeId,
        body: FetchBody,
        ctx: &mut Context<'_>,
    ) {
        let (who, durable) = ((self.id, partition), self.durable);
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let leader = replica.leader();
        let Role::Follower { state, fetch } = &mut replica.role else { return };
        if fetch.is_none_or(|(number, _)| number != request) || leader != Some(from) {
            return;
        }
        *fetch = None;
        let repair = match body {
            FetchBody::Error => Repair::None,
            FetchBody::OutOfRange { start, end } => {
                state.on_out_of_range(Offset(start), Offset(end))
            }
            FetchBody::Diverging(diverging) => state.on_diverging(diverging, replica.log.epochs()),
            FetchBody::Data { batches, high_watermark, start } => {
                if let Err(problem) = replica.log.append_copies(&batches) {
                    ctx.checker.fail(|| format!("partition {partition}: {who:?}: {problem}"));
                    return;
                }
                if durable {
                    replica.log.sync();
                }
                let end = Offset(replica.log.end());
                let moved = state.on_fetched(end, Offset(high_watermark), Offset(start));
                let own = state.high_watermark().get();
                ctx.checker.on_high_watermark(who, &replica.log, replica.seen, own);
                replica.high_watermark = own;
                replica.seen = replica.seen.max(own);
                if let Some(start) = moved.log_start {
                    replica.log.delete_before(start.get());
                }
                if !batches.is_empty() {
                    self.fetch_if_due(partition, ctx);
                }
                return;
            }
        };
        match repair {
            Repair::None => return,
            Repair::TruncateTo(to) => replica.log.truncate_to(to.get()),
            Repair::StartAt(at) => replica.log.start_at(at.get()),
        }
        ctx.checker.cut = true;
        let (start, end) = (Offset(replica.log.start()), Offset(replica.log.end()));
        state.on_truncated(start, end);
        replica.high_watermark = state.high_watermark().get();
        replica.seen = replica.seen.min(end.get());
        self.fetch_if_due(partition, ctx);
    }
}
