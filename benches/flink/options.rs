//! The command line.

use clap::Parser;

use crate::catalogue::{Case, Comparison, Phase, Workload};
use crate::run::Side;

/// Compares this crate with the slot managers of Apache Flink 1.10.3 and 2.3.0.
#[derive(Parser)]
#[command(bin_name = "cargo bench --bench flink --")]
pub(crate) struct Options {
    /// Only the rows that contain this text, as `--list` prints them.
    filter: Option<String>,

    /// Only the rows of this size.
    #[arg(long, value_name = "N")]
    size: Option<usize>,

    /// One round instead of three, and fewer iterations.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Print the rows and measure nothing.
    #[arg(long)]
    list: bool,

    /// Run each workload of our side once and small, without measuring.
    #[arg(long)]
    test: bool,

    /// Given by cargo when it measures, and not when it tests.
    #[arg(long, hide = true)]
    bench: bool,

    /// Our side of one run.
    #[arg(long, hide = true, num_args = 5)]
    measure: Option<Vec<String>>,

    /// The floor of one run.
    #[arg(long, hide = true, num_args = 5)]
    measure_floor: Option<Vec<String>>,

    /// The contract floor of one run.
    #[arg(long, hide = true, num_args = 5)]
    measure_contract_floor: Option<Vec<String>>,
}

pub(crate) enum Mode<'a> {
    Compare,
    List,
    Test,
    Measure(Side, &'a [String]),
}

impl Options {
    pub(crate) fn mode(&self) -> Mode<'_> {
        if let Some(arguments) = &self.measure {
            Mode::Measure(Side::Manager, arguments)
        } else if let Some(arguments) = &self.measure_floor {
            Mode::Measure(Side::Floor, arguments)
        } else if let Some(arguments) = &self.measure_contract_floor {
            Mode::Measure(Side::ContractFloor, arguments)
        } else if self.list {
            Mode::List
        } else if self.test || !self.bench {
            Mode::Test
        } else {
            Mode::Compare
        }
    }

    /// Returns the phases that have a row of the table.
    pub(crate) fn selected_phases(&self, workload: &'static Workload, case: &Case) -> Vec<&'static Phase> {
        let has_size = self.size.is_none_or(|size| size == case.size);
        let selects = |label: String| self.filter.as_ref().is_none_or(|filter| label.contains(filter));
        workload
            .phases
            .iter()
            .filter(|phase| has_size && selects(phase.label(case)))
            .collect()
    }

    /// Returns the workloads and cases of a comparison that these rows need.
    pub(crate) fn selected_cases(&self, comparison: &Comparison) -> Vec<(&'static Workload, &'static Case)> {
        comparison
            .workloads
            .iter()
            .flat_map(|workload| workload.cases.iter().map(move |case| (workload, case)))
            .filter(|(workload, case)| !self.selected_phases(workload, case).is_empty())
            .collect()
    }
}
