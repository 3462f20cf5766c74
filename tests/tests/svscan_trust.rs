//! Whose programs svscan runs, and what it prints of their names.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::scratch::script;
use testkit::svscan::{COUNTED, Svscan, add_logger, starts, svscan};
use testkit::{Scratch, program, run, skipped_without_root};

/// What is wrong with a service directory: this file of it has this mode.
const FLAWS: [(&str, &str, u32); 8] = [
    ("dir-group", "", 0o775),
    ("dir-other", "", 0o757),
    ("dir-all", "", 0o777),
    ("dir-sticky", "", 0o1777),
    ("run-group", "run", 0o775),
    ("run-other", "run", 0o757),
    ("log-other", "log", 0o777),
    ("log-run-other", "log/run", 0o777),
];

/// Modes that are fine, however odd.
const FINE: [(&str, &str, u32); 4] = [
    ("fine", "", 0o755),
    ("private", "", 0o700),
    ("run-private", "run", 0o700),
    ("run-setgid-dir", "", 0o2755),
];

fn made(scratch: &Scratch, folder: &str, rows: &[(&str, &str, u32)]) -> Vec<PathBuf> {
    let make = |(name, file, mode): &(&str, &str, u32)| {
        let dir = scratch.service(&format!("{folder}/{name}"), COUNTED);
        if file.starts_with("log") {
            add_logger(&dir);
        }
        fs::set_permissions(dir.join(file), fs::Permissions::from_mode(*mode)).unwrap();
        dir
    };
    rows.iter().map(make).collect()
}

fn none_started(dirs: &[PathBuf]) {
    for dir in dirs {
        let any = starts(dir) + starts(&dir.join("log"));
        assert_eq!(any, 0, "{} was run", dir.display());
        assert!(!dir.join("supervise").exists(), "{}", dir.display());
    }
}

/// Waits until the fine ones run and each other is named in a message.
#[track_caller]
fn refused(scan: &Svscan, fine: &[PathBuf], bad: &[PathBuf]) {
    scan.until(|| fine.iter().all(|dir| starts(dir) == 1));
    for dir in bad {
        let name = dir.file_name().unwrap().to_str().unwrap();
        let wanted = format!("svscan: warning: refusing to run {name}, which others can change");
        scan.until(|| scan.messages().contains(&wanted));
    }
    none_started(bad);
}

