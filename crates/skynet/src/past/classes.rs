//! Classes of failures, and the names that people give them.

use crate::failure::{Failure, code};
use work::item::checksum;
use work::read::Class;

/// Bits without a pattern: those of the golden ratio.
const MIXED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns what names a class in one word: it stays the same as long as the class is kept.
#[must_use]
pub fn id(class: &Class) -> String {
    let named = format!("{}\0{}", class.queue, class.signature);
    let sum = checksum(named.as_bytes()).cast_unsigned();
    // Those of names that are nearly the same differ in their last bits, and are to do so in the
    // first. Of 64 these are enough to tell a thousand classes apart.
    format!("{:08x}", sum.wrapping_mul(MIXED) >> 32)
}

/// Digits of a word that are enough where no other class begins so.
const ENOUGH: usize = 4;

/// Finds the class of this name: its word, or the first digits of it; its signature, or the beginning
/// or a piece of it that no other has.
///
/// # Errors
/// None is, or several are.
pub fn find<'a>(classes: &'a [Class], name: &str) -> Result<&'a Class, Failure> {
    let ways: [&dyn Fn(&Class) -> bool; 5] = [
        &|class| id(class) == name,
        &|class| class.signature == name,
        &|class| name.len() >= ENOUGH && id(class).starts_with(name),
        &|class| class.signature.starts_with(name),
        &|class| class.signature.contains(name),
    ];
    for is_meant in ways {
        let found: Vec<_> = classes.iter().filter(|class| is_meant(class)).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok(one),
            several => {
                let mut lines = vec![format!("{} failures are called so:", several.len())];
                let line = |class: &&&Class| {
                    format!("{} of {}: {}", id(class), class.queue, class.signature)
                };
                lines.extend(several.iter().take(10).map(|class| line(&class)));
                return Err(Failure { code: code::FAILED, lines });
            }
        }
    }
    Err(Failure::unknown(format!("no failure {name}; skynet failure list has them all")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use work::{Fault, Wall};

    fn class(queue: &str, signature: &str) -> Class {
        Class {
            queue: queue.into(),
            signature: signature.into(),
            code: Fault(3),
            text: String::new(),
            count: 1,
            first: Wall(0),
            last: Wall(0),
            owner: None,
            bug: None,
        }
    }

    #[test]
    fn a_class_goes_by_its_word_its_signature_or_a_piece_of_it() {
        let all = [class("a", "exit 3: no"), class("a", "exit 3: no way"), class("b", "other")];
        for (name, wanted) in
            [("exit 3: no", 0), ("exit 3: no w", 1), ("way", 1), ("other", 2), (&*id(&all[1]), 1)]
        {
            assert_eq!(find(&all, &id(&all[2])[..ENOUGH]).unwrap(), &all[2]);
            assert_eq!(find(&all, name).unwrap(), &all[wanted], "{name}");
        }
        let several = find(&all, "exit").unwrap_err();
        assert_eq!((several.code, several.lines.len()), (code::FAILED, 3));
        assert!(several.lines[1].contains("of a: exit 3: no"), "{several:?}");
        assert_eq!(find(&all, "zzz").unwrap_err().code, code::UNKNOWN);
    }

    #[test]
    fn the_words_of_many_classes_differ() {
        let all = (0..1000).map(|n| id(&class("q", &n.to_string())));
        let all: std::collections::BTreeSet<_> = all.collect();
        assert_eq!(all.len(), 1000);
        assert_ne!(id(&class("a", "x")), id(&class("b", "x")));
    }
}
