//! Numbers as they are written, digit by digit: none is rounded.

use std::cmp::Ordering;

/// A decimal number: a sign, and 0.DIGITS times ten to the power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    is_negative: bool,
    /// Without zeros at either end; none of a zero.
    digits: String,
    power: i64,
}

impl Number {
    /// Reads one as JSON has it, or with a `+`, or with zeros that JSON does not allow.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_negative = text.starts_with('-');
        let text = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{part}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let without_zeros = all.trim_start_matches('0');
        let zeros = i64::try_from(all.len() - without_zeros.len()).ok()?;
        let digits = without_zeros.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits, power: i64::MIN });
        }
        let before_point = i64::try_from(whole.len()).ok()?;
        let power = exponent.saturating_add(before_point - zeros);
        Some(Self { is_negative, digits, power })
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let size = self.power.cmp(&other.power).then_with(|| self.digits.cmp(&other.digits));
        match (self.is_negative, other.is_negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => size,
            (true, true) => size.reverse(),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order_whatever_their_length() {
        let ordered = [
            "-1e400",
            "-12345678901234567891",
            "-12345678901234567890",
            "-2",
            "-0.5",
            "0",
            "1e-400",
            "0.05",
            ".5",
            "1",
            "1.25",
            "+2",
            "9",
            "10",
            "12345678901234567890",
            "12345678901234567891",
            "1E400",
        ];
        let numbers = ordered.map(|text| Number::read(text).unwrap());
        for (at, number) in numbers.iter().enumerate() {
            for (other_at, other) in numbers.iter().enumerate() {
                assert_eq!(number.cmp(other), at.cmp(&other_at), "{number:?} {other:?}");
            }
        }
    }

    #[test]
    fn one_number_may_be_written_in_many_ways() {
        for (left, right) in
            [("0", "-0.00"), ("100", "1e2"), ("1.10", "11E-1"), ("007", " 7 "), ("0.1", ".10")]
        {
            assert_eq!(Number::read(left), Number::read(right), "{left} {right}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", ".", "-", "e5", "1e", "1e99999999999999999999", "1_0", "inf", "nan", "1,0"]
        {
            assert_eq!(Number::read(text), None, "{text}");
        }
    }
}
