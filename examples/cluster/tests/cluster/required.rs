//! The programs that some tests need, and that not every machine has.

use std::path::Path;

/// The variable with the programs that must be installed, such as `etcd,chromium,slurm`.
const REQUIRED: &str = "CLUSTER_REQUIRE";

/// Returns `true` if a program is installed. Says that a test is left out, if it is not.
///
/// `slurm` stands for all programs that a cluster of Slurm on one machine needs.
///
/// # Panics
/// If the program is missing, and the environment says that it must not be.
pub fn is_installed(program: &str) -> bool {
    let files: &[&str] = match program {
        "slurm" => &["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel"],
        _ => &[program],
    };
    let missing: Vec<_> = files.iter().copied().filter(|file| !is_in_path(file)).collect();
    if missing.is_empty() {
        return true;
    }
    leave_out(program, &format!("{} not installed", missing.join(", ")));
    false
}

/// Says that a test is left out that needs a program.
///
/// # Panics
/// If the environment says that the program must be there.
pub fn leave_out(program: &str, cause: &str) {
    let required = std::env::var(REQUIRED).unwrap_or_default();
    assert!(
        !required.split(',').any(|required| required.trim() == program),
        "{REQUIRED} has {program}, but: {cause}"
    );
    println!("left out: {cause}");
}

fn is_in_path(file: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(file)))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    let metadata = path.metadata();
    metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
