use super::*;

#[test]
fn the_command_names_the_task() {
    let command = ["sh", "-c", "echo {task} of {job} {task}"].map(String::from);
    assert_eq!(task_command(&command, 7), ["sh", "-c", "echo 7 of {job} 7"]);
}

#[test]
fn a_command_may_not_be_too_long() {
    assert!(check_command(&["true".into()]).is_ok());
    // Each argument counts one byte more.
    let longest = "x".repeat(limits::COMMAND_BYTES - 1);
    let mut command = vec![longest];
    assert!(check_command(&command).is_ok());
    command.push("{task}".into());
    assert!(check_command(&command).is_err());
}

#[test]
fn the_summary_is_plain() {
    let summary = Summary {
        tasks: 12,
        done: 11,
        failed: 1,
        slots_granted: 4,
        slots_lost: 2,
        time: Duration::from_millis(1_234),
    };
    let lines = "11 of 12 tasks are done, 1 failed\n4 slots were granted, 2 of them lost\nit took 1.23 s";
    assert_eq!(summary.to_string(), lines);
}
