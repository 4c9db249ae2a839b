//! SHA-256, to hold values against a manifest of digests without another dependency.

/// The digest's first 16 hex digits.
pub fn first_digits(data: &[u8]) -> String {
    let digest = sha256(data);
    digest[..2].iter().map(|word| format!("{word:08x}")).collect()
}

fn sha256(data: &[u8]) -> [u32; 8] {
    let primes: Vec<u64> =
        (2u64..312).filter(|n| (2..*n).all(|d| n % d != 0 || d == *n)).take(64).collect();
    // The constants are the first 32 bits of the fractions of roots of primes.
    let fraction = |root: f64| ((root - root.floor()) * 4_294_967_296.0) as u32;
    let rounds: Vec<u32> = primes.iter().map(|&p| fraction((p as f64).cbrt())).collect();
    let mut state = [0u32; 8];
    for (word, &p) in state.iter_mut().zip(&primes) {
        *word = fraction((p as f64).sqrt());
    }
    let mut padded = data.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64), 0);
    let at = padded.len() - 8;
    padded[at..].copy_from_slice(&(data.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let mut w: Vec<u32> =
            block.chunks(4).map(|b| u32::from_be_bytes(b.try_into().unwrap())).collect();
        for i in 16..64 {
            let s0 = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ (w[i - 15] >> 3);
            let s1 = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ (w[i - 2] >> 10);
            w.push(w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1));
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for i in 0..64 {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let t1 = h.wrapping_add(s1).wrapping_add((e & f) ^ (!e & g));
            let t1 = t1.wrapping_add(rounds[i]).wrapping_add(w[i]);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (word, add) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = word.wrapping_add(add);
        }
    }
    state
}

#[test]
fn known_digests() {
    assert_eq!(first_digits(b""), "e3b0c44298fc1c14");
    assert_eq!(first_digits(b"abc"), "ba7816bf8f01cfea");
    assert_eq!(first_digits(&[b'a'; 119]), "31eba51c313a5c08");
    assert_eq!(first_digits(&[b'a'; 1000]), "41edece42d63e8d9");
}
