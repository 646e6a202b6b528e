//! Flink's side: the jar, the Java program around it, and its runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::run::Run;
use crate::tools;

const ARCHIVE: &str = "https://files.pythonhosted.org/packages/49/14/\
                       28b7a41ca05be46fb5d08ea7be9198a413eb494d05f8b00911a4f515f7b7/apache-flink-1.10.3.tar.gz";
const SHA256_OF_ARCHIVE: &str = "cae9861734ca9c0475b41bb72acd13f859e760e57f5e7e71fd8342acb44ad4eb";
const FOLDER_IN_ARCHIVE: &str = "apache-flink-1.10.3";
const JAR_IN_ARCHIVE: &str = "apache-flink-1.10.3/deps/lib/flink-dist_2.11-1.10.3.jar";

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/flink/java");
/// In the target directory, which only builds of this crate use.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/flink-1.10.3");

/// From this size on, the garbage of an iteration needs a larger heap.
const LARGE: usize = 1_000_000;

/// Flink's slot manager, ready for measurements.
pub(crate) struct Original {
    class_path: String,
}

impl Original {
    /// Fetches the missing files and compiles.
    pub(crate) fn prepare() -> Result<Self> {
        let folder = Path::new(FOLDER);
        fs::create_dir_all(folder).with_context(|| format!("cannot make {FOLDER}"))?;
        let jar = folder.join("flink-dist.jar");
        if !jar.exists() {
            fetch(folder, &jar)?;
        }
        let classes = folder.join("classes");
        compile(&jar, &classes)?;
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

/// Fetches the jar. A failure leaves no file in its place.
fn fetch(folder: &Path, jar: &Path) -> Result<()> {
    let archive = folder.join("apache-flink-1.10.3.tar.gz");
    eprintln!("fetching Flink 1.10.3 (286 MB) to {FOLDER}");
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--location", "--output"])
        .args([archive.as_os_str(), ARCHIVE.as_ref()]);
    tools::output(&mut curl)?;
    let found = sha256(&archive)?;
    if found != SHA256_OF_ARCHIVE {
        bail!("{} has the unexpected hash {found}", archive.display());
    }
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&archive).arg("-C").arg(folder).arg(JAR_IN_ARCHIVE);
    tools::output(&mut tar)?;
    fs::rename(folder.join(JAR_IN_ARCHIVE), jar)?;
    fs::remove_dir_all(folder.join(FOLDER_IN_ARCHIVE))?;
    fs::remove_file(&archive)?;
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let hash = Sha256::digest(fs::read(path)?);
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn compile(jar: &Path, classes: &Path) -> Result<()> {
    let mut sources: Vec<PathBuf> = fs::read_dir(SOURCES)
        .with_context(|| format!("cannot read {SOURCES}"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    sources.sort();
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
