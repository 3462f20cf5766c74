//! A fresh Debian to install packages into: a root folder of its own, entered by chroot, with its own
//! processes and mounts. Whatever a test does in it ends with it.

// Each file of tests uses a part of it; helpers of tests fail by panicking.
#![allow(dead_code, clippy::panic, clippy::unwrap_used)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use testkit::keeper::children;
use testkit::scratch::script;
use testkit::{Output, Scratch, program, run_within};

/// Seconds in which whatever is to happen has happened on a busy machine.
pub(crate) const SOON: u64 = 90;
/// For building packages, and for fetching a distribution.
pub(crate) const LONG: u64 = 590;
/// What is in it besides the least that Debian can be. The original daemontools are where they always
/// are, so that ours show that they fit in beside them.
const INCLUDED: &str = "--include=python3,procps,passwd,daemontools,daemontools-run";

/// Mounts what a running system has, becomes the first process of it, and reaps what is left to it.
const SURROUNDINGS: &str = r#"
set -e
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
exec chroot "$1" /bin/sh -c 'echo ready; sleep 1000000 & wait'
"#;

/// Where packages of the tree are, once they are built.
pub(crate) struct Packages {
    /// As anybody gets them.
    pub(crate) first: PathBuf,
    /// The next revision of the .debs and .rpms.
    pub(crate) second: PathBuf,
}

impl Packages {
    /// Builds them, once for a file of tests; once for all of these where `SKYNET_PACKAGES` names a
    /// folder, which was empty when nothing in the tree changed any more.
    pub(crate) fn get() -> &'static Self {
        static BUILT: OnceLock<Packages> = OnceLock::new();
        BUILT.get_or_init(|| {
            let shared = env::var_os("SKYNET_PACKAGES").map(PathBuf::from);
            let own = || Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
            let folder = shared.clone().unwrap_or_else(own);
            let made = |revision: &str| {
                let path = folder.join(revision);
                if shared.is_none() {
                    build(&path, revision);
                } else if !path.exists() {
                    // What is there is whole.
                    let new = folder.join("new");
                    build(&new, revision);
                    fs::rename(new, &path).unwrap();
                }
                path
            };
            Self { first: made("1"), second: made("2") }
        })
    }

    /// Returns the path of a package: `NAME` of one format, of one revision.
    #[track_caller]
    pub(crate) fn find(folder: &Path, name: &str, extension: &str) -> PathBuf {
        let named = |path: &PathBuf| {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let rest = file.strip_prefix(name).unwrap_or_default();
            rest.starts_with(['_', '-'])
                && rest[1..].starts_with(|c: char| c.is_ascii_digit())
                && path.extension().is_some_and(|its| its == extension)
        };
        let all: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        all.into_iter().find(named).unwrap_or_else(|| panic!("no {name} in {}", folder.display()))
    }
}

/// Builds the packages of the programs that were built already.
#[track_caller]
pub(crate) fn build(out: &Path, revision: &str) {
    let bin = program("skynet");
    let mut command = Command::new(tree().join("packaging/build"));
    command.args(["--revision", revision, "--programs"]).arg(bin.parent().unwrap());
    command.arg("--out").arg(out).env_remove("DEBEMAIL").env_remove("DEBFULLNAME");
    let output = run_within(LONG, &mut command);
    assert_eq!(output.code, Some(0), "{output:?}");
}

/// Returns the tree's folder.
pub(crate) fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A root folder and what runs in it.
pub(crate) struct Root {
    scratch: Scratch,
    holder: Child,
    /// Its first process.
    init: i32,
}

