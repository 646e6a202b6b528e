//! The command line of a worker.

use std::ffi::OsString;
use std::io;

use slot_manager::config::WorkerDescription;
use slot_manager::{ResourceProfile, WorkerRequestId};

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
    let profile = profile_text(worker.slot_profile());
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
    let more = settings.worker_arguments.iter();
    command.extend(more.map(|argument| argument.replace("{name}", name).into()));
    Ok(command)
}

/// Writes a profile as the option `--profile` has it, such as `cpu=1,memory=1024,gpu=0.5`.
fn profile_text(profile: &ResourceProfile) -> String {
    if *profile == ResourceProfile::ANY {
        return "any".to_owned();
    }
    // A profile of amounts has a number of cores, if only zero.
    let Some(cores) = profile.cpu_cores() else {
        return "unknown".to_owned();
    };
    let mut text = format!("cpu={cores}");
    for (name, bytes) in [
        ("memory", profile.task_heap_memory_bytes()),
        ("off-heap-memory", profile.task_off_heap_memory_bytes()),
        ("managed-memory", profile.managed_memory_bytes()),
        ("network-memory", profile.network_memory_bytes()),
    ] {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
            text += &format!(",{name}={bytes}");
        }
    }
    for (name, amount) in profile.extended_resources() {
        text += &format!(",{name}={amount}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_written_as_the_task_executor_reads_them() {
        let profile = ResourceProfile::builder()
            .cpu_cores(1.5)
            .task_heap_memory_bytes(100)
            .managed_memory_bytes(7)
            .extended_resource("gpu", 0.5);
        let text = profile_text(&profile.build().unwrap());
        assert_eq!(text, "cpu=1.5,memory=100,managed-memory=7,gpu=0.5");
        assert_eq!(profile_text(&ResourceProfile::ANY), "any");
        assert_eq!(profile_text(&ResourceProfile::UNKNOWN), "unknown");
        assert_eq!(profile_text(&ResourceProfile::builder().build().unwrap()), "cpu=0");
    }
}
