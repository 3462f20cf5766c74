//! What svlog shows, and how.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use ondisk::tai64n::Stamp;
use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::{Disk, Output, Scratch, Suite, call, program, run};

const MOMENT: i64 = 1_795_474_469;

fn label(seconds: i64) -> String {
    String::from_utf8(Stamp::from_unix(seconds, 123_456_789).to_label().to_vec()).unwrap()
}

/// Makes a log directory of these files.
fn log(dir: &Path, name: &str, files: &[(&str, &[u8])]) {
    fs::create_dir_all(dir.join(name)).unwrap();
    for (file, bytes) in files {
        fs::write(dir.join(name).join(file), bytes).unwrap();
    }
}

/// Runs svlog in the time zone of Berlin.
fn svlog(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program("svlog"));
    run(command.args(args).current_dir(dir).env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3"))
}

fn shown(dir: &Path, args: &[&str]) -> String {
    let output = svlog(dir, args);
    assert_eq!(output.verdict(), (Some(0), String::new()), "{args:?}");
    output.out()
}

/// Three files, a line each second.
fn stamped(dir: &Path, name: &str, first: i64, every: i64) {
    let lines = |from: i64| -> Vec<u8> {
        let times = (from..from + 10).map(|n| first + n * every);
        times.flat_map(|time| format!("{} {}\n", label(time), time - MOMENT).into_bytes()).collect()
    };
    let rotated = |n: i64| format!("{}.s", label(first + n * every));
    let (a, b) = (rotated(10), rotated(20));
    log(dir, name, &[(&a, &lines(0)), (&b, &lines(10)), ("current", &lines(20))]);
}

fn numbers(text: &str) -> Vec<i64> {
    text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn times_are_shown_in_local_time_in_utc_or_as_they_are() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let tai = format!("{} x\n", label(MOMENT));
    for (line, local, utc) in [
        (tai.as_str(), "2026-11-23 23:54:29.123456789 x", "2026-11-23T22:54:29.123456789Z x"),
        ("1795474469.123456 x", "2026-11-23 23:54:29.123456 x", "2026-11-23T22:54:29.123456Z x"),
        ("2026-11-23T22:54:29.12Z x", "2026-11-23 23:54:29.12 x", "2026-11-23T22:54:29.12Z x"),
        (
            "2026-11-23_22:54:29.12345 x",
            "2026-11-23 23:54:29.12345 x",
            "2026-11-23T22:54:29.12345Z x",
        ),
        (
            "2026-11-23T22:54:29.12345 x",
            "2026-11-23 23:54:29.12345 x",
            "2026-11-23T22:54:29.12345Z x",
        ),
        ("2026-11-23 23:54:29.5  x", "2026-11-23 23:54:29.5  x", "2026-11-23T22:54:29.5Z  x"),
        ("2026-11-23 20:54:29-0200 x", "2026-11-23 20:54:29-0200 x", "2026-11-23T22:54:29Z x"),
        ("no stamp", "no stamp", "no stamp"),
    ] {
        let line = line.trim_end();
        log(dir, "log", &[("current", format!("{line}\n").as_bytes())]);
        assert_eq!(shown(dir, &["log"]), format!("{local}\n"), "{line}");
        assert_eq!(shown(dir, &["--local", "log"]), format!("{local}\n"), "{line}");
        assert_eq!(shown(dir, &["--utc", "log"]), format!("{utc}\n"), "{line}");
        assert_eq!(shown(dir, &["--raw", "log"]), format!("{line}\n"), "{line}");
    }
}

#[test]
fn a_log_of_multilog_is_shown_as_tai64nlocal_shows_it() {
    let scratch = Scratch::new();
    let multilog = Suite::Original.program("multilog");
    let script = "seq 20000 | \"$0\" t s65536 n100 ./log && TZ=America/New_York && export TZ && \
                  cat log/@* log/current | tai64nlocal | cmp - shown";
    let svlog = format!("{} log >shown", program("svlog").display());
    let script = script.replace("&& cat", &format!("&& {svlog} && cat"));
    let script = script.replace("export TZ &&", &format!("export TZ && {svlog} &&"));
    let done =
        run(Command::new("sh").args(["-c", &script]).arg(multilog).current_dir(scratch.path()));
    assert_eq!((done.verdict(), done.out()), ((Some(0), String::new()), String::new()));
    assert_eq!(fs::read_to_string(scratch.join("shown")).unwrap().lines().count(), 20_000);
}

