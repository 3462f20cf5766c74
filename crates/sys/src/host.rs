//! The machine that we are on.

/// Returns its name, as hostname(1) says it; what is no UTF-8 in it replaced. Empty where nobody
/// knows.
#[must_use]
pub fn name() -> String {
    let name = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    String::from_utf8_lossy(name.trim_ascii()).into_owned()
}
