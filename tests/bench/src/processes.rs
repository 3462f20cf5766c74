//! What /proc says about the processes of a suite.

use crate::trouble::{Result, Unable};
use std::fs;

/// A process by number and name.
pub(crate) struct Process {
    pid: i32,
    /// The name of its program, cut at 15 bytes.
    pub(crate) name: String,
}

/// Kibibytes that a process costs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Pages that only this process has.
    pub(crate) private: u64,
    /// The same and its share of the pages that several have.
    pub(crate) share: u64,
    /// Page tables.
    pub(crate) tables: u64,
}

/// Lists all processes that this namespace sees, without this one and without the dead.
pub(crate) fn all() -> Result<Vec<Process>> {
    let own = linux::process::pid();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unable(|| "read /proc".into())?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that ended meanwhile is none of the suite any more.
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let (name, state) = (text(&status, "Name:"), text(&status, "State:"));
        if pid != own && !state.starts_with('Z') {
            found.push(Process { pid, name: name.into() });
        }
    }
    Ok(found)
}

/// Returns what the process with this number costs.
pub(crate) fn memory(pid: i32) -> Result<Memory> {
    Process { pid, name: format!("process {pid}") }.memory()
}

impl Process {
    /// Returns what it costs.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let rollup = self.file("smaps_rollup")?;
        let sum = |keys: [&str; 2]| keys.iter().map(|key| number(&rollup, key)).sum();
        Ok(Memory {
            private: sum(["Private_Clean:", "Private_Dirty:"]),
            share: number(&rollup, "Pss:"),
            tables: number(&self.file("status")?, "VmPTE:"),
        })
    }

    /// Returns how often it was put to sleep or pushed aside since it began.
    pub(crate) fn switches(&self) -> Result<u64> {
        let status = self.file("status")?;
        Ok(number(&status, "voluntary_ctxt_switches:")
            + number(&status, "nonvoluntary_ctxt_switches:"))
    }

    fn file(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.pid);
        fs::read_to_string(&path).unable(|| format!("read {path} of {}", self.name))
    }
}

/// Returns what follows `key` at the start of a line.
fn text<'a>(file: &'a str, key: &str) -> &'a str {
    file.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("").trim()
}

fn number(file: &str, key: &str) -> u64 {
    text(file, key).split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_at_the_start_of_its_line_only() {
        let status = "Name:\trun\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n";
        assert_eq!(number(status, "voluntary_ctxt_switches:"), 3);
        assert_eq!(number("Pss:            12 kB\n", "Pss:"), 12);
        assert_eq!(text(status, "Name:"), "run");
    }
}
