//! The rules that go beyond Flink's original, sentence by sentence.

mod duplicates;
mod failed_attempts;
mod held_slots;
mod idle_periods;
mod leadership;
mod promised_slots;
mod registering_again;
mod reports;
mod revisions;
mod unregistered_jobs;
