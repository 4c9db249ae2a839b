//! Recognises peers that speak something else, from the first bytes of a connection.
//!
//! The commonest first-day mistakes (a browser or a health check on the Kafka port, a TLS client on a plain
//! listener) end in one clear sentence in the log instead of "invalid request of 369,296,128 bytes".

/// Says what the first bytes of a connection are when they are no Kafka request.
pub(crate) fn recognise(first: &[u8]) -> Option<&'static str> {
    const HTTP: [&[u8]; 9] =
        [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"CONN", b"PATC", b"PRI "];
    let start = first.get(..4)?;
    if HTTP.contains(&start) {
        return Some(
            "an HTTP request came to a Kafka listener; point the HTTP client somewhere else, \
             or use a Kafka client here",
        );
    }
    // TLS record: handshake (22), version 3.x; or the alert (21) of a client that gave up.
    if matches!(start, [21 | 22, 3, 0..=4, _]) {
        return Some(
            "a TLS client connected to a plaintext listener; set security.protocol=PLAINTEXT in the client",
        );
    }
    if start == b"SSH-" {
        return Some("an SSH client connected to a Kafka listener");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::recognise;

    #[test]
    fn strangers_are_told_apart_from_kafka() {
        assert!(recognise(b"GET / HTTP/1.1").unwrap().contains("HTTP"));
        assert!(recognise(&[0x16, 3, 1, 2, 0, 1]).unwrap().contains("TLS"));
        assert_eq!(recognise(&[0, 0, 0, 40, 0, 18]), None);
        assert_eq!(recognise(b"GE"), None);
    }
}
