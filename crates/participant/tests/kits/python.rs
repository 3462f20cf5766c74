//! The Python package's own tests.

use crate::{here, python, pythons};
use std::process::Command;

#[test]
fn the_package_passes_its_tests_with_every_python_that_is_here() {
    for interpreter in pythons() {
        let tests = here().join("python/tests");
        let program = python(interpreter, &["-m", "unittest", "discover", "-s"]);
        let output = testkit::run(
            Command::new(&program.command[0])
                .args(&program.command[1..])
                .arg(tests)
                .envs(program.environment),
        );
        assert_eq!(output.code, Some(0), "{interpreter:?}: {}", output.err());
        assert!(!output.err().contains("Ran 0 tests"), "{}", output.err());
    }
}
