//! The request header, read from the frame where it lies.
//!
//! Key type: [`Header`]. Versions 1 and 2 of Kafka's request header; the API's key and version decide which.

use millstream_base::varint;
use millstream_wire::ApiKey;

/// What every request begins with.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    /// Which API; its number when unknown.
    pub api: Result<ApiKey, i16>,
    /// At which version.
    pub version: i16,
    /// Comes back in the answer.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
    /// Where the request's own fields begin.
    pub body_at: usize,
}

/// Why a frame has no readable header. There is no way to answer it: the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer bytes than a header has.
    #[error("a request of {0} bytes: too short for its header")]
    Short(usize),
    /// The client id's length or text is wrong.
    #[error("a request with an unreadable client id in its header")]
    ClientId,
    /// The tagged fields at the header's end are wrong.
    #[error("a request with unreadable tagged fields in its header")]
    Tags,
}

/// Reads the header at the front of `frame`.
pub(crate) fn parse(frame: &[u8]) -> Result<Header<'_>, HeaderError> {
    let short = HeaderError::Short(frame.len());
    let (fixed, rest) = frame.split_first_chunk::<8>().ok_or(short)?;
    let [k0, k1, v0, v1, c0, c1, c2, c3] = *fixed;
    let number = i16::from_be_bytes([k0, k1]);
    let version = i16::from_be_bytes([v0, v1]);
    let correlation_id = i32::from_be_bytes([c0, c1, c2, c3]);
    let api = ApiKey::from_code(number).ok_or(number);
    let (client_id, rest) = client_id(rest).ok_or(HeaderError::ClientId)?;
    let flexible = api.is_ok_and(|api| api.request_header_version(version) >= 2);
    let rest = if flexible { skip_tags(rest).ok_or(HeaderError::Tags)? } else { rest };
    Ok(Header { api, version, correlation_id, client_id, body_at: frame.len() - rest.len() })
}

fn client_id(bytes: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = i16::from_be_bytes(*length);
    if length == -1 {
        return Some((None, rest));
    }
    let (text, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Some(std::str::from_utf8(text).ok()?), rest))
}

fn skip_tags(mut bytes: &[u8]) -> Option<&[u8]> {
    for _ in 0..varint::read_u32(&mut bytes).ok()? {
        varint::read_u32(&mut bytes).ok()?;
        let size = varint::read_u32(&mut bytes).ok()?;
        bytes = bytes.get(usize::try_from(size).ok()?..)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_header_versions_are_read() {
        // Metadata v8: header v1; v9: header v2 with one unknown tag of two bytes.
        let v1 = [0, 3, 0, 8, 0, 0, 0, 5, 0, 2, b'm', b'e', 0xaa];
        let header = parse(&v1).unwrap();
        assert_eq!((header.api, header.version), (Ok(ApiKey::Metadata), 8));
        assert_eq!((header.client_id, header.body_at), (Some("me"), 12));
        let v2 = [0, 3, 0, 9, 0, 0, 0, 5, 0xff, 0xff, 1, 9, 2, 7, 7, 0xaa];
        let header = parse(&v2).unwrap();
        assert_eq!((header.client_id, header.body_at), (None, 15));
    }

    #[test]
    fn hostile_headers_are_errors() {
        assert_eq!(parse(&[0, 3, 0]).unwrap_err(), HeaderError::Short(3));
        let lying = [0, 3, 0, 8, 0, 0, 0, 5, 0x7f, 0xff, 1];
        assert_eq!(parse(&lying).unwrap_err(), HeaderError::ClientId);
        let not_utf8 = [0, 3, 0, 8, 0, 0, 0, 5, 0, 1, 0xff];
        assert_eq!(parse(&not_utf8).unwrap_err(), HeaderError::ClientId);
        let tags = [0, 3, 0, 9, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(parse(&tags).unwrap_err(), HeaderError::Tags);
        assert_eq!(parse(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).unwrap().api, Err(256));
    }
}