/// P9 in a user's own folder.
#[test]
fn in_a_user_s_own_folder_nothing_is_run_that_others_can_change() {
    let scratch = Scratch::new();
    let (bad, fine) =
        (made(&scratch, "skynet/service", &FLAWS), made(&scratch, "skynet/service", &FINE));
    let mut command = svscan(&scratch, &[], &[], "skynet/service");
    command.env("XDG_STATE_HOME", scratch.path());
    let scan = Svscan::spawn(&scratch.join("skynet/service"), &mut command);
    refused(&scan, &fine, &bad);
    // Mended, it runs; nobody has to say so.
    fs::set_permissions(&bad[0], fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(bad[5].join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    scan.until(|| starts(&bad[0]) == 1 && starts(&bad[5]) == 1);
    none_started(&bad[1..5]);
    assert_eq!(scan.end().code(), Some(0));
}

/// P9 on the way: what is run belongs to us, but others can put something else in its place.
#[test]
fn in_a_user_s_own_folder_nothing_is_run_that_others_can_replace_on_the_way_to_it() {
    let scratch = Scratch::new();
    let folder = scratch.join("skynet/service");
    let sound = vec![
        scratch.service("skynet/service/plain", COUNTED),
        // As /tmp is.
        scratch.service("sticky/target", COUNTED),
        scratch.service("skynet/service/leads-to-ours", ""),
    ];
    fs::create_dir_all(scratch.join("ours")).unwrap();
    fs::create_dir_all(scratch.join("open/empty")).unwrap();
    script(&scratch.join("ours/run"), COUNTED);
    script(&scratch.join("open/run"), COUNTED);
    fs::remove_file(sound[2].join("run")).unwrap();
    symlink(scratch.join("ours/run"), sound[2].join("run")).unwrap();
    symlink("../../sticky/target", folder.join("sticky")).unwrap();
    let target = scratch.service("open/target", COUNTED);
    symlink("../../open/target", folder.join("linked")).unwrap();
    let through = ["run", "run-later", "log"].map(|name| {
        let dir = scratch.service(&format!("skynet/service/through-{name}"), COUNTED);
        let (file, to) = match name {
            "log" => ("log", "open/target"),
            "run" => ("run", "open/run"),
            _ => ("run", "sticky/not-there-yet"),
        };
        if file == "run" {
            fs::remove_file(dir.join(file)).unwrap();
        }
        symlink(scratch.join(to), dir.join(file)).unwrap();
        dir
    });
    fs::set_permissions(scratch.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(scratch.join("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
    let mut command = svscan(&scratch, &[], &[], "skynet/service");
    command.env("XDG_STATE_HOME", scratch.path());
    let scan = Svscan::spawn(&folder, &mut command);
    refused(&scan, &sound, &through);
    scan.until(|| scan.messages().contains("refusing to run linked, which others can change: "));
    none_started(&[target]);
    let open = scratch.join("open");
    let why = format!("{0} can be written by others (mode 0777): chmod go-w {0}", open.display());
    assert_eq!(scan.messages().matches(&why).count(), 3, "{}", scan.messages());
    assert_eq!(scan.end().code(), Some(0));
}

/// P9 where somebody else is the owner: needs root.
#[test]
fn in_a_user_s_own_folder_nothing_is_run_that_belongs_to_somebody_else() {
    if skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let theirs = ["dir", "run", "log"].map(|name| {
        let dir = scratch.service(&format!("skynet/service/{name}"), COUNTED);
        add_logger(&dir);
        dir
    });
    chown(&theirs[0], Some(65534), None).unwrap();
    chown(theirs[1].join("run"), Some(65534), None).unwrap();
    chown(theirs[2].join("log/run"), Some(65534), None).unwrap();
    let fine = made(&scratch, "skynet/service", &FINE);
    let mut command = svscan(&scratch, &[], &[], "skynet/service");
    command.env("XDG_STATE_HOME", scratch.path());
    let scan = Svscan::spawn(&scratch.join("skynet/service"), &mut command);
    refused(&scan, &fine, &theirs);
    assert!(scan.messages().contains("belongs to another user"));
    assert_eq!(scan.end().code(), Some(0));
}

/// P9 in the system's folder: needs root, without whom / would belong to somebody else there.
#[test]
fn in_etc_skynet_nothing_is_run_that_others_can_change() {
    if skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let (bad, fine) = (made(&scratch, "service", &FLAWS), made(&scratch, "service", &FINE));
    // What is mounted is seen by svscan alone, and gone with it.
    let script = "mount -t tmpfs none /etc && mkdir -p /etc/skynet/service && \
                  mount --bind \"$1\" /etc/skynet/service && shift && exec \"$@\"";
    let folder = scratch.join("service");
    let namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["sh", "-c", script, "sh"]).arg(&folder);
    command.arg(program("svscan").canonicalize().unwrap()).arg("/etc/skynet/service");
    let plain = svscan(&scratch, &[], &[], "service");
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap());
    }
    let said = fs::File::create(scratch.join("service.messages")).unwrap();
    command.stdin(std::process::Stdio::null()).stderr(said).current_dir(scratch.path());
    let scan = Svscan::spawn(&folder, &mut command);
    refused(&scan, &fine, &bad);
}

/// Elsewhere it is as with daemontools, and said.
#[test]
fn elsewhere_what_others_can_change_is_run_with_a_warning() {
    let scratch = Scratch::new();
    let (bad, fine) = (made(&scratch, "service", &FLAWS), made(&scratch, "service", &FINE));
    let mut command = svscan(&scratch, &[], &[], "service");
    command.env("XDG_STATE_HOME", scratch.join("other"));
    let scan = Svscan::spawn(&scratch.join("service"), &mut command);
    scan.until(|| bad.iter().chain(&fine).all(|dir| starts(dir) == 1));
    for (name, ..) in FLAWS {
        let wanted = format!("svscan: warning: running {name}, which others can change: ");
        assert_eq!(scan.messages().matches(&wanted).count(), 1, "{}", scan.messages());
    }
    for (name, ..) in FINE {
        assert!(!scan.messages().contains(&format!(" {name},")), "{}", scan.messages());
    }
    assert_eq!(scan.end().code(), Some(0));
}

/// `--allow-writable NAME` for each that may be so: run, and nothing said.
#[test]
fn a_service_that_is_allowed_to_be_writable_is_run() {
    let scratch = Scratch::new();
    let bad = made(&scratch, "skynet/service", &FLAWS);
    let options = ["--allow-writable", "dir-all", "--allow-writable=run-other"];
    let mut command = svscan(&scratch, &[], &options, "skynet/service");
    command.env("XDG_STATE_HOME", scratch.path());
    let scan = Svscan::spawn(&scratch.join("skynet/service"), &mut command);
    let (allowed, rest): (Vec<PathBuf>, Vec<PathBuf>) =
        bad.into_iter().partition(|dir| dir.ends_with("dir-all") || dir.ends_with("run-other"));
    refused(&scan, &allowed, &rest);
    assert!(!scan.messages().contains("dir-all"), "{}", scan.messages());
    assert_eq!(scan.end().code(), Some(0));
}

/// What a program prints on a terminal: `script` gives it one.
fn on_a_terminal(scratch: &Scratch, command: &str) -> Vec<u8> {
    let output = run(Command::new("script")
        .args(["-qec", command, "/dev/null"])
        .env("PATH", format!("{}:/usr/bin:/bin", bin().display()))
        .current_dir(scratch.path()));
    output.stdout
}

fn bin() -> PathBuf {
    program("svscan").parent().unwrap().canonicalize().unwrap()
}

fn raw_control(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|b| (*b < 0x20 && !b"\r\n".contains(b)) || *b == 0x7f)
}

/// P11, `svstat_terminal_escape`: names with control bytes, on a terminal and in a file.
#[test]
fn a_name_cannot_command_the_terminal() {
    let scratch = Scratch::new();
    let name = "a\u{1b}[2J\u{7}b\u{7f}\nc";
    fs::create_dir_all(scratch.join("service")).unwrap();
    symlink("nowhere", scratch.join("service").join(name)).unwrap();
    let broken = "b\u{1b}]0;x\u{7}";
    let _ = scratch.service(&format!("service/{broken}"), "#!/nonexistent/interpreter\n");
    // svscan and supervise: ended by timeout(1), TERM.
    let said = on_a_terminal(&scratch, "timeout 3 svscan service");
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains("unable to stat a"), "{text:?}");
    assert!(text.contains("unable to start b"), "{text:?}");
    assert_eq!(raw_control(&said), None, "{text:?}");
    for tool in ["svstat", "svok", "svc -u", "svup"] {
        let said = on_a_terminal(&scratch, &format!("{tool} service/*"));
        assert_eq!(raw_control(&said), None, "{tool}: {:?}", String::from_utf8_lossy(&said));
    }
    // Files stay byte for byte.
    let output = run(Command::new(program("svstat"))
        .arg(Path::new("service").join(broken))
        .current_dir(scratch.path()));
    assert!(output.out().contains(broken), "{output:?}");
}

