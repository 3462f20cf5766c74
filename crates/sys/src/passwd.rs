//! /etc/passwd and /etc/group, and the same lines as `getent` prints them.
//!
//! A name is only ever compared byte for byte: none is a number by guess, none is a prefix. A line
//! whose ids are not plain numbers is nobody's line.
//! Source: passwd(5), group(5), getent(1).

use linux::decimal;

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account<'a> {
    /// User id; never the one that means "none".
    pub uid: u32,
    /// Primary group; never the one that means "none".
    pub gid: u32,
    /// Home directory.
    pub home: &'a [u8],
    /// Login shell.
    pub shell: &'a [u8],
}

/// Tells whether an account may have this name: not empty, nothing in it that ends a field or line,
/// not the beginning of a comment or of a line about another source of accounts.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    let first = name.first().is_some_and(|b| !matches!(b, b'#' | b'+' | b'-'));
    first && !name.iter().any(|b| matches!(b, b':' | b'\n' | 0))
}

/// Finds an account in the bytes of /etc/passwd; the first good line with the name counts.
#[must_use]
pub fn find<'a>(passwd: &'a [u8], name: &[u8]) -> Option<Account<'a>> {
    if !is_name(name) {
        return None;
    }
    passwd.split(|b| *b == b'\n').find_map(|line| account(line, name))
}

fn account<'a>(line: &'a [u8], name: &[u8]) -> Option<Account<'a>> {
    // Cheap first: nearly all lines are somebody else's.
    let rest = line.strip_prefix(name)?.strip_prefix(b":")?;
    let mut fields = rest.splitn(6, |b| *b == b':');
    let _password = fields.next()?;
    let uid = id(fields.next()?)?;
    let gid = id(fields.next()?)?;
    let _comment = fields.next();
    let home = fields.next().unwrap_or_default();
    let shell = fields.next().unwrap_or_default();
    Some(Account { uid, gid, home, shell })
}

/// Finds the name of the account with this user id in the bytes of /etc/passwd; the first good line
/// counts.
#[must_use]
pub fn name_of(passwd: &[u8], uid: u32) -> Option<&[u8]> {
    passwd.split(|b| *b == b'\n').find_map(|line| {
        let name = line.split(|b| *b == b':').next().filter(|name| is_name(name))?;
        // A later line with a name that was there before is nobody's.
        (account(line, name)?.uid == uid && find(passwd, name)?.uid == uid).then_some(name)
    })
}

/// Finds the id of the group that has exactly this name in the bytes of /etc/group.
#[must_use]
pub fn group(group: &[u8], name: &[u8]) -> Option<u32> {
    group.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.splitn(4, |b| *b == b':');
        let found = fields.next().filter(|found| is_name(found) && *found == name);
        found.and_then(|_| id(fields.nth(1)?))
    })
}

/// Returns the ids of the groups in the bytes of /etc/group that list `name` as a member.
pub fn groups_with<'a>(group: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
    let member = move |line: &'a [u8]| {
        let mut fields = line.splitn(4, |b| *b == b':');
        let _name = fields.next()?;
        let _password = fields.next()?;
        let gid = id(fields.next()?)?;
        let members = fields.next()?;
        (is_name(name) && members.split(|b| *b == b',').any(|member| member == name)).then_some(gid)
    };
    group.split(|b| *b == b'\n').filter_map(member)
}

/// Returns the ids that `getent initgroups NAME` printed: the name, then numbers, blanks between.
pub fn initgroups<'a>(printed: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
    let line = printed.split(|b| *b == b'\n').next().unwrap_or_default();
    let rest = line.strip_prefix(name).filter(|rest| rest.is_empty() || rest[0] == b' ');
    rest.unwrap_or_default().split(|b| *b == b' ').filter_map(id)
}

