//! Letting the records of a transaction in: before the first of them in a partition, the transaction coordinator is asked
//! whether the partition is part of the producer's open transaction (KIP-890).
//!
//! Key types: [`Entrance`] (a request on its way in), [`Entered`] (what each of its parts may do). From version 12 on partitions join by being
//! written to; before, AddPartitionsToTxn has to come first.

use std::sync::Arc;

use millstream_base::{ErrorCode, ProducerEpoch, ProducerId};
use millstream_records::BatchHeader;
use millstream_txns::Producer;
use millstream_wire::produce_view::ProducePart;

use super::{find, may_write};
use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::replica::{Lookup, Verification};
use crate::transactions::{Join, Joined, in_leaders_words};

/// From here on producers know that they may abort and go on.
const FIRST_WITH_ABORTABLE: i16 = 11;
/// From here on partitions join by being written to.
const FIRST_ADDING: i16 = 12;

/// What one partition's part of a request may do.
#[derive(Debug)]
pub(super) enum Entered {
    /// It is not part of a transaction.
    Plain,
    /// It is, and the transaction has records in the partition already.
    Open(Producer),
    /// It is, and the coordinator knows of it.
    Verified(Producer, Verification),
    /// It is, and nobody asks (`transaction.partition.verification.enable`).
    Unasked,
    /// It may not be appended.
    Refused(ErrorCode),
}

/// A transactional request on its way in.
#[derive(Debug)]
pub(super) struct Entrance {
    entered: Vec<Entered>,
    /// What the coordinator is to be asked, and for which parts.
    question: Option<(Join, Vec<usize>)>,
}

impl Entrance {
    /// Looks at every part of a request.
    pub(super) fn new(
        context: &RequestContext,
        transactional_id: &str,
        parts: &[ProducePart],
        body: &[u8],
    ) -> Self {
        let mut entrance = Self { entered: Vec::with_capacity(parts.len()), question: None };
        for part in parts {
            let entered = entrance.look_at(context, transactional_id, part, body);
            entrance.entered.push(entered);
        }
        entrance
    }

    fn look_at(
        &mut self,
        context: &RequestContext,
        transactional_id: &str,
        part: &ProducePart,
        body: &[u8],
    ) -> Entered {
        let header = match BatchHeader::parse(part.records(body)) {
            Ok(header) if header.attributes.is_transactional() => header,
            // What cannot be read is refused with its reason later.
            _ => return Entered::Plain,
        };
        if !context.allows(Operation::Write, Resource::TransactionalId(transactional_id)) {
            return Entered::Refused(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        let producer =
            Producer { id: header.producer_id.get(), epoch: header.producer_epoch.get() };
        if producer.id < 0 || producer.epoch < 0 {
            return Entered::Refused(ErrorCode::InvalidRecord);
        }
        let partition = match find(context, part, body) {
            Lookup::Here(partition) => partition,
            Lookup::Refused(code) => return Entered::Refused(code),
        };
        if let Err(code) = may_write(context, &partition.name.topic) {
            return Entered::Refused(code);
        }
        let may_add = context.version >= FIRST_ADDING;
        if !may_add && !context.broker.config().transactions.partition_verification_enable {
            return Entered::Unasked;
        }
        let (id, epoch) = (ProducerId(producer.id), ProducerEpoch(producer.epoch));
        let Some(verification) = partition.begin_verification(id, epoch) else {
            return Entered::Open(producer);
        };
        let (join, places) = self.question.get_or_insert_with(|| {
            let (transactional_id, partitions) = (transactional_id.into(), Vec::new());
            (Join { transactional_id, producer, partitions, may_add }, Vec::new())
        });
        if join.producer != producer {
            return Entered::Refused(ErrorCode::InvalidProducerIdMapping);
        }
        places.push(self.entered.len());
        let name = &partition.name;
        join.partitions.push((Arc::clone(&name.topic), name.partition.get()));
        Entered::Verified(producer, verification)
    }

    /// Asks the coordinator, if there is something to ask; false when it cannot say at once.
    pub(super) fn ask(&mut self, context: &RequestContext) -> bool {
        let Some((join, _)) = &self.question else { return true };
        match join.ask(context.broker.transactions()) {
            Joined::Now(codes) => {
                self.note(context.version, &codes);
                true
            }
            Joined::Later => false,
        }
    }

    /// Asks the coordinator, and waits for what it says.
    pub(super) async fn ask_patiently(&mut self, context: &RequestContext) {
        let Some((join, _)) = &self.question else { return };
        let codes = join.ask_patiently(context.broker.transactions()).await;
        self.note(context.version, &codes);
    }

    fn note(&mut self, version: i16, codes: &[ErrorCode]) {
        let Some((join, places)) = self.question.take() else { return };
        let knows_abortable = version >= FIRST_WITH_ABORTABLE;
        for (place, code) in places.into_iter().zip(codes).filter(|(_, code)| code.is_error()) {
            if let Some(entered) = self.entered.get_mut(place) {
                let code = in_leaders_words(*code, knows_abortable, join.may_add);
                *entered = Entered::Refused(code);
            }
        }
    }

    /// What each part may do, in their order.
    pub(super) fn into_entered(self) -> Vec<Entered> {
        self.entered
    }
}
