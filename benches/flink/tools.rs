//! Programs of the machine.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

const OLDEST_JAVA: u32 = 17;

/// Checks that all tools are there. The error names the missing one.
pub(crate) fn check() -> Result<()> {
    check_java("java")?;
    check_java("javac")?;
    for tool in ["curl", "tar"] {
        version(tool).with_context(|| format!("`{tool}` is needed"))?;
    }
    Ok(())
}

/// Returns the first line of Java's version.
pub(crate) fn java_version() -> Result<String> {
    version("java")
}

fn check_java(tool: &str) -> Result<()> {
    let first_line = version(tool).with_context(|| format!("`{tool}` ({OLDEST_JAVA} or later) is needed"))?;
    match major_version(&first_line) {
        Some(major) if major >= OLDEST_JAVA => Ok(()),
        _ => bail!("`{tool}` must be {OLDEST_JAVA} or later; found {first_line:?}"),
    }
}

/// Parses a version such as `openjdk 17.0.15 2025-04-15` or `javac 17.0.15`.
fn major_version(first_line: &str) -> Option<u32> {
    let number = first_line.split_whitespace().nth(1)?;
    number
        .split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn version(tool: &str) -> Result<String> {
    let first_line = output(Command::new(tool).arg("--version"))?;
    Ok(first_line.lines().next().unwrap_or_default().to_owned())
}

/// Runs a program and returns its output. If it fails, the error has its complaint.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{program}`"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{program}` failed ({}): {}", output.status, complaint.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{program}` did not print text"))
}
