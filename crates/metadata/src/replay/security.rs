//! Records of credentials, access control, tokens and quotas: kept whole, so that no record of theirs is lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_wire::Str;
use millstream_wire::stored::{
    AccessControlEntryRecord, ClientQuotaRecord, DelegationTokenRecord, UserScramCredentialRecord,
};

use super::ReplayError;
use crate::delta::ImageDelta;
use crate::image::{ClusterImage, QuotaEntity};
use crate::record::MetadataRecord;

pub(super) fn replay(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    record: &MetadataRecord,
) -> Result<(), ReplayError> {
    match record {
        MetadataRecord::DelegationToken(r) => {
            delta.delegation_tokens = true;
            image.delegation_tokens.insert(Arc::from(&*r.token_id), Arc::new(detached_token(r)));
        }
        MetadataRecord::RemoveDelegationToken(r) => {
            delta.delegation_tokens = true;
            image.delegation_tokens.remove(&*r.token_id);
        }
        MetadataRecord::UserScramCredential(r) => {
            delta.scram = true;
            image.scram.insert((r.mechanism, Arc::from(&*r.name)), Arc::new(detached_scram(r)));
        }
        MetadataRecord::RemoveUserScramCredential(r) => {
            delta.scram = true;
            image.scram.remove(&(r.mechanism, Arc::from(&*r.name)));
        }
        MetadataRecord::AccessControlEntry(r) => {
            delta.acls = true;
            image.acls.insert(r.id, Arc::new(detached_acl(r)));
        }
        MetadataRecord::RemoveAccessControlEntry(r) => {
            delta.acls = true;
            image.acls.remove(&r.id).ok_or(ReplayError::UnknownAcl(r.id))?;
        }
        MetadataRecord::ClientQuota(r) => {
            delta.client_quotas = true;
            client_quota(image, r);
        }
        _ => {}
    }
    Ok(())
}

fn client_quota(image: &mut ClusterImage, r: &ClientQuotaRecord) {
    let name = |name: &Option<Str>| name.as_ref().map(|name| Arc::from(&**name));
    let mut entity: QuotaEntity =
        r.entity.iter().map(|e| (Arc::from(&*e.entity_type), name(&e.entity_name))).collect();
    entity.sort();
    if !r.remove {
        if !image.client_quotas.contains_key(&entity) {
            image.client_quotas.insert(entity.clone(), Arc::new(BTreeMap::new()));
        }
        if let Some(limits) = image.client_quotas.get_mut(&entity) {
            Arc::make_mut(limits).insert(Arc::from(&*r.key), r.value);
        }
        return;
    }
    let Some(limits) = image.client_quotas.get_mut(&entity) else { return };
    let limits = Arc::make_mut(limits);
    limits.remove(&*r.key);
    if limits.is_empty() {
        image.client_quotas.remove(&entity);
    }
}

/// Copies, so that the image does not hold the whole batch in memory from which the record was read.
fn detached_acl(r: &AccessControlEntryRecord) -> AccessControlEntryRecord {
    AccessControlEntryRecord {
        resource_name: r.resource_name.detach(),
        principal: r.principal.detach(),
        host: r.host.detach(),
        ..r.clone()
    }
}

fn detached_scram(r: &UserScramCredentialRecord) -> UserScramCredentialRecord {
    let copy = |bytes: &bytes::Bytes| bytes::Bytes::copy_from_slice(bytes);
    UserScramCredentialRecord {
        name: r.name.detach(),
        salt: copy(&r.salt),
        stored_key: copy(&r.stored_key),
        server_key: copy(&r.server_key),
        ..r.clone()
    }
}

fn detached_token(r: &DelegationTokenRecord) -> DelegationTokenRecord {
    DelegationTokenRecord {
        owner: r.owner.detach(),
        requester: r.requester.detach(),
        renewers: r.renewers.iter().map(Str::detach).collect(),
        token_id: r.token_id.detach(),
        ..r.clone()
    }
}
