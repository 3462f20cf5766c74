//! FNV-1a, 64 bit: tells half a write from a whole one.
//! Source: <http://www.isthe.com/chongo/tech/comp/fnv/>.

/// Returns the checksum of some bytes.
#[must_use]
pub fn fnv(bytes: &[u8]) -> u64 {
    fnv_on(0xcbf2_9ce4_8422_2325, bytes)
}

/// Goes on with the checksum of what came before these bytes.
#[must_use]
pub fn fnv_on(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_values_come_out() {
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(fnv_on(fnv(b"foo"), b"bar"), fnv(b"foobar"));
    }
}
