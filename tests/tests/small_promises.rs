//! What the small programs promise beyond the original: ids that are really gone, names that are
//! never guessed, signals and descriptors left as they were; and daemontools-encore's additions.
//!
//! Needs root and strace.

// A helper of a test may fail as the test itself may.
#![allow(clippy::unwrap_used)]

mod script;

use script::{Folder, Outcome};
use std::fmt::Write;

/// Every program that becomes another, with arguments that let it.
const LOADERS: &[(&str, &str)] = &[
    ("setuidgid", "root"),
    ("setuidgid", "-s nobody"),
    ("setuser", "root"),
    ("envuidgid", "root"),
    ("envdir", "e"),
    ("envini", "/dev/null"),
    ("softlimit", "-o 100"),
    ("setlock", "e/lock"),
    ("pgrphack", ""),
    ("fghack", ""),
];

fn run(program: &str, script: &str) -> Outcome {
    Folder::new().run(&testkit::program(program), script)
}

fn check(program: &str, script: &str, stdout: &str, stderr: &str, code: i32) {
    let expected = Outcome { stdout: stdout.to_owned(), stderr: stderr.to_owned(), code };
    assert_eq!(run(program, script), expected, "{program}: {script}");
}

/// Asks for a run as `daemon` while `strace` answers one system call in the kernel's place.
fn with_injected(program: &str, call: &str, answer: &str) -> Outcome {
    let script = format!(
        "chmod 777 .; strace -o /dev/null -e trace={call} -e inject={call}:{answer} \
         \"$0\" daemon touch \"$PWD/ran\"; echo $?; ls"
    );
    run(program, &script)
}

#[test]
fn setuidgid_failing_calls_run_nothing() {
    let texts = [
        ("setgroups", "unable to setgid: permission denied"),
        ("setresgid", "unable to setgid: permission denied"),
        ("setresuid", "unable to setuid: permission denied"),
        ("capset", "unable to drop capabilities: permission denied"),
        ("getresuid", "unable to verify ids: permission denied"),
        ("getresgid", "unable to verify ids: permission denied"),
        ("getgroups", "unable to verify ids: permission denied"),
        ("capget", "unable to verify ids: permission denied"),
    ];
    for program in ["setuidgid", "setuser"] {
        for (call, text) in texts {
            let outcome = with_injected(program, call, "error=EPERM:when=1");
            let stderr = format!("{program}: fatal: {text}\n");
            let expected = Outcome { stdout: "111\n".into(), stderr, code: 0 };
            assert_eq!(outcome, expected, "{program} {call}");
        }
    }
}

#[test]
fn setuidgid_verifies_what_the_kernel_says() {
    // Calls that claim to have done what they did not do.
    let lies = [
        ("setgroups", "retval=0:when=1", "supplementary groups differ from those set"),
        ("setresgid", "retval=0:when=1", "group ids differ from those set"),
        ("setresuid", "retval=0:when=1", "user ids differ from those set"),
        ("setresuid", "retval=0:when=2", "root's user id can be had again"),
        ("setresgid", "retval=0:when=2", "root's group id can be had again"),
        ("capget", "retval=0:when=1", "capabilities are left"),
        ("getgroups", "error=EINVAL:when=1", "supplementary groups differ from those set"),
    ];
    for program in ["setuidgid", "setuser"] {
        for (call, answer, text) in lies {
            let outcome = with_injected(program, call, answer);
            let stderr = format!("{program}: fatal: unable to drop privileges: {text}\n");
            let expected = Outcome { stdout: "111\n".into(), stderr, code: 0 };
            assert_eq!(outcome, expected, "{program} {call} {answer}");
        }
    }
}

#[test]
fn ids_are_dropped_groups_first_and_tried_for_again() {
    let script = "strace -o t -e trace=setgroups,setresgid,setresuid,capset,execve \
                  \"$0\" nobody /bin/true; cut -d'(' -f1 t | grep -v '^+' | tr '\\n' ' '";
    let calls = "execve setgroups setresgid setresuid capset setresuid setresgid execve ";
    check("setuidgid", script, calls, "", 0);
}