/// Reads an id: digits and nothing else. The highest number means "leave as it is" to the kernel,
/// so it is nobody's.
fn id(digits: &[u8]) -> Option<u32> {
    let number = u32::try_from(decimal::parse(digits)?).ok()?;
    (number != u32::MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\
        0day:x:1000:1001:,,,:/home/0day:/bin/sh\n\
        # none:x:1:1::/:\n\
        +nis:x:1:1::/:\n\
        -nis:x:1:1::/:\n\
        minus:x:-1:0::/:\n\
        all:x:4294967295:5::/:\n\
        allgroup:x:5:4294967295::/:\n\
        huge:x:4294967296:5::/:\n\
        plus:x:+5:5::/:\n\
        blank:x: 5:5::/:\n\
        empty:x:::::\n\
        short:x:7:8\n\
        twice:x:bad:1::/:\n\
        twice:x:20:21::/a:/b\n\
        twice:x:22:23::/:\n\
        odd:x:9:10:a:/h:/bin/sh:more\n\
        last:x:3:4::/last:/l";

    fn ids(name: &str) -> Option<(u32, u32)> {
        find(PASSWD, name.as_bytes()).map(|account| (account.uid, account.gid))
    }

    #[test]
    fn the_first_good_line_with_exactly_the_name_counts() {
        assert_eq!(ids("root"), Some((0, 0)));
        assert_eq!(ids("0day"), Some((1000, 1001)));
        assert_eq!(ids("short"), Some((7, 8)));
        assert_eq!(ids("twice"), Some((20, 21)));
        let last = Account { uid: 3, gid: 4, home: b"/last", shell: b"/l" };
        assert_eq!(find(PASSWD, b"last"), Some(last));
        assert_eq!(find(PASSWD, b"odd").map(|odd| odd.shell), Some(&b"/bin/sh:more"[..]));
    }

    #[test]
    fn no_name_is_a_number_a_prefix_or_a_piece_of_a_line() {
        for name in [
            "", "0", "1000", "roo", "root:x", "root:", "# none", "+nis", "-nis", "ROOT", "root ",
            "x",
        ] {
            assert_eq!(ids(name), None, "{name:?}");
        }
        assert_eq!(find(b":x:0:0::/:", b""), None);
        assert_eq!(find(b"a:b:0:0:x:/:/\n", b"a:b"), None);
        assert_eq!(find(b"a\nroot:x:0:0::/:", b"a\nroot"), None);
    }

    #[test]
    fn ids_that_are_no_plain_numbers_are_nobodys() {
        for name in ["minus", "all", "allgroup", "huge", "plus", "blank", "empty"] {
            assert_eq!(ids(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_is_found_by_its_id_and_a_group_by_its_name() {
        assert_eq!(name_of(PASSWD, 1000), Some(&b"0day"[..]));
        assert_eq!(name_of(PASSWD, 20), Some(&b"twice"[..]));
        for nobodys in [1, u32::MAX, 5, 22] {
            assert_eq!(name_of(PASSWD, nobodys), None, "{nobodys}");
        }
        let file = b"a:x:1:me\nbad:x:-1:\nshort:x\n+:x:5:\nlast:x:7";
        let rows =
            [("a", Some(1)), ("last", Some(7)), ("bad", None), ("short", None), ("me", None)];
        for (name, gid) in rows {
            assert_eq!(group(file, name.as_bytes()), gid, "{name}");
        }
        for odd in ["", "+", "1", "a:x", "a\nlast"] {
            assert_eq!(group(file, odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn groups_list_whole_names() {
        let group = b"a:x:1:root,me\nb:x:2:meme\nc:x:3:me\nd:x:4:\ne:x:5\nf:x:x:me\ng:x:6:you,me";
        let of = |name: &'static [u8]| {
            let mut out = [0; 4];
            for (slot, gid) in out.iter_mut().zip(groups_with(group, name)) {
                *slot = gid;
            }
            out
        };
        assert_eq!(of(b"me"), [1, 3, 6, 0]);
        assert_eq!(of(b""), [0; 4]);
        assert_eq!(of(b"root,me"), [0; 4]);
    }

    #[test]
    fn getents_groups_belong_to_the_name_asked_for() {
        let of = |printed: &'static [u8]| initgroups(printed, b"me").fold(0, |n, id| n * 100 + id);
        assert_eq!(of(b"me                    1 22 3\n"), 12_203);
        assert_eq!(of(b"me\n"), 0);
        assert_eq!(of(b"meme 1\n"), 0);
        assert_eq!(of(b"you 1\nme 2\n"), 0);
    }

    /// Every line of up to seven bytes out of those that mean something: nothing is found that
    /// does not begin with the name and a colon.
    #[test]
    fn whatever_the_file_says_the_name_stands_first() {
        const BYTES: &[u8] = b"a:0\n-";
        for n in 0..BYTES.len().pow(7) {
            let mut file = [0; 7];
            let mut digits = n;
            for byte in &mut file {
                *byte = BYTES[digits % BYTES.len()];
                digits /= BYTES.len();
            }
            for name in [&b"a"[..], b"0", b"-", b"aa", b""] {
                let stands = file
                    .split(|b| *b == b'\n')
                    .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(b":")));
                assert!(find(&file, name).is_none() || stands && !name.is_empty());
            }
        }
    }
}
