//! Files that were damaged.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// What programs stumble over.
const ODD: [&[u8]; 9] = [
    &[0xff; 4],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0; 8],
    b"4294967295",
    b"18446744073709551616",
    b"-1",
    b"NaN",
    b"1e999",
    "\u{feff}\"".as_bytes(),
];

/// `whole` with one to three cuts, flips, or bytes put in, taken out or doubled.
pub fn mutated(whole: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..=bytes.len());
        let to = rng.random_range(at..=bytes.len().min(at + 16));
        match rng.random_range(0..6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            2 if at < bytes.len() => bytes[at] = rng.random(),
            3 => drop(bytes.drain(at..to)),
            4 => bytes.splice(at..at, whole.iter().copied().skip(at).take(to - at)).for_each(drop),
            _ => {
                let odd = ODD[rng.random_range(0..ODD.len())];
                let end = if rng.random() { at } else { bytes.len().min(at + odd.len()) };
                bytes.splice(at..end, odd.iter().copied()).for_each(drop);
            }
        }
    }
    bytes
}
