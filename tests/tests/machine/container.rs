//! A machine in a container of systemd-nspawn.

use super::{Machine, SOON, make_bare_root, make_root};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testkit::keeper::children;
use testkit::wait::holds_within;
use testkit::{Output, Scratch, run_within, until};

/// Runs a container in namespaces and a cgroup of its own, whatever this machine has there, and tidies
/// up behind it. Without a terminal it would say nothing.
const SURROUNDINGS: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
group=/sys/fs/cgroup/skynet.boot.$$
mkdir -p $group/x
echo $$ >$group/x/cgroup.procs
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
boot() {
    script -qeafc "systemd-nspawn -q -D '$1' --machine=skynet$$ --hostname=machine --register=no \
        --keep-unit --resolv-conf=off --timezone=off -b --console=interactive" "$2"
}
# It says so when the container is to boot again.
code=133
while [ $code = 133 ]; do
    code=0
    boot "$@" || code=$?
done
echo $$ >/sys/fs/cgroup/cgroup.procs
find $group -depth -type d -exec rmdir {} +
"#;

/// A container that runs, or did.
pub(crate) struct Container {
    scratch: Scratch,
    holder: Child,
    /// Its first process, as this machine knows it.
    init: i32,
}

impl Container {
    /// Makes one and boots it.
    #[track_caller]
    pub(crate) fn boot() -> Self {
        Self::boot_of(|root| make_root(root, false))
    }

    /// One that has never seen the packages.
    #[track_caller]
    pub(crate) fn boot_bare() -> Self {
        Self::boot_of(make_bare_root)
    }

    #[track_caller]
    fn boot_of(lay_out: impl FnOnce(&Path)) -> Self {
        let scratch = Scratch::new();
        let root = scratch.join("root");
        lay_out(&root);
        let holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", SURROUNDINGS, "sh"])
            .arg(&root)
            .arg(scratch.join("console"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(scratch.join("holder")).unwrap())
            .spawn()
            .unwrap();
        let mut made = Self { scratch, holder, init: 0 };
        made.find_init();
        made.until_up();
        made
    }

    /// Waits for its first process: another one than before.
    #[track_caller]
    fn find_init(&mut self) {
        let (before, holder) = (self.init, self.holder.id().cast_signed());
        let found = holds_within(Duration::from_secs(SOON), || {
            let init = first_process(holder).filter(|init| *init != before);
            self.init = init.unwrap_or(before);
            init.is_some()
        });
        let said = fs::read_to_string(self.scratch.join("holder")).unwrap_or_default();
        assert!(
            found,
            "systemd-nspawn runs nothing here; it needs root with all capabilities, a kernel with \
             namespaces and cgroup v2, and the right to mount: {said}{}",
            self.console()
        );
    }

    /// Returns a path of it as the test reaches it.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.scratch.join("root").join(inside.trim_start_matches('/'))
    }

    /// Has it boot again, in order.
    #[track_caller]
    pub(crate) fn reboot(&mut self) {
        self.well("systemctl --no-block reboot");
        self.find_init();
        self.until_up();
    }

    /// Ends it in order.
    #[track_caller]
    pub(crate) fn power_off(&mut self) {
        self.well("systemctl --no-block poweroff");
        until(SOON, || self.holder.try_wait().unwrap().is_some());
    }
}

impl Machine for Container {
    #[track_caller]
    fn sh(&mut self, text: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-m", "-p", "-u", "-i", "-C"]);
        command.args(["--root", "--wdns=/", "--", "sh", "-c", text]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        run_within(SOON, command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()))
    }

    fn console(&self) -> String {
        let bytes = fs::read(self.scratch.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let holder = self.holder.id().cast_signed();
        // All of it ends with the first process, and then who holds it, who tidies up.
        let ended = holds_within(Duration::from_secs(SOON), || {
            if let Some(init) = first_process(holder) {
                let _ = linux::signal::kill(init, 9);
            }
            self.holder.try_wait().is_ok_and(|ended| ended.is_some())
        });
        if !ended {
            let _ = self.holder.kill();
            let _ = self.holder.wait();
        }
    }
}

/// Returns the descendant that is the first process of a namespace.
fn first_process(pid: i32) -> Option<i32> {
    let is_first = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
        line.split_whitespace().count() > 2 && line.ends_with("\t1")
    };
    let all = children(pid);
    let deeper = || all.iter().find_map(|child| first_process(*child));
    all.iter().copied().find(is_first).or_else(deeper)
}