/// P11: what a service says, by way of tai64nlocal.
#[test]
fn a_terminal_gets_no_control_byte_by_way_of_tai64nlocal_and_a_pipe_gets_them_all() {
    let scratch = Scratch::new();
    let line = b"@4000000037c219bf2ef02e94 a\tb\x1b[2J\xc3\xbc\x9b\x7f\nno stamp\x07\r\nhalf\x1b";
    fs::write(scratch.join("log"), line).unwrap();
    let command = "TZ=UTC tai64nlocal <log";
    let said = on_a_terminal(&scratch, command);
    // A terminal's newline is two bytes.
    let shown = "1999-08-24 04:04:05.787492500 a\tb\\x1b[2J\u{fc}\\x9b\\x7f\r\nno stamp\\x07\\x0d\r\nhalf\\x1b";
    assert_eq!(String::from_utf8_lossy(&said), shown);
    // A character is shown whole though 8192 bytes are read at once, and cut off at the end as bytes.
    let many = "x".repeat(8191);
    fs::write(scratch.join("long"), [many.as_bytes(), b"\xc3\xbc\xe2\x82"].concat()).unwrap();
    let said = on_a_terminal(&scratch, "tai64nlocal <long");
    assert_eq!(String::from_utf8_lossy(&said), format!("{many}\u{fc}\\xe2\\x82"));
    let _ = on_a_terminal(&scratch, &format!("{command} | cat >piped"));
    let piped = fs::read(scratch.join("piped")).unwrap();
    let behind = line.iter().position(|b| *b == b' ').unwrap();
    assert_eq!(piped, [b"1999-08-24 04:04:05.787492500", &line[behind..]].concat());
}
