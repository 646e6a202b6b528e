//! The generated workload: a cluster and a day of pods, drawn with the frequencies of a real trace.
//!
//! The numbers are counted in the Alibaba GPU trace 2023 (cluster-trace-gpu-v2023 of
//! github.com/alibaba/clusterdata, Apache-2.0): `openb_node_list_all_node.csv` and
//! `openb_pod_list_default.csv`. Only additions, multiplications and divisions follow a draw, so a
//! seed gives the same workload on every machine.

use anyhow::{Result, anyhow};
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::workload::{Implausible, Node, Pod, Size, Workload};

/// cpu_milli, memory_mib, gpu; and the number of such nodes among the 1,523.
const NODE_SIZES: [(u64, u64, u64, u32); 27] = [
    (96_000, 393_216, 8, 549),
    (104_000, 524_288, 2, 387),
    (32_000, 262_144, 0, 129),
    (16_000, 122_880, 2, 107),
    (96_000, 524_288, 0, 59),
    (128_000, 786_432, 8, 39),
    (96_000, 393_216, 0, 30),
    (32_000, 131_072, 4, 28),
    (32_000, 131_072, 0, 23),
    (64_000, 262_144, 2, 22),
    (64_000, 524_288, 0, 22),
    (96_000, 786_432, 8, 21),
    (104_000, 524_288, 0, 20),
    (8_000, 32_768, 1, 19),
    (96_000, 393_216, 4, 17),
    (32_000, 65_536, 0, 10),
    (48_000, 376_832, 4, 9),
    (64_000, 262_144, 0, 8),
    (64_000, 262_144, 8, 7),
    (64_000, 131_072, 0, 4),
    (104_000, 786_432, 0, 3),
    (8_000, 61_440, 1, 3),
    (8_000, 61_440, 2, 2),
    (128_000, 1_048_576, 1, 2),
    (82_000, 344_064, 8, 1),
    (104_000, 196_608, 0, 1),
    (96_000, 786_432, 0, 1),
];

/// cpu_milli, memory_mib, num_gpu, gpu_milli; and the number of such pods among the 8,152. These
/// are the 36 most frequent sizes with one GPU or none, and the most frequent with several: nine
/// pods of ten.
const POD_SIZES: [(u64, u64, u64, u64, u32); 42] = [
    (3_152, 5_600, 1, 810, 1047),
    (11_300, 49_152, 1, 1000, 857),
    (11_400, 48_128, 1, 1000, 534),
    (3_152, 5_600, 1, 1000, 470),
    (11_908, 47_104, 1, 470, 388),
    (12_500, 57_344, 0, 0, 364),
    (8_000, 30_517, 1, 470, 360),
    (32_000, 49_152, 0, 0, 284),
    (18_708, 64_512, 1, 1000, 255),
    (11_908, 47_104, 1, 650, 237),
    (9_810, 41_560, 1, 1000, 195),
    (8_000, 30_517, 0, 0, 163),
    (12_000, 24_576, 1, 1000, 158),
    (15_700, 58_368, 1, 1000, 158),
    (11_908, 47_104, 1, 1000, 153),
    (15_400, 51_200, 0, 0, 120),
    (4_000, 22_888, 1, 320, 111),
    (16_000, 32_768, 1, 1000, 108),
    (8_000, 16_384, 1, 1000, 104),
    (4_000, 24_576, 1, 1000, 104),
    (12_000, 16_384, 1, 1000, 99),
    (16_500, 51_200, 0, 0, 95),
    (14_200, 58_368, 1, 1000, 93),
    (4_000, 30_517, 1, 230, 84),
    (24_200, 93_184, 1, 1000, 84),
    (4_000, 15_258, 1, 320, 78),
    (3_152, 5_600, 1, 590, 75),
    (8_000, 30_517, 1, 320, 72),
    (4_152, 10_600, 1, 550, 72),
    (11_400, 77_824, 1, 1000, 65),
    (8_000, 32_768, 1, 1000, 55),
    (4_000, 15_258, 1, 160, 53),
    (6_000, 6_144, 1, 460, 51),
    (11_900, 77_824, 1, 1000, 51),
    (4_152, 10_600, 1, 370, 45),
    (12_000, 15_360, 1, 1000, 44),
    (88_000, 327_680, 8, 1000, 18),
    (64_200, 263_168, 8, 1000, 18),
    (32_200, 132_096, 4, 1000, 9),
    (16_200, 66_560, 2, 1000, 7),
    (120_000, 737_280, 8, 1000, 3),
    (6_000, 65_536, 2, 1000, 3),
];

