//! Accounts, folders and the control socket.

use crate::exo::{PARTICIPANT, Plan, WORKER};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

const SLEEPER: &[&str] = &["sleep", "1000000"];

fn owner_and_mode(path: &Path) -> (u32, u32) {
    let there = fs::symlink_metadata(path).unwrap();
    (there.uid(), there.mode() & 0o7777)
}

#[test]
fn folders_and_socket_are_made_for_the_worker_and_the_socket_goes_at_the_end() {
    let exo = Plan::new().start(SLEEPER);
    let base = exo.base.path().to_owned();
    assert_eq!(owner_and_mode(&base.join("store")), (1, 0o750));
    assert_eq!(owner_and_mode(&base.join("spool")), (1, 0o755));
    assert_eq!(owner_and_mode(&base.join("run")), (0, 0o755));
    let socket = base.join("run/echo.sock");
    assert_eq!(owner_and_mode(&socket), (1, 0o660));
    UnixStream::connect(&socket).unwrap();
    assert_eq!(owner_and_mode(&base.join("run/echo.lock")), (0, 0o600));
    let names = fs::read_dir(base.join("run")).unwrap().count();
    assert_eq!(names, 2);
    assert_eq!(exo.said(), "");
    exo.end_and(|| assert_eq!(fs::read_dir(base.join("run")).unwrap().count(), 0));
}

#[test]
fn a_socket_that_was_left_is_replaced_and_nothing_else_is() {
    let plan = Plan::new();
    let run = plan.base.join("run");
    fs::create_dir(&run).unwrap();
    drop(UnixListener::bind(run.join("echo.sock")).unwrap());
    assert!(UnixStream::connect(run.join("echo.sock")).is_err());
    let exo = plan.start(SLEEPER);
    UnixStream::connect(run.join("echo.sock")).unwrap();
    assert_eq!(exo.fds.len(), 2);
    exo.end();

    for link in [false, true] {
        let plan = Plan::new();
        let run = plan.base.join("run");
        fs::create_dir(&run).unwrap();
        let target = plan.base.join("precious");
        fs::write(&target, "precious").unwrap();
        if link {
            symlink(&target, run.join("echo.sock")).unwrap();
            symlink(&target, run.join(".echo.sock")).unwrap();
        } else {
            fs::write(run.join("echo.sock"), "precious").unwrap();
        }
        let exo = plan.start(SLEEPER);
        assert_eq!(exo.fds.len(), 1, "no control socket");
        assert_eq!(fs::read_to_string(run.join("echo.sock")).unwrap(), "precious");
        assert!(!fs::symlink_metadata(run.join("echo.sock")).unwrap().file_type().is_socket());
        assert!(exo.said().starts_with("exo: warning: unable to make control socket "));
        exo.end();
    }
}

#[test]
fn a_folder_of_sockets_that_others_can_write_to_is_not_used() {
    let plan = Plan::new();
    let run = plan.base.join("run");
    fs::create_dir(&run).unwrap();
    chown(&run, Some(65534), None).unwrap();
    let exo = plan.start(SLEEPER);
    assert_eq!(exo.fds.len(), 1, "no control socket");
    assert_eq!(fs::read_dir(&run).unwrap().count(), 0);
    exo.end();
}

#[test]
fn no_symlink_of_somebody_else_is_followed_on_the_way_to_a_folder() {
    for mine in [true, false] {
        let plan = Plan::new();
        let elsewhere = plan.base.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let link = plan.base.join("link");
        symlink(&elsewhere, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(if mine { 0 } else { 65534 }), None).unwrap();
        let mut exo = plan.with(&format!("base={}", link.display())).start_only(SLEEPER);
        if mine {
            assert!(exo.line().starts_with("worker "));
            exo.tell("exit 9");
            assert_eq!(exo.code(), Some(9));
            assert_eq!(owner_and_mode(&elsewhere.join("store")), (1, 0o750));
        } else {
            assert_eq!(exo.code(), Some(111));
            let wanted =
                format!("exo: fatal: unable to make {}/store: permission denied\n", link.display());
            assert_eq!(exo.said(), wanted);
            assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        }
    }
}

#[test]
fn accounts_that_are_not_there_or_root_by_another_name_stop_exo_before_anything_is_made() {
    for (setting, reason) in [
        ("user=no-such-account", "unable to find account no-such-account: there is none"),
        ("worker=no-such-account", "unable to find account no-such-account: there is none"),
        ("user=0", "unable to find account 0: there is none"),
        ("ready=999", "unable to use descriptor 999 for readiness: file descriptor not open"),
        ("ready=1", "unable to use descriptor 1 for readiness: file descriptor not open"),
        ("SKYNET_WFID=x", "unable to set \"SKYNET_WFID\" in the participant's environment"),
    ] {
        let mut exo = Plan::new().with(setting).start_only(SLEEPER);
        assert_eq!(exo.code(), Some(111), "{setting}");
        assert_eq!(exo.said(), format!("exo: fatal: {reason}\n"));
    }
}

#[test]
fn a_participant_with_a_right_to_the_store_that_its_name_does_not_show_is_refused() {
    for (account, reason) in [
        ("frozen:x:1:61235", "it is daemon, the worker's, by another name"),
        ("frozen:x:61235:1", "it is in group 1, which may read the store"),
        ("frozen:x:0:0", ""),
    ] {
        let plan = Plan::new().with_account(account);
        let base = plan.base.path().to_owned();
        let mut exo = plan.start_only(SLEEPER);
        assert_eq!(exo.code(), Some(111));
        let wanted = if reason.is_empty() {
            "exo: fatal: unable to use account frozen: it is root by another name\n".to_owned()
        } else {
            format!("exo: fatal: unable to use account frozen for the participant: {reason}\n")
        };
        assert_eq!(exo.said(), wanted);
        assert!(!base.join("store").exists());
    }
}

#[test]
fn without_root_no_other_account_can_be_had() {
    use std::os::unix::process::CommandExt;
    let mut plan = Plan::new();
    plan.command.uid(1).gid(1);
    let mut exo = plan.start_only(SLEEPER);
    assert_eq!(exo.code(), Some(111));
    let wanted = format!("exo: fatal: unable to become {PARTICIPANT}, not started by root: ");
    assert!(exo.said().starts_with(&wanted), "{} {WORKER}", exo.said());
}

#[test]
fn root_is_said_to_be_kept_from_nothing() {
    let mut exo = Plan::new().with("user=root").start(SLEEPER);
    let pid = exo.start(0, 1);
    assert_eq!(crate::exo::status(pid)["NoNewPrivs"], "1");
    let said = exo.said();
    assert_eq!(
        said,
        "exo: warning: the participant runs as root: nothing keeps it from anything\n"
    );
    exo.end();
}
