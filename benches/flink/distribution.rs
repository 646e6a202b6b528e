//! The distributions of Flink: where they come from, and the jar of each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::tools;

/// A source distribution of Flink on PyPI.
pub(crate) struct Distribution {
    pub(crate) version: &'static str,
    archive: &'static str,
    sha256_of_archive: &'static str,
    megabytes_of_archive: u32,
    folder_in_archive: &'static str,
    jar_in_archive: &'static str,
}

pub(crate) const FLINK_1_10: Distribution = Distribution {
    version: "1.10.3",
    archive: "https://files.pythonhosted.org/packages/49/14/\
              28b7a41ca05be46fb5d08ea7be9198a413eb494d05f8b00911a4f515f7b7/apache-flink-1.10.3.tar.gz",
    sha256_of_archive: "cae9861734ca9c0475b41bb72acd13f859e760e57f5e7e71fd8342acb44ad4eb",
    megabytes_of_archive: 286,
    folder_in_archive: "apache-flink-1.10.3",
    jar_in_archive: "apache-flink-1.10.3/deps/lib/flink-dist_2.11-1.10.3.jar",
};

pub(crate) const FLINK_2_3: Distribution = Distribution {
    version: "2.3.0",
    archive: "https://files.pythonhosted.org/packages/28/18/\
              a14423ca106f9200c11a41ff6c32b43e217eb0e063d8d4baeba50d95e611/apache_flink_libraries-2.3.0.tar.gz",
    sha256_of_archive: "570bf8831d3c1336311e924e97119e52d8842e5485a4a7709ff9a92db709b006",
    megabytes_of_archive: 329,
    folder_in_archive: "apache_flink_libraries-2.3.0",
    jar_in_archive: "apache_flink_libraries-2.3.0/deps/lib/flink-dist-2.3.0.jar",
};

impl Distribution {
    /// Returns the folder of the files of this distribution. It is in the target directory, which
    /// only builds of this crate use.
    pub(crate) fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("flink-{}", self.version))
    }

    /// Fetches the jar, if it is missing. Returns its path.
    pub(crate) fn jar(&self) -> Result<PathBuf> {
        let folder = self.folder();
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let jar = folder.join("flink-dist.jar");
        if !jar.exists() {
            self.fetch(&folder, &jar)?;
        }
        Ok(jar)
    }

    /// Fetches the jar. A failure leaves no file in its place.
    fn fetch(&self, folder: &Path, jar: &Path) -> Result<()> {
        let (version, megabytes) = (self.version, self.megabytes_of_archive);
        eprintln!("fetching Flink {version} ({megabytes} MB) to {}", folder.display());
        let archive = folder.join("archive.tar.gz");
        let mut curl = Command::new("curl");
        curl.args(["--fail", "--silent", "--show-error", "--location", "--output"])
            .args([archive.as_os_str(), self.archive.as_ref()]);
        tools::output(&mut curl)?;
        let found = sha256(&archive)?;
        if found != self.sha256_of_archive {
            bail!("{} has the unexpected hash {found}", archive.display());
        }
        let mut tar = Command::new("tar");
        tar.arg("-xzf")
            .arg(&archive)
            .arg("-C")
            .arg(folder)
            .arg(self.jar_in_archive);
        tools::output(&mut tar)?;
        fs::rename(folder.join(self.jar_in_archive), jar)?;
        fs::remove_dir_all(folder.join(self.folder_in_archive))?;
        fs::remove_file(&archive)?;
        Ok(())
    }
}

fn sha256(path: &Path) -> Result<String> {
    let hash = Sha256::digest(fs::read(path)?);
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}
