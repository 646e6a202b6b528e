//! One process measures one workload at one size.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::catalogue::{Prepared, Workload, workloads};

pub(crate) struct Run {
    pub(crate) workload: &'static Workload,
    pub(crate) size: usize,
    pub(crate) operations: usize,
    pub(crate) warm_up: Duration,
    pub(crate) iterations: usize,
}

/// The code that this program measures.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Manager,
    Floor,
    ContractFloor,
}

impl Run {
    /// Prepares the workload; `None` where a floor cannot do it.
    pub(crate) fn prepare(&self, side: Side) -> Option<Prepared> {
        let prepare = match side {
            Side::Manager => self.workload.prepare,
            Side::Floor => self.workload.floor?,
            Side::ContractFloor => self.workload.contract_floor?,
        };
        Some(prepare(self.size, self.operations))
    }

    /// Returns the arguments of both programs.
    pub(crate) fn to_arguments(&self) -> [String; 5] {
        [
            self.workload.name.to_owned(),
            self.size.to_string(),
            self.operations.to_string(),
            self.warm_up.as_millis().to_string(),
            self.iterations.to_string(),
        ]
    }

    pub(crate) fn from_arguments(arguments: &[String]) -> Result<Self> {
        let [name, size, operations, warm_up, iterations] = arguments else {
            bail!("expected five arguments");
        };
        let workload = workloads().find(|workload| workload.name == *name);
        Ok(Self {
            workload: workload.with_context(|| format!("no such workload: {name}"))?,
            size: size.parse()?,
            operations: operations.parse()?,
            warm_up: Duration::from_millis(warm_up.parse()?),
            iterations: iterations.parse()?,
        })
    }
}
