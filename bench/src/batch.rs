//! Record batches for the raw generator: [`batch_of`], version 2, no codec, no producer id.

/// A batch of equal records without keys whose encoding is as close to `size_bytes` as they allow.
pub fn batch_of(size_bytes: usize, value_bytes: usize) -> Vec<u8> {
    let value: Vec<u8> = (0..value_bytes).map(|i| b'a' + (i % 23) as u8).collect();
    let mut records = Vec::new();
    let mut count = 0_i32;
    loop {
        let record = record(count, &value);
        if count > 0 && 61 + records.len() + record.len() > size_bytes {
            break;
        }
        records.extend_from_slice(&record);
        count += 1;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| now.as_millis() as i64);
    let mut covered = Vec::new();
    covered.extend_from_slice(&0_i16.to_be_bytes());
    covered.extend_from_slice(&(count - 1).to_be_bytes());
    covered.extend_from_slice(&now_ms.to_be_bytes());
    covered.extend_from_slice(&now_ms.to_be_bytes());
    covered.extend_from_slice(&(-1_i64).to_be_bytes());
    covered.extend_from_slice(&(-1_i16).to_be_bytes());
    covered.extend_from_slice(&(-1_i32).to_be_bytes());
    covered.extend_from_slice(&count.to_be_bytes());
    covered.extend_from_slice(&records);
    let mut batch = Vec::new();
    batch.extend_from_slice(&0_i64.to_be_bytes());
    batch.extend_from_slice(&(covered.len() as i32 + 9).to_be_bytes());
    batch.extend_from_slice(&(-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c::crc32c(&covered).to_be_bytes());
    batch.extend_from_slice(&covered);
    batch
}

fn record(offset_delta: i32, value: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    varint(&mut body, 0);
    varint(&mut body, i64::from(offset_delta));
    varint(&mut body, -1);
    varint(&mut body, value.len() as i64);
    body.extend_from_slice(value);
    varint(&mut body, 0);
    let mut record = Vec::new();
    varint(&mut record, body.len() as i64);
    record.extend_from_slice(&body);
    record
}

/// Zigzag, seven bits a byte.
fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
