//! Without the name of the boot no store is opened.

use std::process::Command;

#[test]
fn a_boot_that_cannot_be_told_from_others_opens_no_store() {
    for (mount, reason) in [
        ("mount --bind /dev/null /proc/sys/kernel/random/boot_id", "it is empty"),
        ("mount -t tmpfs none /proc", "file does not exist"),
    ] {
        let script = format!("{mount} && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_exo")]);
        let out = command.args(["local", "-i", "{\"fields\":{}}", "cat"]).output().unwrap();
        assert_eq!(out.status.code(), Some(111), "{reason}");
        let said = String::from_utf8(out.stderr).unwrap();
        let wanted = "exo: fatal: unable to open the store: unable to read \
                      /proc/sys/kernel/random/boot_id: ";
        assert_eq!(said, format!("{wanted}{reason}\n"));
    }
}