impl Root {
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self::having("")
    }

    /// One that has a further package of Debian's.
    #[track_caller]
    pub(crate) fn having(package: &str) -> Self {
        let scratch = Scratch::new();
        let root = scratch.join("root");
        fs::create_dir(&root).unwrap();
        let output = run_within(
            LONG,
            Command::new("tar").arg("-xf").arg(distribution(package)).arg("-C").arg(&root),
        );
        assert_eq!(output.code, Some(0), "{output:?}");
        // Who has no init system has to say that services may be started.
        script(&root.join("usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 0\n");
        let mut holder = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", SURROUNDINGS, "sh"])
            .arg(&root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let init = children(holder.id().cast_signed())[0];
        Self { scratch, holder, init }
    }

    /// Returns a path of it as the test reaches it.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.scratch.join("root").join(inside.trim_start_matches('/'))
    }

    fn enter(&self, options: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "--mount", "--pid"]).args(options);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null());
        command
    }

    /// Runs a script in it.
    #[track_caller]
    pub(crate) fn sh(&self, text: &str) -> Output {
        let mut command = self.enter(&["--root", "--wdns=/", "--", "sh", "-c"]);
        run_within(SOON, command.arg(text))
    }

    /// Runs a script in it, which must end with 0; returns what it says.
    #[track_caller]
    pub(crate) fn well(&self, text: &str) -> String {
        let output = self.sh(text);
        assert_eq!(output.code, Some(0), "{text}: {output:?}");
        output.out()
    }

    /// Runs this machine's rpm on it, which must end with 0; returns what it says.
    #[track_caller]
    pub(crate) fn rpm(&self, args: &[&str], packages: &[PathBuf]) -> String {
        let mut command = self.enter(&["--", "rpm", "--root"]);
        command.arg(self.path("/")).args(args).args(packages);
        let output = run_within(SOON, &mut command);
        assert_eq!(output.code, Some(0), "rpm {args:?}: {output:?}");
        output.out()
    }

    /// Installs or upgrades .debs.
    #[track_caller]
    pub(crate) fn install(&self, folder: &Path, names: &[&str]) -> String {
        let mut files = Vec::new();
        for name in names {
            let deb = Packages::find(folder, name, "deb");
            let file = format!("/tmp/{}", deb.file_name().unwrap().to_string_lossy());
            fs::copy(&deb, self.path(&file)).unwrap();
            files.push(file);
        }
        let files = files.join(" ");
        self.well(&format!("apt-get install -qqy --allow-downgrades {files} 2>&1 && rm {files}"))
    }

    /// Tells whether svscan and each supervise run the programs on disk.
    pub(crate) fn runs_what_is_on_disk(&self) -> bool {
        let old = "(svscan|supervise|exo|multilog) \\(deleted\\)$";
        self.sh(&format!("ls -l /proc/[0-9]*/exe 2>/dev/null | grep -qE '{old}'")).code == Some(1)
    }

    /// Lists all that is in it, but for what package managers, the tools of accounts and the kernel keep
    /// for themselves.
    pub(crate) fn contents(&self) -> Vec<String> {
        let skip = [
            "/proc",
            "/sys",
            "/dev",
            "/tmp",
            "/var/lib/dpkg",
            "/var/lib/rpm",
            "/var/lib/apt",
            "/var/cache",
        ];
        let skip: Vec<String> = skip.iter().map(|path| format!("-path {path}")).collect();
        let all = self.well(&format!(
            "find / \\( {} -o -name __pycache__ -o -path /var/log/dpkg.log -o -path /var/log/apt -o -path '/etc/*-' -o -name \
             aliasesdb-stamp \\) -prune -o -printf '%p %y %U:%G %m %l\\n' | sort",
            skip.join(" -o ")
        ));
        all.lines().map(str::to_owned).collect()
    }

    /// Installs a participant, whose program is this script, and starts it.
    #[track_caller]
    pub(crate) fn participant(&self, name: &str, work: &str) {
        let dir = self.path(&format!("/srv/{name}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("exo.yaml"), "command: ./work\n").unwrap();
        script(&dir.join("work"), work);
        self.well(&format!("skynet install /srv/{name} && skynet enable --now {name}"));
    }

    /// Puts a service directory into the instance and starts it.
    #[track_caller]
    pub(crate) fn service(&self, name: &str, run: &str) {
        let dir = self.path(&format!("/srv/{name}"));
        fs::create_dir_all(dir.join("log")).unwrap();
        script(&dir.join("run"), run);
        let log = "#!/bin/sh\nexec setuidgid skynetlog multilog t ./main\n";
        script(&dir.join("log/run"), log);
        self.well(&format!("skynet install /srv/{name} && skynet enable --now {name}"));
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Returns an archive with a fresh distribution, which has this package, too, unless it is empty; fetched
/// once for a target folder.
fn distribution(package: &str) -> PathBuf {
    // Two tests of one file do not fetch it twice.
    static FETCHING: Mutex<()> = Mutex::new(());
    let _alone = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let dash = if package.is_empty() { "" } else { "-" };
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("debian{dash}{package}.tar"));
    if !path.exists() {
        let new = path.with_extension("new.tar");
        let comma = if package.is_empty() { "" } else { "," };
        let mut command = Command::new("mmdebstrap");
        let included = format!("{INCLUDED}{comma}{package}");
        command.args(["--quiet", "--variant=minbase", &included, "bookworm"]).arg(&new);
        let output = run_within(LONG, &mut command);
        assert_eq!(output.code, Some(0), "{output:?}");
        fs::rename(new, &path).unwrap();
    }
    path
}
