//! The file for the chart: checked before a run, so that a long run does not end without a picture.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Checks that a file can be written. Creates nothing that stays, and changes nothing that is
/// there.
///
/// # Errors
///
/// The path is a directory, its directory does not exist, or one of both is not writable.
pub(crate) fn check(path: &Path) -> Result<()> {
    let name = path.display();
    ensure!(!path.is_dir(), "cannot write the chart to {name}: it is a directory");
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    };
    ensure!(
        directory.is_dir(),
        "cannot write the chart to {name}: there is no directory {}",
        directory.display()
    );
    let cannot_write = || format!("cannot write the chart to {name}");
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => fs::remove_file(path).with_context(cannot_write),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => OpenOptions::new()
            .write(true)
            .open(path)
            .map(drop)
            .with_context(cannot_write),
        Err(error) => Err(error).with_context(cannot_write),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn error(path: &Path) -> String {
        format!("{:#}", check(path).unwrap_err())
    }

    /// An empty directory of this test.
    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("slot-manager-replay-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn a_file_that_can_be_written_is_accepted_and_left_as_it_is() {
        let directory = directory("accepted");
        let path = directory.join("replay.svg");
        check(&path).unwrap();
        assert!(!path.exists());

        fs::write(&path, "an old chart").unwrap();
        check(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "an old chart");
        check(Path::new("replay-of-a-test.svg")).unwrap();
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_directory_and_a_file_in_no_directory_are_refused() {
        let directory = directory("refused");
        let name = directory.display();
        assert_eq!(
            error(&directory),
            format!("cannot write the chart to {name}: it is a directory")
        );
        assert_eq!(
            error(&directory.join("no/replay.svg")),
            format!("cannot write the chart to {name}/no/replay.svg: there is no directory {name}/no")
        );
        fs::write(directory.join("file"), "").unwrap();
        assert_eq!(
            error(&directory.join("file/replay.svg")),
            format!("cannot write the chart to {name}/file/replay.svg: there is no directory {name}/file")
        );
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_file_that_the_system_refuses_is_refused() {
        // Longer than a name may be.
        let path = std::env::temp_dir().join("x".repeat(5_000));
        assert!(error(&path).starts_with("cannot write the chart to "));
    }
}
