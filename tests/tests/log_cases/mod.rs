//! What multilog is asked to do, as shell scripts; `$0` is the program.

/// Before each script. `show` lists a log directory: each file's mode, size and content, names with
/// stamps by their order, stamps in lines masked. `when` waits for a condition.
pub(crate) const PRELUDE: &str = r#"
mask() { LC_ALL=C sed 's/@4[0-9a-f]\{23\} /STAMP /'; }
show() {
    for d; do
        echo "$d $(stat -c %a "$d")"
        for f in $(ls -A "$d" | LC_ALL=C sort); do
            case $f in spool.*) continue ;; @*) n=@${f##*.} ;; *) n=$f ;; esac
            echo "$n $(stat -c '%F %a %s' "$d/$f") $(mask <"$d/$f" | cksum)"
            mask <"$d/$f" | head -c 60 | cat -v | tr '\n' '~'
            echo
        done
    done
}
when() { for i in $(seq 3000); do eval "$1" && return; sleep .01; done; echo "never: $1"; }
filled() { test "$(stat -c %s "$1" 2>/dev/null)" = "$2"; }
rotated() { test "$(ls "$1" | grep -c '^@')" = "$2"; }
row() { head -c "$1" /dev/zero | tr '\0' "$2"; }
# Holds a FIFO `p` open on descriptor 9 and starts the logger on it.
begin() { mkfifo p; exec 9<>p; "$prog" "$@" <p 9>&- & pid=$!; }
finish() { wait $pid 2>/dev/null; echo "ended $?"; }
# Hands on one line at a time, the next when the logger has taken the last. The original looks for
# the end of a file in what it has read at once; line by line that is the line.
slow() {
    python3 -c '
import array, fcntl, os, select, sys, termios
left = array.array("i", [0])
gone = select.poll()
gone.register(1, 0)
for line in sys.stdin.buffer:
    os.write(1, line)
    left[0] = 1
    while left[0] and not gone.poll(0):
        fcntl.ioctl(1, termios.FIONREAD, left)
'
}
prog=$0
"#;

const DANGLING: &str = "mkdir d; ln -s d/current d/current; echo a | \"$0\" ./d";
const NOT_OURS: &str = "mkdir d; chmod 755 .; chmod 777 d; touch d/current; chmod 600 d/current; echo a | timeout -s KILL 2 setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" ./d 2>&1 | sed 's/@[0-9a-f]*/@/'";
const CRASHED: &str = "seq 1000 | slow | \"$0\" s4096 '!if test -e once; then cat; else touch once; kill -9 $$; fi' ./d; wc -c d/@* | sed 's/@.*/@/'";

