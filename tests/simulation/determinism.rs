//! A seed decides every effect, in one process and in another one, whose hash maps have other
//! seeds.

use std::process::Command;

use crate::cluster::{Kinds, Outcome, run};

/// Set in the other process.
const OTHER_PROCESS: &str = "SIMULATION_OTHER_PROCESS";

/// Every other seed has dynamic workers.
fn outcome(seed: u64) -> Outcome {
    let kinds = match seed % 2 {
        0 => Kinds::Static,
        _ => Kinds::Dynamic,
    };
    run(seed, kinds).unwrap_or_else(|violation| panic!("{violation}"))
}

#[test]
fn a_seed_decides_every_effect() {
    for seed in 1_000..1_010 {
        let first = outcome(seed);
        assert_eq!(first, outcome(seed), "seed {seed}");
        assert_ne!(first.digest, outcome(seed + 1).digest, "seed {seed}");
    }
}

/// The other process runs this test too and prints its outcomes.
#[test]
fn another_process_has_the_same_effects() {
    let own: Vec<String> = (2_000..2_015)
        .map(|seed| format!("seed {seed}: {:?}", outcome(seed)))
        .collect();
    if std::env::var_os(OTHER_PROCESS).is_some() {
        println!("\n{}", own.join("\n"));
        return;
    }
    let other = Command::new(std::env::current_exe().expect("this test is a file"))
        .args([
            "--exact",
            "determinism::another_process_has_the_same_effects",
            "--nocapture",
        ])
        .env(OTHER_PROCESS, "yes")
        .output()
        .expect("the other process runs");
    let printed = String::from_utf8_lossy(&other.stdout);
    let others: Vec<&str> = printed.lines().filter(|line| line.starts_with("seed ")).collect();
    assert_eq!(others, own);
}
