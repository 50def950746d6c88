//! Base 32 in small letters, as RFC 4648 has it, without padding: for what people paste.

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The text of some bytes.
pub(super) fn encode(bytes: &[u8]) -> String {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let letter = |at: usize| LETTERS[(0..5).fold(0, |value, i| value << 1 | usize::from(bit(5 * at + i)))];
    (0..(bytes.len() * 8).div_ceil(5)).map(|at| char::from(letter(at))).collect()
}

/// A text as [`encode`] would write it, if it can be one of so many bytes.
pub(super) fn normal(text: &str, bytes: usize) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let right = text.len() == (bytes * 8).div_ceil(5) && text.bytes().all(|byte| LETTERS.contains(&byte));
    right.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_rfc_has_it() {
        for (bytes, text) in
            [("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foobar", "mzxw6ytboi")]
        {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(normal(&text.to_uppercase(), bytes.len()).as_deref(), Some(text));
        }
        assert_eq!((normal("m", 1), normal("m1", 1)), (None, None));
    }
}