#[test]
fn the_last_lines_and_those_of_a_time_are_found_in_either_direction() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    stamped(dir, "log", MOMENT, 1);
    let all: Vec<i64> = (0..30).collect();
    assert_eq!(numbers(&shown(dir, &["log"])), all);
    for n in [0, 1, 9, 10, 11, 29, 30, 31] {
        let last = all[30 - n.min(30)..].to_vec();
        let n = n.to_string();
        assert_eq!(numbers(&shown(dir, &["-n", &n, "log"])), last);
        let reversed: Vec<i64> = last.into_iter().rev().collect();
        assert_eq!(numbers(&shown(dir, &["-rn", &n, "log"])), reversed);
    }
    for (since, until) in [(0, 29), (5, 5), (5, 25), (9, 10), (10, 19), (20, 40), (31, 40)] {
        let wanted: Vec<i64> =
            all.iter().copied().filter(|n| (since..=until).contains(n)).collect();
        let (since, until) = (label(MOMENT + since), label(MOMENT + until));
        let range = ["--since", &since, "--until", &until, "log"];
        assert_eq!(numbers(&shown(dir, &range)), wanted);
        let few = [&["-n4"][..], &range].concat();
        assert_eq!(numbers(&shown(dir, &few)), wanted[wanted.len().saturating_sub(4)..]);
        let reversed = numbers(&shown(dir, &[&["-r"][..], &range].concat()));
        assert_eq!(reversed, wanted.into_iter().rev().collect::<Vec<_>>());
    }
    // 22:54:29 in UTC; a second has begun by then.
    assert_eq!(numbers(&shown(dir, &["--until=2026-11-23 23:54:30", "log"])), [0]);
    assert_eq!(numbers(&shown(dir, &["--since=2026-11-23T22:54:58Z", "log"])), [29]);
}

#[test]
fn files_that_were_closed_before_are_not_even_opened() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    stamped(dir, "log", MOMENT, 1);
    let since = label(MOMENT + 25);
    for way in ["-h", "-r", "-n5"] {
        let svlog = program("svlog");
        let trace = ["-qq", "-o", "trace", "-e", "trace=openat"];
        let done = run(Command::new("strace")
            .args(trace)
            .arg(svlog)
            .args([way, "--since", &since])
            .arg("log")
            .current_dir(dir));
        assert_eq!(numbers(&done.out()).len(), 5, "{way}: {done:?}");
        let trace = fs::read_to_string(dir.join("trace")).unwrap();
        let oldest = format!("{}.s", label(MOMENT + 10));
        assert!(trace.contains("current") && !trace.contains(&oldest), "{way}: {trace}");
    }
}

#[test]
fn lines_without_stamp_belong_to_the_line_before_or_to_the_time_of_their_file() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let (old, new) = (format!("{}.s", label(MOMENT)), format!("{}.s", label(MOMENT + 100)));
    let mixed = format!("plain new\n{} stamped\n  goes on\n", label(MOMENT + 50));
    log(dir, "log", &[(&old, b"plain old\n"), (&new, mixed.as_bytes()), ("current", b"plain\n")]);
    for (since, until, wanted) in [
        (-10, -5, &["plain old"][..]),
        (1, 9, &["plain new"]),
        (40, 60, &["plain new", "stamped", "  goes on"]),
        (60, 70, &["plain new"]),
        (200, 300, &["plain"]),
    ] {
        let (since, until) = (label(MOMENT + since), label(MOMENT + until));
        for way in ["-nall", "-n9", "-r"] {
            let text = shown(dir, &[way, "--since", &since, "--until", &until, "log"]);
            let mut lines: Vec<&str> = text.lines().collect();
            if way == "-r" {
                lines.reverse();
            }
            let is_so = lines.len() == wanted.len()
                && lines.iter().zip(wanted).all(|(line, wanted)| line.ends_with(wanted));
            assert!(is_so, "{way}: {lines:?}, not {wanted:?}");
        }
    }
}

