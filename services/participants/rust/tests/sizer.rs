//! Gives the participant items, and looks at its answers and exit codes.

use std::io::Write;
use std::process::{Command, Stdio};

/// Runs it by hand: item in, exit code and answer out.
fn work(item: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sizer"))
        .env_remove("SKYNET_PARTICIPANT")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("its input").write_all(item.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn the_size_of_a_file_is_in_the_item() {
    let size = std::fs::metadata("exo.yaml").expect("a file").len();
    let expected = format!("{{\"fields\":{{\"file\":\"exo.yaml\",\"n\":1.0,\"size\":{size}}}}}\n");
    assert_eq!(work(r#"{"fields":{"file":"exo.yaml","n":1.0}}"#), (Some(0), expected));
}

#[test]
fn a_file_that_is_not_there_is_a_final_fault() {
    for item in ["{}", r#"{"fields":{"file":"nowhere"}}"#] {
        assert_eq!(work(item), (Some(10), String::new()));
    }
}
