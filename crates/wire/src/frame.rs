//! Request and response frames: header, body, and the length before them. Key type: [`RequestHeader`].
//!
//! Reading works for hostile bytes: an unknown key or version comes back as an error with what is
//! needed to answer it.

use crate::cursor::Cursor;
use crate::header::{RequestHeader, ResponseHeader};
use crate::{ApiKey, DecodeError, Decoder, Encode, EncodeError, Encoder, Request, Str};

/// A request's header could not be taken from its frame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes are no header. There is nobody to answer: close the connection.
    #[error("not a request header: {0}")]
    Malformed(#[from] DecodeError),
    /// The key belongs to no API. The header's version hangs on the API: close the connection.
    #[error("unknown API key {key} (version {version})")]
    UnknownKey {
        /// The key.
        key: i16,
        /// The version that was asked for.
        version: i16,
        /// The request's number.
        correlation_id: i32,
    },
    /// The API has no such version. ApiVersions is answered in version 0 all the same.
    #[error("{key} has no version {version}")]
    UnsupportedVersion {
        /// The API.
        key: ApiKey,
        /// The version that was asked for.
        version: i16,
        /// The request's number.
        correlation_id: i32,
    },
}

/// Takes a request's header; the body follows in `d`. The API and the version are known when this succeeds.
pub fn read_request_header(d: &mut Decoder) -> Result<(ApiKey, RequestHeader), HeaderError> {
    let start = d.position();
    let (code, version, correlation_id) = (d.i16()?, d.i16()?, d.i32()?);
    let Some(key) = ApiKey::from_code(code) else {
        return Err(HeaderError::UnknownKey { key: code, version, correlation_id });
    };
    if !key.has_version(version) {
        return Err(HeaderError::UnsupportedVersion { key, version, correlation_id });
    }
    d.rewind(start);
    let header = d.read(key.request_header_version(version))?;
    Ok((key, header))
}

/// A request's header read in place, without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeaderView<'a> {
    /// The API.
    pub key: ApiKey,
    /// The version of the request: one that the API has.
    pub version: i16,
    /// The request's number, which the answer repeats.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
    /// How many bytes the header takes: where the body begins.
    pub len: usize,
}

impl<'a> RequestHeaderView<'a> {
    /// Reads the header at the start of `frame`, which does not hold the length before it.
    pub fn parse(frame: &'a [u8]) -> Result<Self, HeaderError> {
        let mut c = Cursor::new(frame, "RequestHeader");
        let (code, version, correlation_id) = (c.i16()?, c.i16()?, c.i32()?);
        let Some(key) = ApiKey::from_code(code) else {
            return Err(HeaderError::UnknownKey { key: code, version, correlation_id });
        };
        if !key.has_version(version) {
            return Err(HeaderError::UnsupportedVersion { key, version, correlation_id });
        }
        // The client id is never compact, so that every broker can read a header of version 2 up to it.
        let client_id = c.nullable_string(false)?.map(|(_, text)| text);
        if key.request_header_version(version) >= 2 {
            c.skip_tags()?;
        }
        Ok(Self { key, version, correlation_id, client_id, len: c.position() })
    }
}

/// Takes a response's header and gives the number of the request that it answers.
pub fn read_response_header(
    d: &mut Decoder,
    key: ApiKey,
    version: i16,
) -> Result<i32, DecodeError> {
    let header: ResponseHeader = d.read(key.response_header_version(version))?;
    Ok(header.correlation_id)
}

/// Appends a whole request frame. On an error the encoder is as it was. Returns the frame's length.
pub fn write_request<R: Request>(
    e: &mut Encoder,
    version: i16,
    correlation_id: i32,
    client_id: Option<Str>,
    request: &R,
) -> Result<usize, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::KEY.code(),
        request_api_version: version,
        correlation_id,
        client_id,
    };
    write_frame(e, &header, R::KEY.request_header_version(version), request, version)
}

/// Appends a whole response frame. On an error the encoder is as it was. Returns the frame's length
/// with what comes from elsewhere.
pub fn write_response<R: Encode>(
    e: &mut Encoder,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &R,
) -> Result<usize, EncodeError> {
    let header = ResponseHeader { correlation_id };
    write_frame(e, &header, key.response_header_version(version), response, version)
}

fn write_frame(
    e: &mut Encoder,
    header: &impl Encode,
    header_version: i16,
    body: &impl Encode,
    version: i16,
) -> Result<usize, EncodeError> {
    let mark = e.start_frame();
    let written = header.encode(e, header_version).and_then(|()| body.encode(e, version));
    match written {
        Ok(()) => e.finish_frame(mark),
        Err(error) => {
            e.abandon_frame(mark);
            Err(error)
        }
    }
}
