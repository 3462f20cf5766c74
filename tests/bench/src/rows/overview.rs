//! Looking at all services at once, and completing their names.

use super::Figures;
use super::tools::repeated;
use crate::peer::Peer;
use crate::readers::{GREP, SKYNET, SUPERVISORCTL, SVLOG, SVSTAT};
use crate::stage::{Lab, Stage, rest};
use crate::trouble::{Result, Trouble, Unable};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How often each is asked for.
const TIMES: usize = 20;
/// The same of who takes seconds.
const TIMES_IF_SLOW: usize = 3;

/// All services without and with loggers, then names; milliseconds.
pub(super) fn overview(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let none = vec![None; 4];
    match peer.name {
        SKYNET => ours(lab, peer),
        SVSTAT => {
            let plain = beside(lab, peer, false)?;
            Ok(vec![plain, beside(lab, peer, true)?, None, None])
        }
        SUPERVISORCTL => Ok(vec![supervisor(lab, peer)?, None, None, None]),
        SVLOG | GREP => Ok(none),
        name => Err(Trouble::new(format!("{name} has no way to look at services"))),
    }
}

fn ours(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let home = home(lab)?;
    let mut plain = None;
    if let Some(stage) = Stage::steady(lab, peer, lab.services, false)? {
        plain = ask(&mut skynet(&stage, peer, &home, &["status"])?, TIMES)?;
    }
    let Some(stage) = Stage::steady(lab, peer, lab.services, true)? else {
        return Ok(vec![plain, None, None, None]);
    };
    let logged = ask(&mut skynet(&stage, peer, &home, &["status"])?, TIMES)?;
    let mut figures = vec![plain, logged];
    for word in ["007", ""] {
        let mut command = skynet(&stage, peer, &home, &["--", "skynet", "status", word])?;
        // What the script for bash sets.
        command.env("SKYNET_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2");
        command.env("_CLAP_IFS", "\u{b}").env("_CLAP_COMPLETE_COMP_TYPE", "9");
        let wanted = (0..lab.services).filter(|i| format!("{i:05}").starts_with(word)).count();
        let offered = said(&mut command)?;
        let names = offered.split('\u{b}').filter(|name| name.parse::<usize>().is_ok()).count();
        if names != wanted {
            return Err(Trouble::new(format!("{names} of {wanted} names: {offered}")));
        }
        figures.push(ask(&mut command, TIMES)?);
    }
    Ok(figures)
}

/// Makes the folders of a user whose services are those of the stage.
fn home(lab: &Lab) -> Result<PathBuf> {
    let home = lab.root.join("overview");
    let state = home.join(".local/state/skynet");
    if !home.exists() {
        fs::create_dir_all(&state).unable(|| format!("make {}", state.display()))?;
        symlink(lab.root.join("services"), state.join("service"))
            .unable(|| "link the service folder".into())?;
    }
    Ok(home)
}

/// Returns the command for people; it sees all services, or the figures would be worth nothing.
fn skynet(stage: &Stage<'_>, peer: &Peer, home: &Path, words: &[&str]) -> Result<Command> {
    let ready = || {
        let mut command = peer.command(SKYNET).ok_or_else(|| Trouble::new("no skynet"))?;
        command.env("HOME", home).env("XDG_RUNTIME_DIR", home.join("run"));
        Ok(command)
    };
    let seen = said(ready()?.arg("status"))?;
    let up = seen.lines().filter(|line| line.contains(" up ")).count();
    if up < stage.dirs.len() {
        return Err(Trouble::new(format!("{up} of {} are up: {seen}", stage.dirs.len())));
    }
    let mut command = ready()?;
    command.args(words);
    Ok(command)
}

/// The state of all in one call, by the suite that keeps them.
fn beside(lab: &Lab, peer: &Peer, logged: bool) -> Result<Option<f64>> {
    let Some(stage) = Stage::steady(lab, peer, lab.services, logged)? else { return Ok(None) };
    let Some(mut command) = peer.status(&stage.dirs) else { return Ok(None) };
    let seen = said(&mut command)?;
    let up = seen.lines().filter(|line| line.contains(": up ")).count();
    if up < stage.dirs.len() {
        return Err(Trouble::new(format!("{up} of {} are up", stage.dirs.len())));
    }
    ask(&mut command, TIMES)
}

/// The same of one daemon that keeps all of them.
fn supervisor(lab: &Lab, peer: &Peer) -> Result<Option<f64>> {
    let stage = Stage::prepare(lab, peer, lab.services, false)?;
    let (Some(stage), Some(mut daemon)) = (stage, peer.command("supervisord")) else {
        return Ok(None);
    };
    let config = configure(lab, &stage)?;
    daemon.arg("--nodaemon").arg("-c").arg(&config).current_dir(lab.root.join("store"));
    stage.spawn(daemon)?;
    stage.wait_for_starts(lab.services)?;
    // It calls a program up after a second.
    rest();
    let Some(mut command) = peer.command(SUPERVISORCTL) else { return Ok(None) };
    command.arg("-c").arg(&config).arg("status");
    let seen = said(&mut command)?;
    let up = seen.lines().filter(|line| line.contains(" RUNNING ")).count();
    if up < stage.dirs.len() {
        return Err(Trouble::new(format!("{up} of {} are up", stage.dirs.len())));
    }
    ask(&mut command, TIMES_IF_SLOW)
}

fn configure(lab: &Lab, stage: &Stage<'_>) -> Result<PathBuf> {
    let store = lab.root.join("store");
    let socket = store.join("socket");
    let socket = socket.display();
    let mut text = format!(
        "[supervisord]\nlogfile=NONE\nlogfile_maxbytes=0\npidfile={}/pid\nminfds={}\n\
         [unix_http_server]\nfile={socket}\n\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = \
         supervisor.rpcinterface:make_main_rpcinterface\n\
         [supervisorctl]\nserverurl=unix://{socket}\n",
        store.display(),
        100 + 4 * stage.dirs.len(),
    );
    for (i, dir) in stage.dirs.iter().enumerate() {
        let dir = dir.display();
        let _ = write!(
            text,
            "[program:s{i:05}]\ncommand={dir}/run\ndirectory={dir}\nstdout_logfile=NONE\n\
             stderr_logfile=NONE\n",
        );
    }
    let path = store.join("supervisord.conf");
    fs::write(&path, text).unable(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn ask(command: &mut Command, times: usize) -> Result<Option<f64>> {
    command.stdout(Stdio::null());
    Ok(repeated(command, times)?.map(|taken| taken / 1000.0))
}

/// Runs it once; returns what it says.
fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.stdout(Stdio::piped()).output().unable(|| format!("run {name}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Trouble::new(format!("{name}: {}: {}", output.status, why.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
