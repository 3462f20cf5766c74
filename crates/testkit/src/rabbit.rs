//! A real RabbitMQ for tests: on loopback, with ports, node and folders of its own.

use crate::wait::holds_within;
use linux::signal;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A broker that does nothing.
#[derive(Debug)]
pub struct Frozen(i32);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = signal::kill(self.0, signal::numbers::SIGCONT);
    }
}

/// A broker with an alarm of its disk: it takes nothing until this is dropped.
pub struct Alarm<'a>(&'a Rabbit);

const ALARM: &str = "{resource_limit, disk, node()}";

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.call(&format!("rabbit_alarm:clear_alarm({ALARM})."));
    }
}

/// Who may do anything in each virtual host that is made here.
pub const USER: &str = "boss";
/// The password of [`USER`]: a word that is found nowhere by chance.
pub const PASSWORD: &str = "canary-5up3r53cr3t";

/// Returns the files of a folder, and of all below it, that the password stands in.
///
/// # Panics
/// What is there cannot be read.
pub fn with_password(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, kind) = (entry.path(), entry.file_type().expect("its kind"));
        if kind.is_dir() {
            found.extend(with_password(&path));
        } else if kind.is_file() {
            match fs::read(&path) {
                Ok(bytes) if holds_password(&bytes) => found.push(path),
                // A file that is replaced is another one.
                Err(why) if why.kind() != ErrorKind::NotFound => {
                    panic!("{}: {why}", path.display())
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    found
}

fn holds_password(bytes: &[u8]) -> bool {
    bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes())
}

/// Starts in vain before a test gives up: a port may be taken between finding and using it.
const STARTS: usize = 3;

/// A broker. Ends with this process, however that dies.
pub struct Rabbit {
    port: u16,
    distribution: u16,
    cookie: String,
    folder: PathBuf,
    keeper: Child,
}

impl Rabbit {
    /// Returns the one of this process. It is started for who asks first, which takes some seconds.
    ///
    /// # Panics
    /// Where it does not start; Debian's package `rabbitmq-server` is needed.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Rabbit> = OnceLock::new();
        SHARED.get_or_init(|| {
            (0..STARTS).find_map(|_| Self::start()).expect("RabbitMQ: it does not start")
        })
    }

    fn start() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("skynet-rabbit-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("mkdir");
        let [port, distribution, epmd] = free_ports();
        let rabbit = Self {
            keeper: keeper(&folder, port, distribution, epmd),
            cookie: format!("skynet{}", std::process::id()),
            port,
            distribution,
            folder,
        };
        if !holds_within(Duration::from_secs(90), || rabbit.is_ready()) {
            let said = fs::read_to_string(rabbit.folder.join("server.out")).unwrap_or_default();
            eprintln!("RabbitMQ is not up:\n{said}");
            return None;
        }
        rabbit.call(&format!(
            "rabbit_auth_backend_internal:add_user(<<\"{USER}\">>, <<\"{PASSWORD}\">>, <<\"t\">>)."
        ));
        Some(rabbit)
    }

    /// Returns the port that it listens on, at 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Makes a virtual host in which [`USER`] may do anything; returns its name.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn vhost(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("v{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.ask(&format!("rabbit_vhost:add(<<\"{name}\">>, <<\"t\">>)."));
        self.permit(&name, ".*");
        name
    }

    /// Lets [`USER`] read, in a virtual host, only what has such a name.
    ///
    /// # Panics
    /// Where there is no such virtual host.
    pub fn permit(&self, vhost: &str, read: &str) {
        self.permit_each(vhost, [".*", ".*", read]);
    }

    /// Lets [`USER`] configure, write and read, in a virtual host, only what has such names.
    ///
    /// # Panics
    /// Where there is no such virtual host.
    pub fn permit_each(&self, vhost: &str, [configure, write, read]: [&str; 3]) {
        self.ask(&format!(
            "rabbit_auth_backend_internal:set_permissions(<<\"{USER}\">>, <<\"{vhost}\">>, \
             <<\"{configure}\">>, <<\"{write}\">>, <<\"{read}\">>, <<\"t\">>)."
        ));
    }

    /// Adds an account with [`USER`]'s password and rights in a virtual host, which may have so many
    /// channels at most.
    ///
    /// # Panics
    /// Where there is one of this name, or no such virtual host.
    pub fn add_user(&self, name: &str, vhost: &str, channels: usize) {
        self.call(&format!(
            "ok = rabbit_auth_backend_internal:add_user(<<\"{name}\">>, <<\"{PASSWORD}\">>, <<\"t\">>), \
             ok = rabbit_auth_backend_internal:set_permissions(<<\"{name}\">>, <<\"{vhost}\">>, \
             <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"t\">>), \
             ok = rabbit_auth_backend_internal:set_user_limits(<<\"{name}\">>, \
             <<\"{{\\\"max-channels\\\": {channels}}}\">>, <<\"t\">>)."
        ));
    }

    /// Has it evaluate an Erlang expression, which ends with a dot; returns what came of it.
    ///
    /// # Panics
    /// Where that fails.
    #[track_caller]
    pub fn call(&self, expression: &str) -> String {
        self.try_call(expression).unwrap_or_else(|| panic!("{expression} failed"))
    }

    /// Asks it something that changes nothing the second time: tried again where a busy node does not
    /// answer, as while a queue begins or ends.
    #[track_caller]
    fn ask(&self, expression: &str) -> String {
        let mut said = None;
        let _ = holds_within(Duration::from_secs(30), || {
            said = self.try_call(expression);
            said.is_some()
        });
        said.unwrap_or_else(|| panic!("{expression} failed"))
    }

    fn try_call(&self, expression: &str) -> Option<String> {
        // Two of them would have one name, and the node lets one in.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = Command::new("erl_call")
            .args(["-address", &format!("127.0.0.1:{}", self.distribution)])
            .args(["-c", &self.cookie, "-e"])
            .env("HOME", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("erl_call, of Debian's package erlang-base");
        let mut stdin = child.stdin.take().expect("a pipe");
        let told = stdin.write_all(format!("{expression}\n").as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("wait");
        // Before it is up, erl_call does not even read.
        if told.is_err() || !output.status.success() {
            return None;
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Some(said.strip_prefix("{ok, ")?.trim_end().strip_suffix('}')?.to_owned())
    }

    /// Stops the broker within the node: all connections end, none is taken.
    pub fn stop_app(&self) {
        self.call("rabbit:stop().");
    }

    /// Stops its process: connections stay, and nothing comes over them until what this returns is
    /// dropped.
    ///
    /// # Panics
    /// Where it does not run.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        let pid = fs::read_to_string(self.folder.join("server.pid")).expect("its pid");
        let frozen = Frozen(pid.trim().parse().expect("a number"));
        signal::kill(frozen.0, signal::numbers::SIGSTOP).expect("it runs");
        frozen
    }

    /// Has it find that its disk is full: who publishes is told so, and not read any more.
    #[must_use]
    pub fn alarm(&self) -> Alarm<'_> {
        self.call(&format!("rabbit_alarm:set_alarm({{{ALARM}, []}})."));
        Alarm(self)
    }

    /// Kills it, as a crash of its machine does, and starts it again; what is durable is there.
    ///
    /// # Panics
    /// Where it does not start then.
    pub fn crash(&self) {
        let pid = fs::read_to_string(self.folder.join("server.pid")).expect("its pid");
        let killed = Command::new("kill").args(["-KILL", pid.trim()]).status().expect("kill");
        assert!(killed.success());
        let mut keeper = self.keeper.stdin.as_ref().expect("a pipe");
        keeper.write_all(b"\n").expect("its keeper");
        assert!(
            holds_within(Duration::from_secs(90), || self.is_other(&pid) && self.is_ready()),
            "it does not start:\n{}",
            self.log()
        );
    }

    /// Tells whether another process is the broker by now.
    fn is_other(&self, pid: &str) -> bool {
        fs::read_to_string(self.folder.join("server.pid")).is_ok_and(|now| now != pid)
    }

    /// Returns what it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log/skynet@localhost.log")).unwrap_or_default()
    }

    /// Deletes a queue with all that is in it, as an operator may.
    ///
    /// # Panics
    /// Where there is none.
    pub fn delete_queue(&self, vhost: &str, queue: &str) {
        self.call(&format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, \
             <<\"{queue}\">>)), {{ok, _}} = rabbit_amqqueue:delete(Q, false, false, <<\"t\">>), ok."
        ));
    }

    /// Deletes an exchange, as an operator may: nobody is told.
    ///
    /// # Panics
    /// Where there is none.
    pub fn delete_exchange(&self, vhost: &str, exchange: &str) {
        self.call(&format!(
            "ok = rabbit_exchange:delete(rabbit_misc:r(<<\"{vhost}\">>, exchange, \
             <<\"{exchange}\">>), false, <<\"t\">>)."
        ));
    }

    /// Starts it again; what is durable is there.
    ///
    /// # Panics
    /// Where it does not listen then.
    pub fn start_app(&self) {
        // While the last start or stop is not quite over, another one is taken for it.
        let starts = || self.try_call("rabbit:start().").is_some() && self.is_ready();
        assert!(
            holds_within(Duration::from_secs(90), starts),
            "it does not start:\n{}",
            self.log()
        );
    }

    /// Tells whether its last start has come to an end: stopped before that it gets confused.
    fn is_ready(&self) -> bool {
        self.try_call("rabbit_boot_state:get().").as_deref() == Some("ready")
    }

    /// Closes all connections to a virtual host, as an operator may.
    pub fn close_connections(&self, vhost: &str) {
        self.call(&format!(
            "[catch rabbit_networking:close_connection(P, \"test\") \
             || P <- rabbit_networking:connections(), \
             [{{vhost, <<\"{vhost}\">>}}] =:= \
             (catch rabbit_networking:connection_info(P, [vhost]))]."
        ));
    }

    /// Returns for how long the oldest connection to a virtual host has been open; none: zero.
    ///
    /// # Panics
    /// Where the broker does not answer.
    #[must_use]
    pub fn oldest_connection(&self, vhost: &str) -> Duration {
        let said = self.ask(&format!(
            "Now = os:system_time(millisecond), lists:max([0 | [Now - At \
             || P <- rabbit_networking:connections(), \
             [{{vhost, V}}, {{connected_at, At}}] <- \
             [catch rabbit_networking:connection_info(P, [vhost, connected_at])], \
             V =:= <<\"{vhost}\">>]])."
        ));
        Duration::from_millis(said.parse().expect("number"))
    }

    /// Returns how many consumers a queue has; 0 where there is no such queue.
    ///
    /// # Panics
    /// Where the broker does not answer.
    #[must_use]
    pub fn consumers(&self, vhost: &str, queue: &str) -> usize {
        let said = self.ask(&format!(
            "case rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>)) of \
             {{ok, Q}} -> length(rabbit_amqqueue:consumers(Q)); _ -> 0 end."
        ));
        said.parse().expect("number")
    }

    /// Returns how many channels there are in a virtual host.
    ///
    /// # Panics
    /// Where the broker does not answer.
    #[must_use]
    pub fn channels(&self, vhost: &str) -> usize {
        let said = self.ask(&format!(
            "length([V || [{{vhost, V}}] <- rabbit_channel:info_all([vhost]), V =:= <<\"{vhost}\">>])."
        ));
        said.parse().expect("number")
    }

    /// Has a queue get all that comes to the exchange `amq.fanout`.
    pub fn bind_to_fanout(&self, vhost: &str, queue: &str) {
        self.call(&format!(
            "rabbit_binding:add({{binding, rabbit_misc:r(<<\"{vhost}\">>, exchange, \
             <<\"amq.fanout\">>), <<\"\">>, rabbit_misc:r(<<\"{vhost}\">>, queue, \
             <<\"{queue}\">>), []}}, <<\"t\">>)."
        ));
    }

    /// Returns how many messages of a queue are ready, and how many are not acknowledged; `None` =
    /// there is no such queue.
    ///
    /// # Panics
    /// Where the broker does not answer.
    #[must_use]
    pub fn messages(&self, vhost: &str, queue: &str) -> Option<(usize, usize)> {
        let said = self.ask(&format!(
            "case rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>)) of \
             {{ok, Q}} -> [A, B] = rabbit_amqqueue:info(Q, [messages_ready, \
             messages_unacknowledged]), [element(2, A), 1000000, element(2, B)]; _ -> none end."
        ));
        let numbers = said.strip_prefix('[')?.strip_suffix(']')?;
        let numbers: Vec<usize> =
            numbers.split(',').map(|number| number.trim().parse().expect("number")).collect();
        Some((numbers[0], numbers[2]))
    }
}

