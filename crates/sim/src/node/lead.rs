//! What a leader does: appends, acknowledges, answers fetches, proposes ISRs.

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, Offset};
use millstream_partition::{
    AlterAnswer, AlterOutcome, Commit, FollowerFetch, IsrProposal, check_epoch, diverging_epoch,
};

use super::replica::{Proposed, Role, Waiting};
use super::{ACK_TIMEOUT_US, ALTER_TIMEOUT_US, Context, Node};
use crate::disk::{Appended, Batch};
use crate::message::{Address, Fetch, FetchBody, Message};
use crate::scenario::Bug;

impl Node {
    pub(super) fn on_produce(
        &mut self,
        (client, request): (usize, u64),
        partition: i32,
        batch: Batch,
        all: bool,
        ctx: &mut Context<'_>,
    ) {
        let answer = self.append(partition, batch, all, ctx);
        let (base, end) = match answer {
            Ok(place) => place,
            Err(code) => {
                let answer = Message::Produced { request, answer: Err(code) };
                return ctx.send(Address::Client(client), answer);
            }
        };
        if !all {
            ctx.send(Address::Client(client), Message::Produced { request, answer: Ok(base) });
            return self.after_leading(partition, ctx);
        }
        let until_us = ctx.now_us + ACK_TIMEOUT_US;
        let write = batch.write;
        if let Some(Role::Leader { waiting, .. }) =
            self.replicas.get_mut(&partition).map(|replica| &mut replica.role)
        {
            waiting.push(Waiting { client, request, write, base, end, until_us });
        }
        self.after_leading(partition, ctx);
    }