#[test]
fn several_directories_are_merged_by_time_and_named() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    stamped(dir, "a/log/main", MOMENT, 2);
    stamped(dir, "b", MOMENT + 1, 2);
    let both = shown(dir, &["--raw", "a/log/main", "b/"]);
    assert_eq!(numbers(&both), (0..60).collect::<Vec<_>>());
    for (line, name) in both.lines().zip(["a: @", "b: @"].into_iter().cycle()) {
        assert!(line.starts_with(name), "{line}");
    }
    let nameless = shown(dir, &["--raw", "-h", "a", "b"]);
    assert_eq!(numbers(&nameless), numbers(&both));
    assert!(nameless.lines().all(|line| line.starts_with('@')));
    assert_eq!(shown(dir, &["--no-name", "--raw", "a", "b"]), nameless);
    assert_eq!(numbers(&shown(dir, &["-n", "7", "a", "b"])), (53..60).collect::<Vec<_>>());
    assert_eq!(numbers(&shown(dir, &["-rn7", "a", "b"])), (53..60).rev().collect::<Vec<_>>());
    let since = label(MOMENT + 31);
    let some = shown(dir, &["--since", &since, "b", "a"]);
    assert_eq!(numbers(&some), (31..60).collect::<Vec<_>>());
    // The same short name tells nothing.
    stamped(dir, "c/a", MOMENT, 1);
    let some = shown(dir, &["-n2", "a", "c/a"]);
    assert!(some.lines().all(|line| line.starts_with("a: ")), "{some}");
    let some = shown(dir, &["-rn90", "a", "c/a"]);
    assert!(some.lines().any(|line| line.starts_with("c/a: ")), "{some}");
    // Who names one twice gets it twice.
    let twice = shown(dir, &["--raw", "b", "b"]);
    assert_eq!(numbers(&twice), (0..60).map(|n| n / 2 * 2 + 1).collect::<Vec<_>>());
}

#[test]
fn a_torn_line_is_put_together_unless_a_stamp_follows() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let name = |n: i64| format!("{}.s", label(MOMENT + n));
    let stamp = label(MOMENT);
    let files = [name(1), name(2), name(3), name(4)];
    let (first, last) = (format!("{stamp} cut o"), format!("{stamp} next\nend"));
    log(
        dir,
        "log",
        &[
            (&files[0], b"one\ntw"),
            (&files[1], b"o, with a "),
            (&files[2], b""),
            (&files[3], format!("middle\n{first}").as_bytes()),
            ("current", last.as_bytes()),
        ],
    );
    let lines = ["one", "two, with a middle", &first, &format!("{stamp} next"), "end"];
    assert_eq!(shown(dir, &["--raw", "log"]), lines.join("\n"));
    assert_eq!(shown(dir, &["--raw", "-n9", "log"]), lines.join("\n"));
    let reversed: Vec<&str> = lines.into_iter().rev().collect();
    assert_eq!(shown(dir, &["--raw", "-r", "log"]), reversed.join("\n") + "\n");
}

#[test]
fn compressed_files_are_shown_as_what_they_were() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    stamped(dir, "plain", MOMENT, 1);
    let plain = shown(dir, &["plain"]);
    for tool in ["gzip", "zstd", "xz", "bzip2"] {
        stamped(dir, tool, MOMENT, 1);
        for n in [10, 20] {
            let name = format!("{}.s", label(MOMENT + n));
            let script = "\"$0\" -c <\"$1\" >new && mv new \"$1\"";
            let packed = run(Command::new("sh")
                .args(["-c", script, tool, &name])
                .current_dir(dir.join(tool)));
            assert_eq!(packed.verdict(), (Some(0), String::new()));
        }
        // Neither $PATH nor what else is in the environment matters.
        let run = |args: &[&str]| {
            let mut command = Command::new(program("svlog"));
            command.args(args).arg(tool).current_dir(dir);
            command
                .env("PATH", "/nowhere")
                .env("GZIP", "--no-such")
                .env("XZ_DEFAULTS", "--no-such");
            run(command.env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3"))
        };
        assert_eq!(run(&[]).verdict(), (Some(0), String::new()), "{tool}");
        assert_eq!(run(&[]).out(), plain, "{tool}");
        let reversed: Vec<i64> = (0..30).rev().collect();
        assert_eq!(numbers(&run(&["-r"]).out()), reversed, "{tool}");
        assert_eq!(numbers(&run(&["-n", "15"]).out()), (15..30).collect::<Vec<_>>(), "{tool}");
        let left = fs::read_dir(dir.join(tool)).unwrap().count();
        assert_eq!(left, 3, "nothing is left behind");
    }
}

#[test]
fn of_a_damaged_archive_what_can_be_had_is_shown_and_never_its_raw_bytes() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let name = format!("{}.s", label(MOMENT));
    let packed = run(Command::new("sh").args(["-c", "seq 1 100000 | gzip -c"])).stdout;
    let start = &packed[..packed.len() / 2];
    for (bytes, any) in [(&b"\x1f\x8b\x08 no gzip\n"[..], false), (start, true)] {
        log(dir, "log", &[(&name, bytes), ("current", b"\nBZh9 is a line\n")]);
        for order in [&[][..], &["-r"]] {
            let output = svlog(dir, &[order, &["log"]].concat());
            let why = "damaged or cut short";
            let said = format!("svlog: warning: unable to decompress log/{name}: {why}\n");
            assert_eq!(output.verdict(), (Some(111), said));
            let text = output.out();
            let (lines, others): (Vec<&str>, Vec<&str>) =
                text.lines().partition(|line| line.bytes().all(|byte| byte.is_ascii_digit()));
            assert_eq!(others, ["BZh9 is a line"]);
            assert_eq!(lines.contains(&"1000"), any, "{order:?}");
        }
    }
}