#[test]
fn setuidgid_ids_are_those_of_the_account_and_no_capability_is_left() {
    let show = "grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapAmb)' /proc/self/status \
                | tr -s '\\t ' ' '";
    let none = "CapInh: 0000000000000000\nCapPrm: 0000000000000000\n\
                CapEff: 0000000000000000\nCapAmb: 0000000000000000\n";
    let ids = "Uid: 65534 65534 65534 65534\nGid: 65534 65534 65534 65534\nGroups: 65534 \n";
    let expected = format!("{ids}{none}");
    check("setuidgid", &format!("\"$0\" nobody {show}"), &expected, "", 0);
    // A caller that is not root but may change ids keeps its capabilities if nobody takes them.
    let ambient = "setpriv --reuid=1 --regid=1 --clear-groups --inh-caps=+setuid,+setgid \
                   --ambient-caps=+setuid,+setgid";
    check("setuidgid", &format!("{ambient} \"$0\" nobody {show}"), &expected, "", 0);
    // Kept over the change of ids on purpose: the kernel does not empty them then.
    let kept = "setpriv --securebits=+no_setuid_fixup";
    check("setuidgid", &format!("{kept} \"$0\" nobody {show}"), &expected, "", 0);
}

#[test]
fn setuidgid_odd_names_are_nobodys() {
    let names = [
        "",
        "0",
        "00",
        "+0",
        "-0",
        "-1",
        "65534",
        "4294967295",
        "4294967296",
        "0x0",
        "root:",
        ":root",
        "root:x",
        "root:x:0:0",
        "root ",
        " root",
        "root\n",
        "x\nroot",
        "ROOT",
        "roo",
        "rootx",
        "*",
        "root,nobody",
        "../root",
        "#",
        "+",
        "-",
        "--",
        "-z",
        "+root",
        "$(id)",
        "\u{fc}ml\u{e4}ut",
    ];
    for program in ["setuidgid", "setuser", "envuidgid"] {
        for name in names {
            let script = format!("\"$0\" '{name}' echo ran");
            let stderr = format!("{program}: fatal: unknown account {name}\n");
            check(program, &script, "", &stderr, 111);
        }
    }
}

/// Runs `script` where getent is a script of ours: it logs how it was called and prints `answer`.
fn with_getent(program: &str, answer: &str, script: &str) -> Outcome {
    let whole = format!(
        "cat >getent <<'END'\n#!/bin/sh\n/usr/bin/env >>/tmp/asked.$PPID; echo \"$@\" >>'LOG'\n\
         {answer}\nEND\nsed -i \"s|LOG|$PWD/log|; s|/tmp/asked.\\$PPID|$PWD/env|\" getent\n\
         chmod 755 getent\n\
         unshare -m sh -c 'mount --bind getent /usr/bin/getent && {script}' \"$0\"\n"
    );
    run(program, &whole)
}

#[test]
fn accounts_of_other_sources_come_from_getent() {
    let far = "case $1 in passwd) echo far:x:4711:4712::/:/bin/x;; \
               initgroups) echo far  4713 4712 4714;; esac";
    let show = "grep -E \"^(Uid|Groups)\" /proc/self/status | tr -s \"\\t \" \" \"";
    let outcome = with_getent("setuidgid", far, &format!("\"$0\" far {show}; cat log"));
    let ids = "Uid: 4711 4711 4711 4711\nGroups: 4712 \n";
    assert_eq!((outcome.stdout, outcome.stderr), (format!("{ids}passwd far\n"), String::new()));
    let outcome = with_getent("setuidgid", far, &format!("\"$0\" -s far {show}; cat log"));
    let ids = "Uid: 4711 4711 4711 4711\nGroups: 4712 4713 4714 \n";
    assert_eq!(outcome.stdout, format!("{ids}passwd far\ninitgroups far\n"));
    let outcome = with_getent("setuser", far, "\"$0\" far sh -c \"echo \\$HOME \\$SHELL \\$USER\"");
    assert_eq!(outcome.stdout, "/ /bin/x far\n");
    // sh itself adds two or three variables; ours hands none over.
    let outcome = with_getent("envuidgid", far, "SECRET=1 \"$0\" far true; grep SECRET env");
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("", 1));
}

