//! The layers of the manager import only what is below them.
//!
//! | layer | may use, beside itself |
//! |---|---|
//! | `collections` | times, nothing else of the crate |
//! | `state` | `collections`, values and messages |
//! | `rules` | `state`, `collections`, values and messages; no trait of the embedder |
//! | `outside` | `rules` and all below; the only layer that calls a trait |

use std::fs;
use std::path::{Path, PathBuf};

const TRAITS: [&str; 3] = ["ResourceManagerActions", "TaskExecutorGateway", "ScheduledExecutor"];

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/slot_manager")
        .join(path)
}

/// Returns the files of a layer, with its module file, in the order of their names.
fn files_of(layer: &str) -> Vec<PathBuf> {
    let mut files = vec![source(&format!("{layer}.rs"))];
    let mut folders = vec![source(layer)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the sources") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    files
}

/// Returns the code of a file without comments and without its tests.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a readable file");
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Checks that no file of a layer contains any of the words.
fn assert_never_mentions(layer: &str, words: &[&str]) {
    for file in files_of(layer) {
        let code = code_of(&file);
        for word in words {
            assert!(!code.contains(word), "{} mentions {word}", file.display());
        }
    }
}

#[test]
fn layers_are_where_this_test_looks() {
    for (layer, least) in [("collections", 5), ("state", 10), ("rules", 10), ("outside", 3)] {
        assert!(files_of(layer).len() > least, "{layer} has too few files");
    }
    let driver = code_of(&source("outside/driver.rs"));
    assert!(
        TRAITS.iter().all(|name| driver.contains(name)),
        "the driver calls every trait"
    );
}

#[test]
fn collections_know_no_slot() {
    assert_never_mentions("collections", &TRAITS);
    assert_never_mentions(
        "collections",
        &["::state", "::rules", "::outside", "Slot", "slot_manager::{", "Profile"],
    );
    for file in files_of("collections") {
        let uses_of_crate = code_of(&file)
            .lines()
            .filter(|line| line.starts_with("use crate::") && !line.contains("::collections::"))
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let allowed = uses_of_crate.iter().all(|line| line == "use crate::Timestamp;");
        assert!(allowed, "{} uses {uses_of_crate:?}", file.display());
    }
}

#[test]
fn state_calls_no_rule_and_no_trait() {
    assert_never_mentions("state", &TRAITS);
    assert_never_mentions(
        "state",
        &["::rules", "::outside", "::queries", "::inputs", "::driving", "Outside"],
    );
}

#[test]
fn rules_never_call_a_trait() {
    assert_never_mentions("rules", &TRAITS);
    assert_never_mentions("rules", &["::outside", "::queries", "::inputs", "::driving"]);
}

#[test]
fn only_the_outside_calls_a_trait() {
    let calls = [
        ".allocate_resource(",
        ".release_resource(",
        ".withdraw_resource(",
        ".notify_slot_allocated(",
        ".notify_allocation_failure(",
        ".request_slot(",
        ".free_slot(",
        ".can_be_released(",
        ".delay_until(",
    ];
    let outside: String = files_of("outside").iter().map(|file| code_of(file)).collect();
    for call in calls {
        assert!(outside.contains(call), "the outside does not call {call}");
    }
    for layer in ["collections", "state", "queries"] {
        assert_never_mentions(layer, &calls);
    }
    // Rules call the private trait `Outside`, whose methods have the same names.
    for layer in ["rules", "inputs"] {
        for file in files_of(layer) {
            let code = code_of(&file).replace("outside.", "").replace("self.driver.", "");
            for call in calls {
                assert!(!code.contains(call), "{} calls {call}", file.display());
            }
        }
    }
}