/// Every action and option of the original; what is compared is output, messages, exit code, and
/// what the script shows.
pub(crate) const CASES: &[&str] = &[
    // Command lines.
    "\"$0\" </dev/null",
    "echo a | \"$0\"",
    "echo a | \"$0\" x y z '' d; ls",
    "echo a | \"$0\" --help; ls",
    "echo a | \"$0\" --version ./d; show ./d",
    "echo a | \"$0\" -- ./d; show ./d",
    "echo a | \"$0\" -h ./d; show ./d",
    "echo a | \"$0\" Z% ./d; show ./d",
    // Directories and what they hold.
    "printf 'a\\nb\\n' | \"$0\" ./d; show ./d",
    "printf 'a\\nb' | \"$0\" ./d; show ./d",
    "printf a | \"$0\" t ./d; show ./d",
    "\"$0\" ./d </dev/null; show ./d",
    "\"$0\" t ./d </dev/null; show ./d",
    "printf '\\n\\n\\nx\\n\\n' | \"$0\" ./d; show ./d",
    "printf '\\n\\n\\nx\\n\\n' | \"$0\" t ./d; show ./d",
    "printf 'a\\0b\\0\\n\\0\\n' | \"$0\" ./d; show ./d",
    "printf 'a\\0b\\0\\n\\0' | \"$0\" t ./d; show ./d",
    "seq 50000 | gzip -n | slow | \"$0\" s30000 ./d; show ./d",
    "seq 50000 | gzip -n | slow | \"$0\" t s30000 ./d; show ./d",
    "echo a | \"$0\" \"$PWD/d\"; show d",
    "echo a | \"$0\" ./d/; show d",
    "mkdir d; cd d; echo a | \"$0\" .; show .",
    "mkdir d; echo a | \"$0\" ./d; show d",
    "umask 0; echo a | \"$0\" ./d; show d",
    "umask 077; echo a | \"$0\" ./d; show d",
    "mkdir x; ln -s x d; echo a | \"$0\" ./d; show x",
    "echo a | \"$0\" ./d; echo b | \"$0\" ./d; show d",
    "echo a | \"$0\" ./d ./e; show d e",
    "echo a | \"$0\" ./d ./d; ls",
    "seq 100 >in; \"$0\" ./d <in; show d",
    // Long lines.
    "row 5000 x | \"$0\" ./d; show d",
    "(row 1000000 x; echo; echo y) | slow | \"$0\" s4096 n3 ./d; show d",
    "(row 1000000 x; echo; echo y) | slow | \"$0\" t s4096 n3 ./d; show d",
    "for n in 999 1000 1001 1023 1024 1025 2047 2048 2049; do row $n x; echo; done | \"$0\" ./d; show d",
    "for n in 970 974 975 998 1025; do row $n x; echo; done | \"$0\" t ./d; show d",
    // e: the first 200 bytes.
    "for n in 0 1 199 200 201 202 1000 5000; do row $n x; echo; done | \"$0\" e",
    "for n in 0 173 174 175 1000; do row $n x; echo; done | \"$0\" t e 2>&1 | mask",
    "printf 'a\\0b' | \"$0\" e 2>&1 | od -c",
    "printf 'a\\nb\\nc\\n' | \"$0\" e -b e ./d; show d",
    "printf 'a\\nb\\n' | \"$0\" e e",
    // =file.
    "echo a | \"$0\" =f; stat -c '%a %s' f; od -c f | head -3",
    "printf 'a\\nbc\\nd' | \"$0\" =f; stat -c %s f; od -c f | head -3",
    "for n in 999 1000 1001 1002 5000; do row $n x | \"$0\" =f$n; stat -c %s f$n; cksum <f$n; done",
    "for n in 973 974 975 1000; do row $n x | \"$0\" t =f$n; stat -c %s f$n; mask <f$n | cksum; done",
    "row 3000 z >f; chmod 600 f; echo a | \"$0\" =f; stat -c '%a %s' f; cksum <f",
    "umask 077; echo a | \"$0\" =f; stat -c '%a %s' f",
    "\"$0\" =f </dev/null; ls",
    "printf 'a\\nb\\n' | \"$0\" -b =f +b =g ./d; head -c 5 f g; show d",
    "mkdir s; echo a | \"$0\" =./s/f =\"$PWD/g\"; head -c 3 s/f g",
    "ln -s t f; echo a | \"$0\" =f; ls -l | wc -l; head -c 2 t",
    // Selection.
    "printf 'a\\nb\\n' | \"$0\" -a ./d; show d",
    "printf 'a\\nb\\n' | \"$0\" '-*' +b ./d; show d",
    "printf 'a\\nb\\nab\\n' | \"$0\" - ./d '-*' + ./e; show d e",
    "printf 'a\\n\\nb\\n' | \"$0\" - ./d '-*' + ./e; show d e",
    "printf 'abc: x\\nabc:\\nab:c: y\\n' | \"$0\" '-*' '+*: *' ./d '-*' '+*:*' ./e; show d e",
    "printf 'a*b\\naxb\\n' | \"$0\" '-*' '+a**' ./d '-*' '+a*b' ./e; show d e",
    "printf 'a.b\\n' | \"$0\" t '-*' '+* a.b' ./d '-*' '+a.b' ./e '-*' '+@*' ./f; show d e f",
    "printf '\\377a\\n' | \"$0\" '-*' \"$(printf '+\\377*')\" ./d; show d",
    "for n in 998 999 1000 1001; do row $n x; echo y; done | \"$0\" '-*' '+*y' ./d '-*' '+x*' ./e; show d e",
    "for n in 972 973 974 975; do row $n x; echo y; done | \"$0\" t '-*' '+* *y' ./d; show d",
    "printf 'a\\nb\\nc\\n' | \"$0\" -a ./d +a -b ./e '-*' ./f; show d e f",
    "printf 'aab\\n' | \"$0\" '-*' '+*ab' ./d '-*' '+*b' ./e '-*' '+*a*' ./f; show d e f",
    // t.
    "printf 'a\\nb\\n' | \"$0\" t ./d; show d",
    "printf 'a\\n' | \"$0\" tx ./d; show d",
    "printf 'a\\n' | \"$0\" e t ./d; show d",
    "printf 'a\\n' | \"$0\" t t ./d; show d",
    "(echo a; sleep .1; echo b) | \"$0\" t ./d; LC_ALL=C sort -c d/current && cut -c 26- d/current",
    // Sizes.
    "for s in s s0 s1 s4095 s4096 s4097 s5000x s04096 s-1 s99999999999999999999; do seq 2500 | slow | \"$0\" $s n20 ./$s; show $s; done",
    "seq 20000 | slow | \"$0\" ./d; show d",
    "seq 20000 | slow | \"$0\" n30 ./d s5000 ./e; show d e",
    // Numbers.
    "for n in n n0 n1 n2 n3 n4 n1x; do seq 3500 | slow | \"$0\" s4096 $n ./$n; show $n; done",
    "seq 9000 | slow | \"$0\" s4096 n1000 ./d; show d",
    // Where a file ends.
    "for n in 2094 2095 2096 2097 2098 4094 4095 4096 4097; do (row $n x; echo; row 3000 y) | slow | \"$0\" s4096 ./d$n; show d$n; done",
    "for n in 1 50 1998 1999 2000 2001 2002 3000; do for i in 1 2 3 4 5 6; do row $n $i; echo; done | slow | \"$0\" s4096 ./d$n; show d$n; done",
    "for n in 2070 2071 2072 4069 4070 4071; do (row $n x; echo; echo y) | slow | \"$0\" t s4096 ./d$n; show d$n; done",
    "row 20000 x | slow | \"$0\" s4096 ./d; show d",
    "for i in 1 2 3 4 5 6 7; do echo $i; echo $i | slow | \"$0\" s4096 ./d; done; show d",
    "row 4096 x | slow | \"$0\" s4096 ./d; show d",
    "row 4095 x | slow | \"$0\" s4096 ./d; show d",
    "for i in 1 2 3; do seq 700 | slow | \"$0\" s4096 ./d; done; show d",
    // Processors.
    "seq 2500 | slow | \"$0\" s4096 '!cat' ./d; show d",
    "seq 2500 | slow | \"$0\" s4096 '!tr 0-9 a-j' n2 ./d; show d",
    "seq 2500 | slow | \"$0\" t s4096 '!sed \"s/^@[^ ]* /X /\"' ./d; show d",
    "seq 1500 | slow | \"$0\" s4096 '!cat; (cat <&4; wc -c <previous) >&5' ./d; show d; cat d/state",
    "seq 1000 | slow | \"$0\" s4096 '!pwd; umask; echo $A $#' ./d; show d",
    "seq 1000 | slow | \"$0\" s4096 '!ls -l . | wc -l; cat processed | wc -c' ./d; show d",
    "seq 1000 | slow | \"$0\" s4096 '!stat -Lc \"%a %s\" /dev/fd/0 /dev/fd/1 /dev/fd/4 /dev/fd/5' ./d; show d",
    "seq 1000 | slow | \"$0\" s4096 '!' ./d; show d",
    "seq 1000 | slow | \"$0\" s4096 '!:' ./d; show d",
    "seq 2500 | slow | \"$0\" s4096 '!cat' ./d '!tr 1 x' ./e; show d e",
    "seq 2500 | slow | \"$0\" s4096 ./d '!cat' ./e; show d e",
    "seq 1000 | slow | \"$0\" s4096 '!exec 1>&-; cat >/dev/null' ./d; show d",
    "seq 1000 | slow | \"$0\" s4096 '!echo seen >&2; cat' ./d; show d",
    "seq 1000 | slow | \"$0\" s4096 '!if test -e once; then cat; else touch once; exit 1; fi' ./d; show d",
    CRASHED,
    "seq 1000 | slow | \"$0\" s4096 '!if test -e once; then cat; else touch once; echo half; exit 9; fi' ./d; show d",
    // Signals.
    "begin s4096 ./d; echo a >&9; when 'filled d/current 2'; kill -ALRM $pid; when 'rotated d 1'; echo b >&9; when 'filled d/current 2'; kill -TERM $pid; finish; show d",
    "begin ./d; echo a >&9; when 'filled d/current 2'; kill -ALRM $pid; when 'rotated d 1'; sleep .2; kill -ALRM $pid; sleep .2; echo b >&9; when 'filled d/current 2'; kill -TERM $pid; finish; show d",
    "begin t ./d ./e; echo a >&9; when 'filled e/current 28'; kill -ALRM $pid; when 'rotated e 1'; kill -TERM $pid; finish; show d e",
    "begin ./d -b ./e; echo b >&9; when 'filled d/current 2'; kill -ALRM $pid; when 'rotated d 1'; kill -TERM $pid; finish; show d e",
    "begin '!tr a b' ./d; echo a >&9; when 'filled d/current 2'; kill -ALRM $pid; when 'rotated d 1'; kill -TERM $pid; finish; show d",
    "begin ./d; echo a >&9; when 'filled d/current 2'; kill -TERM $pid; finish; echo b >&9; head -n 1 <&9; show d",
    "begin ./d; printf 'a\\nbc' >&9; when 'test -s d/current'; sleep .2; kill -TERM $pid; sleep .2; printf 'd\\nef\\n' >&9; finish; head -n 1 <&9; show d",
    "begin ./d; echo a >&9; when 'filled d/current 2'; kill -9 $pid; finish; show d; echo b >&9; \"$prog\" ./d <p 9>&- & when 'filled d/current 2'; exec 9>&-; wait $!; echo $?; show d",
    // Trouble at the start.
    "echo a | \"$0\" ./no/d",
    "echo a | \"$0\" /no/such/d",
    "touch d; echo a | \"$0\" ./d",
    "touch d; echo a | \"$0\" ./d/x",
    "ln -s nowhere d; echo a | \"$0\" ./d; ls",
    "ln -s d d; echo a | \"$0\" ./d",
    "mkdir d; exec 9>d/lock; flock 9; echo a | \"$0\" ./d 9>&-; ls -A d",
    "mkdir -p d/lock; echo a | \"$0\" ./d",
    "mkdir -p d/current; echo a | \"$0\" ./d; ls -A d",
    DANGLING,
    "mkdir -p d/state; echo a | \"$0\" ./d",
    "echo a | \"$0\" ./$(row 300 x)",
    "echo a | \"$0\" ./d ./no/e; show d",
    "echo a | \"$0\" =f ./no/e; ls",
    "mkdir d; chmod 755 .; echo a | setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" ./d",
    "chmod 755 .; echo a | setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" ./d",
    "mkdir d; chmod 755 .; chmod 777 d; touch d/lock; chmod 600 d/lock; echo a | setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" ./d",
    NOT_OURS,
    "mkdir d; chmod 755 .; chmod 777 d; touch d/current; chmod 700 d/current; echo a | setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" ./d; ls d",
    "mkdir d; chmod 755 .; chmod 700 d; echo a | setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" ./d",
    "mkdir d; chmod 755 .; chmod 777 d; echo a | setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" ./d; show d",
    "prlimit --nofile=4 \"$0\" ./d ./e </dev/null; echo $?; ls",
    "mkdir d; echo old >d/previous; (sleep 1 | timeout -s KILL 2 \"$0\" '!/bin/false' ./d) 2>&1",
    "mkdir d; echo old >d/previous; (sleep 1 | timeout -s KILL 2 \"$0\" '!/no/such/program' ./d) 2>&1",
    "seq 1000 | slow 2>/dev/null | timeout -s KILL 2 \"$0\" s4096 '!/bin/false' ./d 2>&1; show d",
    // Trouble later, for a while.
    "mkdir f; (echo a; sleep 1; echo) | timeout -s KILL 2 \"$0\" =f",
    "(echo a; sleep 1; echo) | timeout -s KILL 2 \"$0\" =no/f",
    // Descriptors.
    "\"$0\" ./d <&-; show d",
    "\"$0\" ./d </; show d",
    "echo a | \"$0\" e ./d 2>&-; show d",
    "echo a | \"$0\" ./d 1>&-; show d",
    "echo a | \"$0\" ./d 1>&- 2>&-; show d",
    "echo a | \"$0\" e 2>/dev/full; echo $?",
];