#[test]
fn an_answer_of_getent_about_somebody_else_is_refused() {
    for answer in [
        "echo root:x:0:0:root:/root:/bin/sh",
        "echo farther:x:1:1::/:/",
        "echo far:x:-1:1::/:/",
        "echo far:x:4294967295:1::/:/",
        "echo far:x:1:4294967295::/:/",
        "echo far",
        "exit 2",
        "kill -9 $$",
    ] {
        let outcome = with_getent("setuidgid", answer, "\"$0\" far echo ran");
        let stderr = "setuidgid: fatal: unknown account far\n".to_owned();
        assert_eq!(outcome, Outcome { stdout: String::new(), stderr, code: 111 }, "{answer}");
    }
    // A name of /etc/passwd is not asked about at all.
    let outcome = with_getent("setuidgid", "exit 2", "\"$0\" nobody echo ran; ls log");
    assert_eq!(outcome.stdout, "ran\n");
}

#[test]
fn an_account_looked_up_elsewhere_leaves_no_child_behind() {
    let far = "echo far:x:4711:4712::/:/bin/x";
    let script = "\"$0\" far sh -c \"read c </proc/\\$\\$/task/\\$\\$/children; echo [\\$c]\"";
    assert_eq!(with_getent("setuidgid", far, script).stdout, "[]\n");
    let script = "ls /proc/self/fd >a; \"$0\" far ls /proc/self/fd >b; cmp a b && echo same";
    assert_eq!(with_getent("setuidgid", far, script).stdout, "same\n");
    for closed in ["<&-", ">&-", "<&- 2>&-"] {
        let script = format!("\"$0\" far touch ran {closed}; ls ran");
        let script = format!("chmod 777 . && {script}");
        assert_eq!(with_getent("setuidgid", far, &script).stdout, "ran\n", "{closed}");
    }
}

#[test]
fn no_signal_state_leaks_and_chains_keep_it() {
    let show = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    for before in [
        "env --default-signal",
        "env --ignore-signal=PIPE --ignore-signal=HUP --ignore-signal=TERM",
        "env --block-signal=USR1 --block-signal=CHLD",
    ] {
        let mut script = format!("mkdir e; {before} {show} >without\n");
        writeln!(script, "{before} \"$0\" ARGUMENTS {show} >with; cmp without with").unwrap();
        for (program, arguments) in LOADERS {
            check(program, &script.replace("ARGUMENTS", arguments), "", "", 0);
        }
    }
}

#[test]
fn no_descriptor_leaks_but_those_documented() {
    for (program, arguments) in LOADERS {
        // Counted rather than named: what else is open is up to whoever runs the tests.
        let more = match *program {
            // The lock.
            "setlock" => 1,
            // The pipe that tells when all are gone.
            "fghack" => 31,
            _ => 0,
        };
        let script = format!(
            "mkdir e; a=$(ls /proc/self/fd | wc -l); \
             b=$(\"$0\" {arguments} ls /proc/self/fd | wc -l); echo $((b - a))"
        );
        check(program, &script, &format!("{more}\n"), "", 0);
    }
}

/// Its wait would be over at once: the daemon would be started again for ever.
#[test]
fn fghack_that_gets_no_further_descriptor_runs_nothing() {
    let script = "strace -f -qq -o /dev/null -e trace=dup,fcntl -e signal=none \
                  -e inject=dup,fcntl:error=EMFILE \"$0\" touch ran; echo $?; ls";
    check("fghack", script, "111\n", "fghack: fatal: unable to duplicate descriptors\n", 0);
}

