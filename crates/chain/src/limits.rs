//! softlimit: running a program with other resource limits.

use linux::entry::Args;
use linux::getopt::Options;
use linux::limit::{self, Limit, Resource, UNLIMITED};
use linux::program::Program;
use linux::{chain, process};

const PROGRAM: Program = Program("softlimit");
const USAGE: &str = "softlimit [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] \
    [-l lockbytes] [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] \
    [-t cpusecs] child";

/// `-m` in the original's order: the first that fails is the one told about.
const MEMORY: &[Resource] =
    &[Resource::Data, Resource::Stack, Resource::LockedMemory, Resource::AddressSpace];

/// What a letter limits.
fn resources(letter: u8) -> &'static [Resource] {
    match letter {
        b'a' => &[Resource::AddressSpace],
        b'c' => &[Resource::Core],
        b'd' => &[Resource::Data],
        b'f' => &[Resource::FileSize],
        b'l' => &[Resource::LockedMemory],
        b'm' => MEMORY,
        b'o' => &[Resource::OpenFiles],
        b'p' => &[Resource::Processes],
        b'r' => &[Resource::ResidentSet],
        b's' => &[Resource::Stack],
        b't' => &[Resource::CpuSeconds],
        _ => &[],
    }
}

/// Variables that limit before the options do, each like a letter; a resource's own variable comes
/// before the one for all memory, so that the latter wins. Source: daemontools-encore.
const VARIABLES: [(&str, Resource); 14] = [
    ("ALLBYTES", Resource::AddressSpace),
    ("MEMBYTES", Resource::AddressSpace),
    ("COREBYTES", Resource::Core),
    ("DATABYTES", Resource::Data),
    ("MEMBYTES", Resource::Data),
    ("FILEBYTES", Resource::FileSize),
    ("LOCKEDBYTES", Resource::LockedMemory),
    ("MEMBYTES", Resource::LockedMemory),
    ("STACKBYTES", Resource::Stack),
    ("MEMBYTES", Resource::Stack),
    ("OPENFILES", Resource::OpenFiles),
    ("PROCS", Resource::Processes),
    ("RSSBYTES", Resource::ResidentSet),
    ("CPUSECS", Resource::CpuSeconds),
];

/// What an argument asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// `=` or `hard`: as much as the hard limit allows.
    Hard,
    /// `-` or `unlimited`: no limit, soft or hard.
    Unlimited,
    /// This much, but not more than the hard limit.
    Number(u64),
}

impl Wish {
    /// Reads an argument; `None` = not a number. Like the original, an empty one is 0; unlike it,
    /// a number beyond all bounds is the highest there is, not what is left of it.
    fn parse(argument: &[u8]) -> Option<Self> {
        match argument {
            b"=" | b"hard" => return Some(Self::Hard),
            b"-" | b"unlimited" => return Some(Self::Unlimited),
            _ => {}
        }
        let number = argument.iter().try_fold(0u64, |n, b| {
            let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
            Some(n.saturating_mul(10).saturating_add(digit))
        })?;
        Some(Self::Number(number))
    }

    fn apply(self, limit: Limit) -> Limit {
        match self {
            Self::Hard => Limit { soft: limit.hard, ..limit },
            Self::Unlimited => Limit { soft: UNLIMITED, hard: UNLIMITED },
            Self::Number(n) => Limit { soft: n.min(limit.hard), ..limit },
        }
    }
}

/// Limits `resource`; an error is said, and the exit code returned.
fn set(resource: Resource, argument: &[u8]) -> Result<(), i32> {
    let before = limit::get(resource).map_err(|why| PROGRAM.fatal(&[b"getrlimit failed"], why))?;
    let wish = Wish::parse(argument).ok_or_else(|| PROGRAM.usage(USAGE))?;
    limit::set(resource, wish.apply(before))
        .map_err(|why| PROGRAM.fatal(&[b"setrlimit failed"], why))
}

/// Follows the variables. One pass over the environment tells most processes that there are none.
fn follow_variables() -> Result<(), i32> {
    const START: &[u8] = b"SOFTLIMIT_";
    if !process::variables().any(|string| string.to_bytes().starts_with(START)) {
        return Ok(());
    }
    for (name, resource) in VARIABLES {
        let value = process::variables().find_map(|string| {
            let rest = string.to_bytes().strip_prefix(START)?.strip_prefix(name.as_bytes())?;
            rest.strip_prefix(b"=")
        });
        if let Some(value) = value {
            set(resource, value)?;
        }
    }
    Ok(())
}

/// Follows the options and returns where the child's words begin.
fn follow_options(args: Args) -> Result<usize, i32> {
    let mut options = Options::new(1, "a:c:d:f:l:m:o:p:r:s:t:");
    while let Some(option) = options.next_in(PROGRAM, args) {
        let (letter, value) = option.map_err(|()| PROGRAM.usage(USAGE))?;
        for resource in resources(letter) {
            set(*resource, value)?;
        }
    }
    if options.rest() < args.len() { Ok(options.rest()) } else { Err(PROGRAM.usage(USAGE)) }
}

/// The program softlimit.
#[must_use]
pub fn softlimit(args: Args) -> i32 {
    if let Some(code) = PROGRAM.standard(args, USAGE) {
        return code;
    }
    match follow_variables().and_then(|()| follow_options(args)) {
        Ok(child) => chain::run(PROGRAM, args, child, process::exec),
        Err(code) => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_a_word_or_a_plain_number() {
        assert_eq!(Wish::parse(b"="), Some(Wish::Hard));
        assert_eq!(Wish::parse(b"hard"), Some(Wish::Hard));
        assert_eq!(Wish::parse(b"-"), Some(Wish::Unlimited));
        assert_eq!(Wish::parse(b"unlimited"), Some(Wish::Unlimited));
        assert_eq!(Wish::parse(b""), Some(Wish::Number(0)));
        assert_eq!(Wish::parse(b"0042"), Some(Wish::Number(42)));
        assert_eq!(Wish::parse(b"18446744073709551616"), Some(Wish::Number(u64::MAX)));
        for odd in [&b"1k"[..], b"-1", b"+1", b" 1", b"1 ", b"0x1", b"==", b"Hard"] {
            assert_eq!(Wish::parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn only_unlimited_moves_the_hard_limit() {
        let before = Limit { soft: 5, hard: 10 };
        assert_eq!(Wish::Hard.apply(before), Limit { soft: 10, hard: 10 });
        assert_eq!(Wish::Number(7).apply(before), Limit { soft: 7, hard: 10 });
        assert_eq!(Wish::Number(70).apply(before), Limit { soft: 10, hard: 10 });
        let unlimited = Limit { soft: UNLIMITED, hard: UNLIMITED };
        assert_eq!(Wish::Unlimited.apply(before), unlimited);
    }
}
