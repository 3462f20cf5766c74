//! A machine with a kernel of its own, whose processor qemu emulates, and whose disk loses what was
//! not flushed when the power goes.

use super::volatile::keep;
use super::{Machine, SOON, make_root, well};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::wait::holds_within;
use testkit::{Output, Scratch, until};

/// Seconds in which an emulated machine has booted, or done what it was told.
const LATER: u64 = 2 * SOON;

/// A shell on the second serial line, for the test.
const SHELL: &str = "\
[Unit]
Description=shell of the test
[Service]
ExecStart=/bin/sh -c 'stty -F /dev/ttyS1 raw -echo; exec sh </dev/ttyS1 >/dev/ttyS1 2>&1'
Restart=always
RestartSec=1
KillSignal=SIGHUP
[Install]
WantedBy=multi-user.target
";

/// On the other lines anybody in it tells the test something that a power cut does not take back.
const LINES: &str = "KERNEL==\"ttyS[23]\", MODE=\"0666\"\n";

/// What it boots from, and what it has said.
pub(crate) struct Disk {
    scratch: Scratch,
}

impl Disk {
    /// Makes the disk of a machine with the packages, and these further links: path and target.
    #[track_caller]
    pub(crate) fn new(links: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new();
        let root = scratch.join("root");
        make_root(&root, true);
        let units = root.join("etc/systemd/system");
        fs::create_dir_all(units.join("multi-user.target.wants")).unwrap();
        fs::write(units.join("shell.service"), SHELL).unwrap();
        symlink("../shell.service", units.join("multi-user.target.wants/shell.service")).unwrap();
        fs::write(root.join("etc/udev/rules.d/99-lines.rules"), LINES).unwrap();
        for (path, target) in links {
            symlink(target, root.join(path.trim_start_matches('/'))).unwrap();
        }
        let made = Self { scratch };
        for (part, name) in [("vmlinuz-", "kernel"), ("initrd.img-", "initrd")] {
            let mut all = fs::read_dir(root.join("boot")).unwrap().map(|entry| entry.unwrap());
            let its = |e: &fs::DirEntry| e.file_name().to_string_lossy().starts_with(part);
            let file = all.find(its).unwrap_or_else(|| panic!("no {part} in /boot"));
            fs::copy(file.path(), made.path(name)).unwrap();
        }
        let mut command = Command::new("mke2fs");
        // All of it at once: nothing is left to be written when it is used.
        command.args(["-q", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d"]);
        well(command.arg(&root).arg(made.path("disk")).arg("2G"));
        fs::remove_dir_all(&root).unwrap();
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Returns what was said on a line: the third, 2, or the fourth, 3.
    pub(crate) fn said(&self, line: u8) -> Vec<String> {
        let bytes = fs::read(self.path(&format!("line{line}"))).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // The last one may not be whole.
        let whole = text.rsplit_once('\n').unwrap_or_default().0;
        whole.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Boots from it.
    #[track_caller]
    pub(crate) fn boot(&self) -> Emulated<'_> {
        let path = |name: &str| self.path(name).display().to_string();
        let _ = fs::remove_file(self.path("shell"));
        // What runs has a copy: the disk gets what it was sure to keep when the power has gone.
        well(Command::new("cp").args(["--sparse=always", &path("disk"), &path("live")]));
        fs::write(self.path("log"), []).unwrap();
        let line = |number: u8| {
            format!("file,id=line{number},path={},append=on", path(&format!("line{number}")))
        };
        let disk = format!(
            "driver=blklogwrites,node-name=disk,log-super-update-interval={},\
             file.driver=file,file.filename={},log.driver=file,log.filename={}",
            1_u64 << 40,
            path("live"),
            path("log"),
        );
        let qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-m", "768", "-nodefaults", "-no-user-config"])
            .args(["-display", "none", "-kernel", &path("kernel"), "-initrd", &path("initrd")])
            .args(["-append", "root=/dev/vda rw console=ttyS0 quiet"])
            // The guest's own memory goes with qemu; its disk has a cache that goes, too, so that
            // only what was flushed counts: an fsync is worth what it is on hardware.
            .args(["-blockdev", &disk])
            .args([
                "-device",
                "virtio-blk-pci,drive=disk,write-cache=on,discard=off,write-zeroes=off",
            ])
            .args(["-chardev", &line(0), "-serial", "chardev:line0"])
            .args(["-serial", &format!("unix:{},server=on,wait=off", path("shell"))])
            .args(["-chardev", &line(2), "-serial", "chardev:line2"])
            .args(["-chardev", &line(3), "-serial", "chardev:line3"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut shell = None;
        until(SOON, || {
            shell = UnixStream::connect(self.path("shell")).ok();
            shell.is_some()
        });
        let mut made = Emulated { disk: self, qemu, shell: shell.unwrap(), words: 0 };
        made.until_shell();
        made.until_up();
        made
    }
}

/// One that runs.
pub(crate) struct Emulated<'a> {
    disk: &'a Disk,
    qemu: Child,
    shell: UnixStream,
    /// Scripts that were run.
    words: u32,
}

impl Emulated<'_> {
    /// Waits until the shell answers.
    #[track_caller]
    fn until_shell(&mut self) {
        let answers = holds_within(Duration::from_secs(LATER), || {
            self.run(":", Duration::from_secs(2)).is_some()
        });
        assert!(answers, "no shell; the console:\n{}", self.console());
    }

    /// Runs a script; `None` where there is no answer in time.
    fn run(&mut self, text: &str, time: Duration) -> Option<Output> {
        assert!(!text.contains('\n') && text.len() < 3000, "{text}");
        self.words += 1;
        let quoted = text.replace('\'', r"'\''");
        let word = self.words;
        let line = format!(
            "printf '\\n[%s[\\n' {word}; sh -c '{quoted}' </dev/null; \
             printf '\\n]%s:%s]\\n' {word} $?\n"
        );
        self.shell.write_all(line.as_bytes()).ok()?;
        let (mut said, mut room) = (Vec::new(), [0; 4096]);
        let (first, last) = (format!("\n[{word}[\n"), format!("\n]{word}:"));
        let end = Instant::now() + time;
        self.shell.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
        while Instant::now() < end {
            match self.shell.read(&mut room) {
                Ok(0) => return None,
                Ok(n) => said.extend_from_slice(&room[..n]),
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return None,
            }
            let text = String::from_utf8_lossy(&said);
            if let Some((_, text)) = text.split_once(&first)
                && let Some((out, rest)) = text.split_once(&last)
                && let Some((code, _)) = rest.split_once("]\n")
            {
                let stdout = out.as_bytes().to_vec();
                let code = code.parse().ok();
                return Some(Output { code, signal: None, stdout, stderr: Vec::new() });
            }
        }
        None
    }

    /// The power goes. Returns how many requests the disk kept in this life, and how many it lost.
    pub(crate) fn cut(mut self) -> (u64, u64) {
        self.qemu.kill().unwrap();
        self.qemu.wait().unwrap();
        keep(&self.disk.path("log"), &self.disk.path("disk"))
    }

    /// Ends it in order.
    #[track_caller]
    pub(crate) fn power_off(mut self) {
        self.well("systemctl --no-block poweroff");
        until(LATER, || self.qemu.try_wait().unwrap().is_some());
    }
}

impl Machine for Emulated<'_> {
    #[track_caller]
    fn sh(&mut self, text: &str) -> Output {
        let output = self.run(text, Duration::from_secs(LATER));
        output.unwrap_or_else(|| panic!("{text}: no answer; the console:\n{}", self.console()))
    }

    fn console(&self) -> String {
        let bytes = fs::read(self.disk.path("line0")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Emulated<'_> {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