    /// Where the batch stands.
    fn append(
        &mut self,
        partition: i32,
        batch: Batch,
        all: bool,
        ctx: &mut Context<'_>,
    ) -> Result<(i64, i64), ErrorCode> {
        let now = self.local(ctx.now_us);
        let (image, durable) = (&self.image, self.durable);
        let active = |id: NodeId| image.broker(id).filter(|b| b.is_active()).map(|b| b.epoch);
        let replica = self.replicas.get_mut(&partition).ok_or(ErrorCode::NotLeaderOrFollower)?;
        let Role::Leader { state, .. } = &mut replica.role else {
            return Err(ErrorCode::NotLeaderOrFollower);
        };
        if all && state.check_min_insync().is_err() {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        match replica.log.append(batch, state.leader_epoch().get()).map_err(|e| e.code())? {
            Appended::Duplicate(base, end) => Ok((base, end)),
            Appended::New(batch) => {
                state.on_local_append(Offset(batch.end()), now, &active);
                if durable {
                    replica.log.sync();
                }
                Ok((batch.base, batch.end()))
            }
        }
    }

    pub(super) fn on_fetch(&mut self, fetch: &Fetch, ctx: &mut Context<'_>) {
        let body = self.answer_fetch(fetch, ctx).unwrap_or(FetchBody::Error);
        let (partition, request, from) = (fetch.partition, fetch.request, self.id);
        let answer = Message::Fetched { partition, request, from, body };
        ctx.send(Address::Node(fetch.from), answer);
        self.after_leading(partition, ctx);
    }

    fn answer_fetch(
        &mut self,
        fetch: &Fetch,
        ctx: &mut Context<'_>,
    ) -> Result<FetchBody, ErrorCode> {
        let now = self.local(ctx.now_us);
        let (image, bug) = (&self.image, self.bug);
        let active = |id: NodeId| image.broker(id).filter(|b| b.is_active()).map(|b| b.epoch);
        let replica =
            self.replicas.get_mut(&fetch.partition).ok_or(ErrorCode::NotLeaderOrFollower)?;
        let Role::Leader { state, proposed, .. } = &mut replica.role else {
            return Err(ErrorCode::NotLeaderOrFollower);
        };
        let position = &fetch.position;
        check_epoch(position.leader_epoch, state.leader_epoch()).map_err(|e| e.code())?;
        let (start, end) = (replica.log.start(), replica.log.end());
        let out_of_range = FetchBody::OutOfRange { start, end };
        let (offset, last) = (position.offset, position.last_epoch);
        match diverging_epoch(replica.log.epochs(), Offset(end), offset, last) {
            Err(_) => return Ok(out_of_range),
            Ok(Some(diverging)) => return Ok(FetchBody::Diverging(diverging)),
            Ok(None) => {}
        }
        if !(start..=end).contains(&offset.get()) {
            return Ok(out_of_range);
        }
        let told = FollowerFetch {
            id: fetch.from,
            broker_epoch: fetch.broker_epoch,
            leader_epoch: position.leader_epoch,
            offset,
            log_start: position.log_start,
        };
        let fetched = state.on_follower_fetch(&told, now, &active).map_err(|e| e.code())?;
        let mut proposal = fetched.proposal;
        if bug == Some(Bug::EarlyExpansion) && !state.isr().contains(&fetch.from) {
            let mut isr: Vec<_> = state.isr().iter().map(|id| (*id, BrokerEpoch(-1))).collect();
            isr.push((fetch.from, fetch.broker_epoch));
            let info = state.info();
            proposal = Some(IsrProposal {
                id: u64::MAX,
                leader_epoch: info.leader_epoch,
                partition_epoch: info.partition_epoch,
                isr,
            });
        }
        if let Some(proposal) = proposal {
            *proposed = Some(Proposed { proposal, request: None, at_us: ctx.now_us });
        }
        let most = usize::try_from(ctx.rng.between(1, 6)).unwrap_or(1);
        let batches = replica.log.from(offset.get()).iter().take(most).copied().collect();
        let high_watermark = state.high_watermark().get();
        Ok(FetchBody::Data { batches, high_watermark, start })
    }

    pub(super) fn check_lag(&mut self, partition: i32, ctx: &mut Context<'_>) {
        let (now, bug) = (self.local(ctx.now_us), self.bug);
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let Role::Leader { state, proposed, .. } = &mut replica.role else { return };
        let Some(proposal) = state.check_lag(now) else { return };
        if bug == Some(Bug::ShrinkAlone) {
            let isr = proposal.isr.iter().map(|(id, _)| *id).collect();
            let answer = AlterAnswer::Accepted {
                leader_epoch: proposal.leader_epoch,
                partition_epoch: proposal.partition_epoch,
                isr,
            };
            state.on_alter_partition(proposal.id, answer, now);
        } else {
            *proposed = Some(Proposed { proposal, request: None, at_us: ctx.now_us });
        }
        self.after_leading(partition, ctx);
    }

    /// Sends a proposal that is due, and gives up a try that took too long.
    pub(super) fn resend_proposal(&mut self, partition: i32, ctx: &mut Context<'_>) {
        let now = self.local(ctx.now_us);
        let request = self.next_request();
        let Some(epoch) = self.epoch else { return };
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let Role::Leader { state, proposed, .. } = &mut replica.role else { return };
        let Some(out) = proposed.as_mut().filter(|out| ctx.now_us >= out.at_us) else { return };
        if out.request.take().is_some() {
            match state.on_alter_partition(out.proposal.id, AlterAnswer::Unknown, now) {
                AlterOutcome::Retry(_) => {}
                _ => {
                    *proposed = None;
                    return;
                }
            }
        }
        out.request = Some(request);
        out.at_us = ctx.now_us + ALTER_TIMEOUT_US;
        let (from, proposal) = (self.id, out.proposal.clone());
        let message = Message::Alter { from, epoch, partition, request, proposal };
        ctx.send(Address::Controller, message);
    }

    pub(super) fn on_altered(
        &mut self,
        partition: i32,
        request: u64,
        answer: AlterAnswer,
        ctx: &mut Context<'_>,
    ) {
        let now = self.local(ctx.now_us);
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let Role::Leader { state, proposed, .. } = &mut replica.role else { return };
        let Some(out) = proposed.as_mut().filter(|out| out.request == Some(request)) else {
            return;
        };
        match state.on_alter_partition(out.proposal.id, answer, now) {
            AlterOutcome::Retry(_) => {
                (out.request, out.at_us) = (None, ctx.now_us + 20_000);
            }
            _ => *proposed = None,
        }
        self.after_leading(partition, ctx);
    }

    /// A proposal of another epoch, or one that the metadata has overtaken, is not sent any more.
    pub(super) fn drop_old_proposal(&mut self, partition: i32) {
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        if let Role::Leader { state, proposed, .. } = &mut replica.role
            && !state.is_altering()
        {
            *proposed = None;
        }
    }

    /// The high watermark may have moved: show it to the checks, and answer who waited for it.
    pub(super) fn after_leading(&mut self, partition: i32, ctx: &mut Context<'_>) {
        let who = (self.id, partition);
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let Role::Leader { state, waiting, .. } = &mut replica.role else { return };
        let mut high_watermark = state.high_watermark().get();
        if self.bug == Some(Bug::EarlyHighWatermark) {
            high_watermark = replica.log.end();
        }
        ctx.checker.on_high_watermark(who, &replica.log, replica.seen, high_watermark);
        replica.high_watermark = high_watermark;
        replica.seen = replica.seen.max(high_watermark);
        waiting.retain(|wait| {
            let answer = match state.commit_state(Offset(wait.end)) {
                Commit::Waiting => return true,
                Commit::Done => Ok(wait.base),
                Commit::TooFew(_) => Err(ErrorCode::NotEnoughReplicasAfterAppend),
            };
            if answer.is_ok() {
                ctx.checker.on_acknowledged(partition, wait.write, wait.base);
            }
            let message = Message::Produced { request: wait.request, answer };
            ctx.out.push((Address::Client(wait.client), message));
            false
        });
        // Now and then somebody deletes old records.
        if ctx.rng.below(4000) == 0 {
            let start = (state.high_watermark().get() - 20).max(state.log_start().get());
            state.on_log_start(Offset(start));
            replica.log.delete_before(start);
            let history = ctx.checker.history(partition);
            history.deleted = history.deleted.max(start);
        }
    }

    pub(super) fn expire_waiting(&mut self, partition: i32, ctx: &mut Context<'_>) {
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let Role::Leader { waiting, .. } = &mut replica.role else { return };
        waiting.retain(|wait| {
            let waits = ctx.now_us < wait.until_us;
            if !waits {
                let answer = Err(ErrorCode::RequestTimedOut);
                let message = Message::Produced { request: wait.request, answer };
                ctx.out.push((Address::Client(wait.client), message));
            }
            waits
        });
    }

    /// This node leads no more: who waits hears it at once.
    pub(super) fn fail_waiting(&mut self, partition: i32, ctx: &mut Context<'_>) {
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let Role::Leader { waiting, .. } = &mut replica.role else { return };
        for wait in waiting.drain(..) {
            let answer = Err(ErrorCode::NotLeaderOrFollower);
            let message = Message::Produced { request: wait.request, answer };
            ctx.out.push((Address::Client(wait.client), message));
        }
    }
}