#[test]
fn help_and_version_count_as_the_sole_argument() {
    let others = [("readproctitle", ""), ("tai64n", ""), ("tai64nlocal", ""), ("svlog", "")];
    for (program, _) in LOADERS.iter().chain(&others) {
        let help = run(program, "\"$0\" --help");
        assert!(help.stdout.starts_with(&format!("usage: {program}")), "{help:?}");
        assert_eq!((help.stderr.as_str(), help.code), ("", 0));
        let version = run(program, "\"$0\" --version");
        assert!(version.stdout.starts_with(&format!("{program} (skynet) ")), "{version:?}");
        let full = run(program, "\"$0\" --help >/dev/full");
        let text = format!("{program}: fatal: unable to write output: out of disk space\n");
        assert_eq!((full.stderr, full.code), (text, 111));
    }
}

#[test]
fn setuser_is_the_account_in_every_respect() {
    let show = "sh -c 'echo $HOME $SHELL $USER $UID $GID; pwd; id -u; id -g; id -G'";
    let expected = "/usr/sbin /usr/sbin/nologin daemon 1 1\n/usr/sbin\n1\n1\n1\n";
    check("setuser", &format!("\"$0\" daemon {show}"), expected, "", 0);
    let usage = "setuser: usage: setuser account child\n";
    check("setuser", "\"$0\"", "", usage, 100);
    check("setuser", "\"$0\" root", "", usage, 100);
    let homeless = "setuser: fatal: unable to chdir to /nonexistent: file does not exist\n";
    check("setuser", "\"$0\" nobody true", "", homeless, 111);
    let not_root = "setpriv --reuid=1 --regid=1 --clear-groups \"$0\" daemon true";
    check("setuser", not_root, "", "setuser: fatal: unable to setgid: permission denied\n", 111);
}

#[test]
fn envini_reads_sections_and_prefixes() {
    let ini =
        "printf '; no\\nA=1\\n B = two words \\n[s]\\nC=3\\r\\nnothing\\n=x\\n[]\\nD=\\n' >f; ";
    let show = "env -i A=0 \"$0\" f /usr/bin/env";
    let expected = "A=1\nB=two words\ns_C=3\ns_=x\n_D=\n";
    check("envini", &format!("{ini}{show}"), expected, "", 0);
    let show = "env -i A=0 \"$0\" -p P_ f /usr/bin/env";
    let expected = "A=0\nP_A=1\nP_B=two words\nP_s_C=3\nP_s_=x\nP__D=\n";
    check("envini", &format!("{ini}{show}"), expected, "", 0);
    check("envini", &format!("{ini}\"$0\" -pP_ f sh -c 'echo $P_A'"), "1\n", "", 0);
    let usage = "envini: usage: envini [ -p prefix ] inifile child\n";
    check("envini", "\"$0\"", "", usage, 111);
    check("envini", "\"$0\" f", "", usage, 111);
    check("envini", "\"$0\" -z f true", "", &format!("envini: illegal option -- z\n{usage}"), 111);
    let text = "envini: fatal: unable to read f: file does not exist\n";
    check("envini", "\"$0\" f true", "", text, 111);
    let text = "envini: fatal: unable to read /: is a directory\n";
    check("envini", "\"$0\" / true", "", text, 111);
    check("envini", "echo PATH=/x >f; \"$0\" f sh -c 'echo $PATH'", "/x\n", "", 0);
}

