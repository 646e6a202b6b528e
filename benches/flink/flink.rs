//! Flink's side: the Java program around the jar of a distribution, and its runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::distribution::Distribution;
use crate::run::Run;
use crate::tools;

/// The sources for all versions. Each version has more in a folder of its own.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/flink/java");

/// From this size on, the garbage of an iteration needs a larger heap.
const LARGE: usize = 1_000_000;

/// A slot manager of Flink, ready for measurements.
pub(crate) struct Flink {
    class_path: String,
}

impl Flink {
    /// Fetches the missing files and compiles.
    pub(crate) fn prepare(distribution: &Distribution) -> Result<Self> {
        let jar = distribution.jar()?;
        let classes = distribution.folder().join("classes");
        compile(&sources(distribution)?, &jar, &classes)?;
        let class_path = std::env::join_paths([&classes, &jar])
            .context("the path of the target directory cannot be part of a class path")?;
        Ok(Self {
            class_path: class_path.to_string_lossy().into_owned(),
        })
    }

    /// Returns the output of the Java program for a run.
    pub(crate) fn measure(&self, run: &Run) -> Result<String> {
        let heap = if run.size < LARGE { "4g" } else { "8g" };
        tools::output(
            Command::new("java")
                .args([format!("-Xms{heap}"), format!("-Xmx{heap}")])
                .args(["-XX:+UseParallelGC", "-XX:+AlwaysPreTouch"])
                .args(["-cp", &self.class_path, "Main"])
                .args(run.to_arguments()),
        )
    }
}

/// Returns the paths of the Java sources for a distribution.
fn sources(distribution: &Distribution) -> Result<Vec<PathBuf>> {
    let for_all = PathBuf::from(SOURCES);
    let for_version = for_all.join(format!("flink-{}", distribution.version));
    let mut sources = Vec::new();
    for folder in [for_all, for_version] {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            sources.push(entry?.path());
        }
    }
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "java"));
    sources.sort();
    Ok(sources)
}

fn compile(sources: &[PathBuf], jar: &Path, classes: &Path) -> Result<()> {
    let mut javac = Command::new("javac");
    javac
        .arg("-nowarn")
        .arg("-d")
        .arg(classes)
        .arg("-cp")
        .arg(jar)
        .args(sources);
    tools::output(&mut javac)?;
    Ok(())
}