/// An intended difference: what ours does instead.
pub(crate) struct Difference {
    /// The case.
    pub(crate) script: &'static str,
    /// Descriptor 1, descriptor 2, exit code.
    pub(crate) ours: (&'static str, &'static str, i32),
    /// Why.
    pub(crate) reason: &'static str,
}

/// All intended differences.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        script: "\"$0\" ./d </; show d",
        ours: (
            "d 700\ncurrent regular empty file 744 0 4294967295 0\n\nlock regular empty file 600 0 \
             4294967295 0\n\nstate regular empty file 644 0 4294967295 0\n\n",
            "multilog: fatal: unable to read input: is a directory\n",
            0,
        ),
        reason: "an input that cannot be read is told",
    },
    Difference {
        script: DANGLING,
        ours: ("", "multilog: fatal: unable to append to ./d/current: symbolic link loop\n", 111),
        reason: "a link is not followed, and that is the reason told",
    },
    Difference {
        script: NOT_OURS,
        ours: ("multilog: fatal: unable to append to ./d/current: access denied\n", "", 0),
        reason: "the file of another account is not renamed; the original tries to for ever",
    },
    Difference {
        script: CRASHED,
        ours: ("2096 d/@\n", "multilog: warning: processor failed in ./d, pausing\n", 0),
        reason: "the original tells a crash twice, with the reason of another call, and waits twice",
    },
];
