//! Agreeing on versions with a broker.
//!
//! Key types: [`Versions`] (what the broker said), [`Handshake`] (how it is asked). Pure.

use std::collections::HashMap;

use bytes::Bytes;
use millstream_base::ErrorCode;
use millstream_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_wire::{ApiKey, Decoder, Request, Str, frame};

/// The versions of one API that a broker speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

/// The versions of all APIs that a broker speaks, by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    ranges: HashMap<i16, VersionRange>,
}

impl Versions {
    pub(super) fn range(&self, key: ApiKey) -> Option<VersionRange> {
        self.ranges.get(&key.code()).copied()
    }

    /// The highest version within both ranges.
    pub(super) fn common(&self, key: ApiKey, min: i16, max: i16) -> Option<i16> {
        let theirs = self.range(key)?;
        let highest = theirs.max.min(max);
        (highest >= theirs.min && highest >= min).then_some(highest)
    }

    fn of(response: &ApiVersionsResponse) -> Self {
        let ranges = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, VersionRange { min: api.min_version, max: api.max_version }))
            .collect();
        Self { ranges }
    }
}

/// The question for versions, and what to make of the answer.
#[derive(Debug)]
pub(super) struct Handshake {
    version: i16,
}

/// What we ask in first: version 4 is the last that every broker since 2023 knows; 5 adds nothing we use.
const FIRST_VERSION: i16 = 4;

impl Handshake {
    pub(super) const fn start() -> Self {
        Self { version: FIRST_VERSION }
    }

    pub(super) fn request(&self) -> (ApiVersionsRequest, i16) {
        let request = ApiVersionsRequest {
            client_software_name: Str::from_static("millstream"),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
            ..ApiVersionsRequest::default()
        };
        (request, self.version)
    }

    /// The versions, or `None` to ask again in a lower version.
    pub(super) fn answer(&mut self, frame: Bytes) -> Result<Option<Versions>, String> {
        let refused = self.version > 0 && error_code(&frame) == Some(ErrorCode::UnsupportedVersion);
        let version = if refused { 0 } else { self.version };
        let response = read(frame, version)?;
        if !refused {
            let code = response.error_code;
            if code != 0 {
                let name = ErrorCode::from_code(code).map_or("unknown", ErrorCode::name);
                return Err(format!("it refuses to say its versions: {name} ({code})"));
            }
            return Ok(Some(Versions::of(&response)));
        }
        // Old brokers name no version in that answer; all of them know version 0.
        let theirs = Versions::of(&response).range(ApiKey::ApiVersions);
        self.version = theirs.map_or(0, |range| range.max.clamp(0, self.version - 1));
        Ok(None)
    }
}

/// The error code, which stands first in every version, right after the correlation id.
fn error_code(frame: &Bytes) -> Option<ErrorCode> {
    let code: [u8; 2] = frame.get(4..6)?.try_into().ok()?;
    ErrorCode::from_code(i16::from_be_bytes(code))
}

fn read(frame: Bytes, version: i16) -> Result<ApiVersionsResponse, String> {
    let mut decoder = Decoder::new(frame);
    frame::read_response_header(&mut decoder, ApiVersionsRequest::KEY, version)
        .and_then(|_| decoder.read(version))
        .map_err(|error| error.to_string())
}