/// Starts what keeps broker and port mapper as long as this process lives.
fn keeper(folder: &Path, port: u16, distribution: u16, epmd: u16) -> Child {
    let at = |name: &str| folder.join(name);
    fs::write(at("env"), "").expect("write");
    fs::write(at("plugins"), "[].\n").expect("write");
    // A test machine may have little room, and nothing of this is worth a sync.
    let conf = "disk_free_limit.absolute = 1MB\nlog.console = false\n";
    fs::write(at("rabbitmq.conf"), conf).expect("write");
    let cookie = at(".erlang.cookie");
    fs::write(&cookie, format!("skynet{}", std::process::id())).expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o400);
    fs::set_permissions(&cookie, mode).expect("chmod");
    Command::new("/bin/sh")
        .args(["-c", include_str!("rabbit.sh"), "rabbit.sh"])
        .arg(folder)
        .env("HOME", folder)
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", "skynet@localhost")
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
        .env("RABBITMQ_LOG_BASE", at("log"))
        .env("RABBITMQ_CONFIG_FILE", at("rabbitmq"))
        .env("RABBITMQ_GENERATED_CONFIG_DIR", at("config"))
        .env("RABBITMQ_CONF_ENV_FILE", at("env"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
        .env("RABBITMQ_PID_FILE", at("pid"))
        // In place of its script, with nobody to notify: so it can be killed by its pid.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env_remove("NOTIFY_SOCKET")
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none \
             -kernel inet_dist_use_interface {127,0,0,1}",
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // What ends the tests by a signal to their group does not end it before it has cleaned up.
        .process_group(0)
        .spawn()
        .expect("sh")
}

fn free_ports() -> [u16; 3] {
    // All at once, or one might be found twice.
    let taken: [TcpListener; 3] =
        std::array::from_fn(|_| TcpListener::bind(("127.0.0.1", 0)).expect("bind"));
    taken.map(|listener| listener.local_addr().expect("address").port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_runs_has_virtual_hosts_and_can_be_stopped_and_started() {
        let rabbit = Rabbit::shared();
        let vhost = rabbit.vhost();
        assert_eq!(rabbit.messages(&vhost, "none"), None);
        rabbit.call(&format!(
            "rabbit_amqqueue:declare(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"q\">>), true, \
             false, [], none, <<\"t\">>)."
        ));
        assert_eq!(rabbit.messages(&vhost, "q"), Some((0, 0)));
        let is_open = || std::net::TcpStream::connect(("127.0.0.1", rabbit.port())).is_ok();
        assert!(is_open());
        rabbit.stop_app();
        assert!(!is_open());
        rabbit.start_app();
        assert!(is_open());
        assert_eq!(rabbit.messages(&vhost, "q"), Some((0, 0)));
    }
}