#[test]
fn of_a_file_that_becomes_too_large_the_beginning_is_shown_and_half_the_disk_stays_free() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let disk = Disk::mount(&scratch, "size=1m");
    let name = format!("{}.s", label(MOMENT));
    for tool in ["gzip", "zstd", "xz", "bzip2"] {
        let script = "yes 0123456789 | head -c 30000000 | \"$0\" -c";
        let packed = run(Command::new("sh").args(["-c", script, tool]));
        log(dir, tool, &[(&name, &packed.stdout), ("current", b"the rest\n")]);
        let mut command = Command::new(program("svlog"));
        command.arg(tool).current_dir(dir).env("TMPDIR", scratch.join("disk"));
        let output = run(&mut command);
        let said = format!("svlog: warning: unable to decompress {tool}/{name}: file too large\n");
        assert_eq!(output.verdict(), (Some(111), said));
        let text = output.out();
        let (lines, rest) =
            text.rsplit_once('\n').map_or(("", ""), |(all, _)| all.rsplit_once('\n').unwrap());
        assert!(rest.ends_with("the rest"), "{tool}: {rest}");
        assert!((300_000..=512 << 10).contains(&lines.len()), "{tool}: {}", lines.len());
        assert!(lines.lines().all(|line| line == "0123456789"));
    }
    drop(disk);
}

#[test]
fn a_terminal_gets_no_control_byte_of_a_log_and_a_pipe_gets_them_all() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let hostile = b"a\x1b[2J\x9b\0\tb \xc3\xbc \xc2\x9b\r\n";
    log(dir, "web", &[("current", hostile)]);
    log(dir, "\u{1b}c", &[("current", b"x\n")]);
    assert_eq!(svlog(dir, &["web"]).stdout, hostile);
    // script(1) gives the program a terminal, which turns a newline into two bytes.
    let typed = |args: &str| {
        let line = format!("{} {args}", program("svlog").display());
        run(Command::new("script").args(["-qec", &line, "/dev/null"]).current_dir(dir)).out()
    };
    let clean = "a\\x1b[2J\\x9b\\x00\tb ü \\xc2\\x9b\\x0d\r\n";
    assert_eq!(typed("web"), clean);
    assert_eq!(typed("web '\u{1b}c'"), format!("web: {clean}\\x1bc: x\r\n"));
    // A person who says nothing sees the last ten lines.
    stamped(dir, "many", MOMENT, 1);
    assert_eq!(numbers(&typed("many").replace('\r', "")), (20..30).collect::<Vec<_>>());
    assert_eq!(typed("-n all many").lines().count(), 30);
    assert_eq!(typed("--since @400000000000000a00000000 many").lines().count(), 30);
}

#[test]
fn a_line_of_ten_mebibytes_takes_little_memory_and_stays_whole() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let long = [&b"first\n"[..], &vec![b'x'; 10 << 20], b"\nlast\n"].concat();
    let (half, rest) = long.split_at(5 << 20);
    let name = format!("{}.s", label(MOMENT));
    log(dir, "log", &[(&name, half), ("current", rest)]);
    for (args, wanted) in [
        ("log", long.clone()),
        ("-n 2 log", long[6..].to_vec()),
        ("-r log", [b"last\n", &long[6..7 + (10 << 20)], b"first\n"].concat()),
    ] {
        // In KiB; the shell has its own.
        let script = format!("ulimit -v 12288; exec \"$0\" {args}");
        let done =
            run(Command::new("sh").args(["-c", &script]).arg(program("svlog")).current_dir(dir));
        assert_eq!(done.verdict(), (Some(0), String::new()), "{args}");
        assert!(done.stdout == wanted, "{args}: {} bytes", done.stdout.len());
    }
}

#[test]
fn a_service_directory_stands_for_its_log() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    log(dir, "web/log/main", &[("current", b"line\n")]);
    fs::write(dir.join("web/run"), "").unwrap();
    fs::write(dir.join("web/log/run"), "").unwrap();
    for name in ["web", "web/", "web/log", "web/log/main", "./web/."] {
        assert_eq!(shown(dir, &[name]), "line\n", "{name}");
    }
    fs::create_dir_all(dir.join("db/log")).unwrap();
    fs::write(dir.join("db/run"), "").unwrap();
    let output = svlog(dir, &["db", "web"]);
    let said = "svlog: warning: unable to find the log of db: it is not in log/main; \
                name the directory its logger writes to\n";
    assert_eq!(output.verdict(), (Some(111), said.into()));
    assert_eq!(output.out(), "line\n");
}