#[test]
fn softlimit_follows_words_and_variables() {
    let show = "sh -c 'ulimit -Sc; ulimit -Hc'";
    check(
        "softlimit",
        &format!("ulimit -Sc 0; \"$0\" -c hard {show}"),
        "unlimited\nunlimited\n",
        "",
        0,
    );
    check(
        "softlimit",
        &format!("ulimit -Sc 0; \"$0\" -c unlimited {show}"),
        "unlimited\nunlimited\n",
        "",
        0,
    );
    let not_root = format!("ulimit -c 0; setpriv --reuid=1 --clear-groups \"$0\" -c - {show}");
    let text = "softlimit: fatal: setrlimit failed: permission denied\n";
    check("softlimit", &not_root, "", text, 111);
    for (name, value, flag, expected) in [
        ("ALLBYTES", 102_400_000, "-v", "100000\n"),
        ("DATABYTES", 51_200_000, "-d", "50000\n"),
        ("FILEBYTES", 51_200_000, "-f", "50000\n"),
        ("LOCKEDBYTES", 4_096_000, "-l", "4000\n"),
        ("OPENFILES", 100, "-n", "100\n"),
        ("PROCS", 5000, "-u", "5000\n"),
        ("STACKBYTES", 5_120_000, "-s", "5000\n"),
        ("CPUSECS", 77, "-t", "77\n"),
    ] {
        let script = format!("SOFTLIMIT_{name}={value} \"$0\" bash -c 'ulimit -S {flag}'");
        check("softlimit", &script, expected, "", 0);
    }
    let both = "SOFTLIMIT_COREBYTES=1024 \"$0\" -c 2048 sh -c 'ulimit -c'";
    check("softlimit", both, "4\n", "", 0);
    let memory = "SOFTLIMIT_DATABYTES=1024 SOFTLIMIT_MEMBYTES=1024000000 \"$0\" sh -c 'ulimit -d'";
    check("softlimit", memory, "1000000\n", "", 0);
    assert_eq!(run("softlimit", "SOFTLIMIT_CPUSECS=x \"$0\" true").code, 100);
}

#[test]
fn encore_rules_where_it_is_asked_for() {
    let encore = "export DAEMONTOOLS_COMPAT=encore; ";
    let usage = "setuidgid: usage: setuidgid [-s] account child\n";
    check("setuidgid", &format!("{encore}\"$0\""), "", usage, 100);
    let text = format!("setuidgid: illegal option -- z\n{usage}");
    check("setuidgid", &format!("{encore}\"$0\" -z nobody true"), "", &text, 100);
    check("setuidgid", &format!("{encore}\"$0\" -- nobody id -u"), "65534\n", "", 0);
    let usage = "envdir: usage: envdir [ -p prefix ] dir child\n";
    check("envdir", &format!("{encore}\"$0\""), "", usage, 111);
    let prefixed = "mkdir d; echo 1 >d/A; \"$0\" -pX_ d sh -c 'echo $X_A'";
    check("envdir", &format!("{encore}{prefixed}"), "1\n", "", 0);
}

#[test]
fn all_groups_come_with_the_option_and_only_with_it() {
    // A scratch copy of the group file, seen by this process alone.
    let mount = "cp /etc/group g; echo 'extra:x:4799:root,nobody' >>g; \
                 unshare -m sh -c 'mount --bind g /etc/group && exec \"$0\" ARGUMENTS id -G' \"$0\"";
    check("setuidgid", &mount.replace("ARGUMENTS", "nobody"), "65534\n", "", 0);
    check("setuidgid", &mount.replace("ARGUMENTS", "-s nobody"), "65534 4799\n", "", 0);
}

#[test]
fn a_hundred_words_go_through_as_ten_do() {
    check("softlimit", "\"$0\" -o 99 echo $(seq 200) | wc -w", "200\n", "", 0);
    check("setlock", "\"$0\" f sh -c 'echo $#' $(seq 200); ls", "199\nf\n", "", 0);
    check(
        "envdir",
        "mkdir d; echo 1 >d/A; \"$0\" d sh -c 'echo $A $#' $(seq 200)",
        "1 199\n",
        "",
        0,
    );
}
