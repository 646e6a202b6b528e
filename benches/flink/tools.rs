//! Programs of the machine.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

const OLDEST_JAVA: u32 = 17;

/// Whether everything is there. The error says what is not.
pub(crate) fn check() -> Result<()> {
    check_java("java")?;
    check_java("javac")?;
    for tool in ["curl", "tar"] {
        version(tool).with_context(|| format!("`{tool}` is needed"))?;
    }
    Ok(())
}

/// The first line that Java says of itself.
pub(crate) fn java_version() -> Result<String> {
    version("java")
}

fn check_java(tool: &str) -> Result<()> {
    let said = version(tool).with_context(|| format!("`{tool}` ({OLDEST_JAVA} or later) is needed"))?;
    match major_version(&said) {
        Some(major) if major >= OLDEST_JAVA => Ok(()),
        _ => bail!("`{tool}` has to be {OLDEST_JAVA} or later, this is {said:?}"),
    }
}

/// From `openjdk 17.0.15 2025-04-15` or `javac 17.0.15`.
fn major_version(said: &str) -> Option<u32> {
    let number = said.split_whitespace().nth(1)?;
    number
        .split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn version(tool: &str) -> Result<String> {
    let said = output(Command::new(tool).arg("--version"))?;
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

/// Runs a program and returns what it printed. If it fails, the error has what it complained about.
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