#[test]
fn a_log_without_lines_is_no_trouble_and_one_that_is_missing_is() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    log(dir, "empty", &[]);
    log(dir, "fresh", &[("current", b""), ("lock", b""), ("state", b"x\n")]);
    fs::write(dir.join("file"), "x\n").unwrap();
    for args in [&["empty"][..], &["fresh"], &["-r", "empty", "fresh"], &["-n5", "fresh"]] {
        assert_eq!(shown(dir, args), "");
    }
    for (name, why) in [("missing", "file does not exist"), ("file", "not a directory")] {
        let output = svlog(dir, &[name]);
        let said = format!("svlog: warning: unable to open directory {name}: {why}\n");
        assert_eq!((output.verdict(), output.out()), ((Some(111), said), String::new()));
    }
}

#[test]
fn no_link_in_a_log_directory_is_followed() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    fs::write(dir.join("secret"), "secret\n").unwrap();
    let name = format!("{}.s", label(MOMENT));
    log(dir, "log", &[("previous", b"line\n")]);
    for link in ["current", &name] {
        std::os::unix::fs::symlink("../secret", dir.join("log").join(link)).unwrap();
    }
    let output = svlog(dir, &["log"]);
    let why =
        |file: &str| format!("svlog: warning: unable to open log/{file}: symbolic link loop\n");
    assert_eq!(output.verdict(), (Some(111), why("current") + &why(&name)));
    assert_eq!(output.out(), "line\n");
}

#[test]
fn wrong_arguments_are_said() {
    let scratch = Scratch::new();
    let usage = "svlog: usage: svlog [-fhr] [-n LINES] [--since TIME] [--until TIME] \
                 [--raw|--utc|--local] dir ...\n";
    let illegal = format!("svlog: illegal option -- z\n{usage}");
    for (args, said) in [
        (&[][..], usage),
        (&["-f"], usage),
        (&["-z", "x"], &illegal),
        (&["x", "-n"], "svlog: fatal: -n needs a value\n"),
        (&["-n", "x", "x"], "svlog: fatal: unable to show lines x: neither a number nor all\n"),
        (&["-n", "-1", "x"], "svlog: fatal: unable to show lines -1: neither a number nor all\n"),
        (&["--since"], "svlog: fatal: --since needs a value\n"),
        (&["--until=x", "x"], "svlog: fatal: unable to understand the time x\n"),
        (&["--raw=x", "x"], "svlog: fatal: unknown option --raw=x\n"),
        (&["--colour", "x"], "svlog: fatal: unknown option --colour\n"),
        (&["-fr", "x"], "svlog: fatal: -f goes with neither -r nor --until\n"),
        (&["-f", "--until", "now", "x"], "svlog: fatal: -f goes with neither -r nor --until\n"),
    ] {
        let output = call(scratch.path(), "svlog", args);
        assert_eq!(output.verdict(), (Some(100), said.to_owned()), "{args:?}");
    }
    fs::create_dir(scratch.join("-f")).unwrap();
    fs::write(scratch.join("-f/current"), "line\n").unwrap();
    assert_eq!(call(scratch.path(), "svlog", &["--", "-f"]).out(), "line\n");
    assert_eq!(call(scratch.path(), "svlog", &["./-f", "-n", "1"]).out(), "line\n");
}

#[test]
fn output_that_cannot_be_written_is_told_unless_its_reader_is_gone() {
    let scratch = Scratch::new();
    stamped(scratch.path(), "log", MOMENT, 1);
    let script = |text: &str| {
        let mut sh = Command::new("sh");
        run(sh.args(["-c", text]).arg(program("svlog")).current_dir(scratch.path()))
    };
    let full = "svlog: fatal: unable to write output: out of disk space\n";
    assert_eq!(script("\"$0\" log >/dev/full").verdict(), (Some(111), full.into()));
    let closed = script("\"$0\" log >&-");
    assert_eq!((closed.code, closed.err()), (Some(0), String::new()));
    // With SIGPIPE ignored svlog is told of the reader's end.
    let gone = script("trap '' PIPE; (sleep 0; \"$0\" log; echo $? >&2) | true");
    assert_eq!(gone.err(), "0\n");
}
