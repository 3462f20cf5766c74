//! The parsers of what less trusted hands may write, on the seeds of the fuzzers and on inputs made
//! from them: the same ones in each run.

// Helpers of tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../fuzz/properties.rs"]
mod properties;

use std::fs;
use std::path::Path;

/// Inputs of each kind.
const INPUTS: usize = 100_000;

/// A generator of numbers, the same in each run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        // Bytes that mean something somewhere come often.
        const TELLING: &[u8] = b"\0\n\r\t =[];udoxpc+L=l\xff\x01/";
        let any = self.next().to_le_bytes()[7];
        if any & 1 == 0 { TELLING[self.below(TELLING.len())] } else { any }
    }
}

fn seeds(kind: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(kind);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Makes a new input: a seed with a few changes, or two seeds in one.
fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.byte()),
            2 if at < bytes.len() => bytes[at] = random.byte(),
            3 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            4 if at < bytes.len() => drop(bytes.remove(at)),
            _ => {
                let other = &seeds[random.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend(&other[random.below(other.len() + 1)..]);
            }
        }
    }
    bytes
}

fn holds(kind: &str, seed: u64, property: fn(&[u8])) {
    let seeds = seeds(kind);
    assert!(seeds.len() > 2, "the seeds of {kind} are not where they were");
    for seed in &seeds {
        property(seed);
    }
    let mut random = Random(seed);
    for _ in 0..INPUTS {
        let bytes = mutate(&seeds, &mut random);
        // Shown only where the test fails, which may be by a panic deep below.
        let shown = Shown(&bytes);
        property(&bytes);
        std::mem::forget(shown);
    }
}

/// Shows an input when a panic passes by.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        eprintln!("the input: b\"{}\"", self.0.escape_ascii());
    }
}

#[test]
fn no_status_file_confuses_a_reader() {
    holds("status", 1, properties::status);
}

#[test]
fn no_record_confuses_a_supervise() {
    holds("record", 2, properties::record);
}

#[test]
fn no_bytes_on_the_control_pipe_make_a_second_process_or_keep_supervise_from_ending() {
    holds("control", 3, properties::control);
}

#[test]
fn no_pattern_of_the_logger_matches_but_by_its_rule() {
    holds("pattern", 5, properties::pattern);
}

#[test]
fn no_script_of_the_logger_selects_but_by_its_words() {
    holds("script", 7, properties::script);
}

/// One that tries again for each star would not come to its end while anybody waits: a thousand
/// bytes give 32 stars more than 10^50 ways.
#[test]
fn the_worst_patterns_come_to_an_end() {
    use multilog::pattern::{Kind, matches};
    let line = [b'a'; 1000];
    for stars in [1, 8, 32, 400] {
        for tail in ["b", "ab", "?b", "[b]", "*b"] {
            let pattern = "*a".repeat(stars) + tail;
            for kind in [Kind::Simple, Kind::Shell] {
                assert!(!matches(kind, pattern.as_bytes(), [&[], &line]), "{pattern}");
            }
        }
    }
}

#[test]
fn no_configuration_says_something_else_once_it_is_shown() {
    holds("configuration", 6, properties::configuration);
}

#[test]
fn no_environment_file_makes_a_variable_that_cannot_be() {
    holds("environment", 4, properties::environment);
}

#[test]
fn no_word_of_a_participant_or_to_it_means_two_things() {
    holds("words", 8, properties::words);
}

#[test]
fn no_order_to_the_keeper_is_understood_but_as_it_was_meant() {
    holds("order", 9, properties::order);
}

#[test]
fn no_question_to_the_control_socket_confuses_exo() {
    holds("request", 10, properties::request);
}

#[test]
fn no_dropped_file_takes_another_items_name() {
    holds("item", 11, properties::item);
}

#[test]
fn no_message_of_rabbitmq_is_taken_for_what_it_is_not() {
    holds("wire", 12, properties::wire);
}

#[test]
fn no_request_by_air_means_two_things_or_another_process() {
    holds("air", 13, properties::air);
}
