//! The APIs and their versions. Key type: [`ApiKey`]; its variants and table are generated.

use crate::Request;

include!(concat!(env!("OUT_DIR"), "/api_key.rs"));

struct Info {
    key: ApiKey,
    name: &'static str,
    min: i16,
    max: i16,
    latest_stable: i16,
    /// `i16::MAX`: never.
    flexible_from: i16,
    broker: bool,
    controller: bool,
}

// The indices come from `index_of` or are bounded by the table's own length; most of this runs at compile time.
#[allow(clippy::indexing_slicing)]
impl ApiKey {
    /// Every API, in the order of their keys.
    pub const ALL: [Self; INFO.len()] = {
        let mut all = [Self::Produce; INFO.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = INFO[index].key;
            index += 1;
        }
        all
    };

    /// The API of a key on the wire.
    pub const fn from_code(code: i16) -> Option<Self> {
        match index_of(code) {
            Some(index) => Some(Self::ALL[index]),
            None => None,
        }
    }

    const fn info(self) -> &'static Info {
        match index_of(self as i16) {
            Some(index) => &INFO[index],
            // Cannot be: every variant has its line.
            None => &INFO[0],
        }
    }

    /// The key on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The name without `Request`, for example `ListOffsets`.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The first version that there is.
    pub const fn min(self) -> i16 {
        self.info().min
    }

    /// The last version that there is, stable or not.
    pub const fn max(self) -> i16 {
        self.info().max
    }

    /// The last version that a broker advertises by default.
    pub const fn latest_stable(self) -> i16 {
        self.info().latest_stable
    }

    /// Whether there is such a version.
    pub const fn has_version(self, version: i16) -> bool {
        self.min() <= version && version <= self.max()
    }

    /// The first version with compact types and tagged fields.
    pub const fn flexible_from(self) -> Option<i16> {
        match self.info().flexible_from {
            i16::MAX => None,
            version => Some(version),
        }
    }

    /// Whether `version` has compact types and tagged fields.
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.info().flexible_from
    }

    /// The version of the request header before a request of `version`: 1, or 2 when flexible.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the response header: 0, or 1 when flexible. Always 0 for ApiVersions, so that a
    /// client can read the answer before it knows what the broker speaks.
    pub const fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && !matches!(self, Self::ApiVersions) { 1 } else { 0 }
    }

    /// Whether a broker's listener serves it.
    pub const fn on_broker(self) -> bool {
        self.info().broker
    }

    /// Whether a controller's listener serves it.
    pub const fn on_controller(self) -> bool {
        self.info().controller
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl From<ApiKey> for i16 {
    fn from(key: ApiKey) -> Self {
        key.code()
    }
}