/// Lifetimes of pods: a share of the pods in thousandths, and the seconds that this share does not
/// exceed. The longest two of a hundred, up to months, are left out, because a run takes a day.
const LIFETIMES: [(u32, u64); 17] = [
    (0, 1),
    (10, 12),
    (50, 48),
    (100, 80),
    (200, 146),
    (300, 202),
    (400, 301),
    (500, 540),
    (600, 883),
    (700, 1_422),
    (800, 2_700),
    (850, 4_006),
    (900, 6_574),
    (930, 11_193),
    (950, 16_425),
    (970, 25_559),
    (980, 40_752),
];

/// The number of pods created in each hour of the day.
const ARRIVALS_BY_HOUR: [u32; 24] = [
    515, 456, 362, 436, 426, 318, 291, 331, 242, 146, 222, 204, 152, 149, 137, 271, 301, 425, 550, 466, 352, 430, 432,
    538,
];

/// The number of times that 1, 2, ... pods of one size were created within ten seconds.
const ARRIVALS_TOGETHER: [u32; 6] = [7013, 398, 84, 16, 3, 2];

/// Draws a cluster and the pods of one day.
pub(crate) fn generate(nodes: u32, pods: u32, seed: u64) -> Result<Workload> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let origin = format!("generated: {nodes} nodes and {pods} pods, seed {seed}");
    let nodes = generate_nodes(nodes, &mut rng)?;
    let pods = generate_pods(pods, &mut rng)?;
    Ok(Workload::new(origin, nodes, pods))
}

fn generate_nodes(count: u32, rng: &mut ChaCha8Rng) -> Result<Vec<Node>> {
    let by_frequency = WeightedIndex::new(NODE_SIZES.map(|(.., nodes)| nodes))?;
    (0..count)
        .map(|number| {
            let (cpu_milli, memory_mib, gpus, _) = NODE_SIZES[by_frequency.sample(rng)];
            let size = Size {
                cpu_milli,
                memory_mib,
                gpus,
                gpu_milli: 1000,
            };
            Node::new(format!("node-{number:04}"), size).map_err(impossible)
        })
        .collect()
}

fn generate_pods(count: u32, rng: &mut ChaCha8Rng) -> Result<Vec<Pod>> {
    let by_frequency = WeightedIndex::new(POD_SIZES.map(|(.., pods)| pods))?;
    let by_hour = WeightedIndex::new(ARRIVALS_BY_HOUR)?;
    let together = WeightedIndex::new(ARRIVALS_TOGETHER)?;
    let mut pods = Vec::new();
    while pods.len() < count as usize {
        let (cpu_milli, memory_mib, gpus, gpu_milli, _) = POD_SIZES[by_frequency.sample(rng)];
        let size = Size {
            cpu_milli,
            memory_mib,
            gpus,
            gpu_milli,
        };
        let first = by_hour.sample(rng) as u64 * 3600 + rng.random_range(0..3600);
        for _ in 0..=together.sample(rng).min(count as usize - pods.len() - 1) {
            let created = first + rng.random_range(0..10);
            let deleted = created + lifetime(rng);
            let name = format!("pod-{:05}", pods.len());
            pods.push(Pod::new(name, size, created, deleted).map_err(impossible)?);
        }
    }
    Ok(pods)
}

/// Draws a lifetime in seconds, evenly between two steps of the table.
fn lifetime(rng: &mut ChaCha8Rng) -> u64 {
    let longest = LIFETIMES[LIFETIMES.len() - 1].0;
    let share = rng.random_range(0..longest);
    let upper = LIFETIMES.partition_point(|(step, _)| *step <= share);
    rng.random_range(LIFETIMES[upper - 1].1..=LIFETIMES[upper].1)
}

fn impossible(implausible: Implausible) -> anyhow::Error {
    anyhow!("the generator made something implausible: {implausible:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_those_of_the_trace() {
        assert_eq!(NODE_SIZES.iter().map(|(.., nodes)| nodes).sum::<u32>(), 1_523);
        assert_eq!(ARRIVALS_BY_HOUR.iter().sum::<u32>(), 8_152);
        assert!(LIFETIMES.is_sorted());
    }

    #[test]
    fn a_seed_decides_everything() {
        let drawn = |seed| format!("{:?}", generate(30, 200, seed).unwrap());
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn the_number_of_nodes_and_pods_is_as_requested_and_time_starts_with_the_first_pod() {
        let workload = generate(30, 211, 1).unwrap();
        assert_eq!(workload.nodes.len(), 30);
        assert_eq!(workload.pods.len(), 211);
        assert_eq!(workload.pods[0].created, slot_manager::Timestamp::ZERO);
        assert!(workload.pods.iter().all(|pod| pod.deleted > pod.created));
    }
}
