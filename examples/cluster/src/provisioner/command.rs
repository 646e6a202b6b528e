//! The command line of a worker.

use std::ffi::OsString;
use std::io;

use slot_manager::WorkerRequestId;
use slot_manager::config::WorkerDescription;

use super::Settings;

/// Returns the program of a worker and its arguments.
pub(super) fn worker_command(
    settings: &Settings,
    name: &str,
    id: WorkerRequestId,
    worker: &WorkerDescription,
) -> io::Result<Vec<OsString>> {
    let program = match &settings.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?,
    };
    let profile = serde_json::to_string(worker.slot_profile())?;
    let mut command = vec![program.into_os_string(), "task-executor".into()];
    for (option, value) in [
        ("--resource-managers", settings.resource_managers.join(",")),
        ("--slots", worker.slots().to_string()),
        ("--profile", profile),
        ("--worker-request", id.to_string()),
        ("--resource-id", name.to_owned()),
    ] {
        command.extend([option.into(), value.into()]);
    }
    command.extend(settings.worker_arguments.iter().map(OsString::from));
    Ok(command)
}
