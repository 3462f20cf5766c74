//! A Debian with the package that boots as machines do: systemd is its first process, in a container
//! of systemd-nspawn, or on a processor that qemu emulates.

// Each file of tests uses a part of it; helpers of tests fail by panicking.
#![allow(dead_code, clippy::panic, clippy::unwrap_used)]

pub(crate) mod container;
pub(crate) mod emulated;
pub(crate) mod load;
mod volatile;

use crate::rootfs::Packages;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;
use testkit::scratch::script;
use testkit::wait::holds_within;
use testkit::{Output, run_within};

/// Seconds in which whatever is to happen has happened on a busy machine.
pub(crate) const SOON: u64 = 120;
/// For fetching a distribution.
const LONG: u64 = 590;
/// What is in every one besides the least that Debian can be.
const INCLUDED: &str = "systemd,systemd-sysv,dbus,procps,passwd,python3";
/// What one that boots by itself has, too.
const KERNEL: &str = "linux-image-cloud-amd64,initramfs-tools,udev";
/// Where the packages are in it.
pub(crate) const PACKAGES: &str = "/srv/packages";

/// Two machines at once would be slower than one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// Waits for the turn of a test; one that failed has had its own.
pub(crate) fn turn() -> impl Drop {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What boots.
pub(crate) trait Machine {
    /// Runs a script of one line in it.
    fn sh(&mut self, text: &str) -> Output;

    /// Returns what it has said while it booted and ended.
    fn console(&self) -> String;

    /// Runs a script, which must end with 0; returns what it says.
    #[track_caller]
    fn well(&mut self, text: &str) -> String {
        let output = self.sh(text);
        assert_eq!(output.code, Some(0), "{text}: {output:?}");
        output.out()
    }

    /// Waits until a script ends with 0.
    #[track_caller]
    fn until(&mut self, text: &str) {
        let mut last = None;
        let holds = holds_within(Duration::from_secs(SOON), || {
            let output = self.sh(text);
            let holds = output.code == Some(0);
            last = Some(output);
            holds
        });
        assert!(holds, "{text}: {last:?}; the console:\n{}", self.console());
    }

    /// Waits until all that is started at boot has been.
    #[track_caller]
    fn until_up(&mut self) {
        self.until("systemctl is-system-running | grep -E 'running|degraded'");
    }
}

/// Lays out a root folder in which the first packages are installed; and the second ones lie ready.
/// With a kernel where it is to boot by itself.
#[track_caller]
pub(crate) fn make_root(root: &Path, kernel: bool) {
    unpack(root, kernel);
    for (folder, number) in [(&Packages::get().first, 1), (&Packages::get().second, 2)] {
        let to = root.join(PACKAGES.trim_start_matches('/')).join(number.to_string());
        fs::create_dir_all(&to).unwrap();
        let deb = Packages::find(folder, "skynet", "deb");
        fs::copy(deb, to.join("skynet.deb")).unwrap();
    }
    // Whoever makes an image starts nothing.
    let policy = root.join("usr/sbin/policy-rc.d");
    script(&policy, "#!/bin/sh\nexit 101\n");
    let install = format!("mount -t proc proc /proc && dpkg -i {PACKAGES}/1/skynet.deb");
    well(
        Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "chroot"])
            .arg(root)
            .args(["sh", "-c", &install])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    );
    fs::remove_file(policy).unwrap();
    load::put(root);
}

/// Lays out a root folder that has never seen the packages; those of a first way lie in its /srv.
#[track_caller]
pub(crate) fn make_bare_root(root: &Path) {
    unpack(root, false);
    for name in ["skynet", "python3-skynet"] {
        let deb = Packages::find(&Packages::get().first, name, "deb");
        fs::copy(&deb, root.join("srv").join(deb.file_name().unwrap())).unwrap();
    }
}

#[track_caller]
fn unpack(root: &Path, kernel: bool) {
    fs::create_dir(root).unwrap();
    let archive = distribution(kernel);
    well(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(root));
}

#[track_caller]
pub(crate) fn well(command: &mut Command) -> String {
    let output = run_within(LONG, command);
    assert_eq!(output.code, Some(0), "{command:?}: {output:?}");
    output.out()
}

/// Returns an archive with a fresh distribution; fetched once for a target folder.
#[track_caller]
fn distribution(kernel: bool) -> PathBuf {
    let (name, more) =
        if kernel { ("debian-kernel.tar", KERNEL) } else { ("debian-systemd.tar", "") };
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !path.exists() {
        let new = path.with_extension("new.tar");
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=minbase"]).arg(format!("--include={INCLUDED},{more}"));
        well(command.arg("bookworm").arg(&new));
        fs::rename(new, &path).unwrap();
    }
    path
}
