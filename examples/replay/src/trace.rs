//! The reader of traces: two CSV files in the format of the Alibaba GPU trace 2023
//! (`openb_node_list_*.csv`, `openb_pod_list_*.csv` of cluster-trace-gpu-v2023).

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use csv::{ErrorKind, Position, ReaderBuilder, StringRecord, Trim};

use crate::workload::{Implausible, Node, Pod, Quantity, Size, Workload};

const NODE_COLUMNS: [&str; 4] = ["sn", "cpu_milli", "memory_mib", "gpu"];
const POD_COLUMNS: [&str; 7] = [
    "name",
    "cpu_milli",
    "memory_mib",
    "num_gpu",
    "gpu_milli",
    "creation_time",
    "deletion_time",
];

/// Reads the nodes and the pods of a trace.
pub(crate) fn read(nodes: &Path, pods: &Path) -> Result<Workload> {
    let load = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let name = |path: &Path| {
        Path::new(path.file_name().unwrap_or(path.as_os_str()))
            .display()
            .to_string()
    };
    let origin = format!("{}, {}", name(nodes), name(pods));
    let nodes = read_nodes(&nodes.display().to_string(), &load(nodes)?)?;
    let pods = read_pods(&pods.display().to_string(), &load(pods)?)?;
    Ok(Workload::new(origin, nodes, pods))
}

fn read_nodes(file: &str, bytes: &[u8]) -> Result<Vec<Node>, MalformedTrace> {
    read_rows(Source { file, bytes }, NODE_COLUMNS, |row| {
        let size = Size {
            cpu_milli: row.number("cpu_milli")?,
            memory_mib: row.number("memory_mib")?,
            gpus: row.number("gpu")?,
            gpu_milli: 1000,
        };
        Node::new(row.text("sn").to_owned(), size).map_err(|problem| row.implausible("gpu", problem))
    })
}

fn read_pods(file: &str, bytes: &[u8]) -> Result<Vec<Pod>, MalformedTrace> {
    read_rows(Source { file, bytes }, POD_COLUMNS, |row| {
        let size = Size {
            cpu_milli: row.number("cpu_milli")?,
            memory_mib: row.number("memory_mib")?,
            gpus: row.number("num_gpu")?,
            gpu_milli: row.number("gpu_milli")?,
        };
        let (created, deleted) = (row.number("creation_time")?, row.number("deletion_time")?);
        Pod::new(row.text("name").to_owned(), size, created, deleted)
            .map_err(|problem| row.implausible("num_gpu", problem))
    })
}

/// Reads all rows. The columns may come in any order and between others. The first of `columns` is
/// the name, which must be unique.
fn read_rows<T, const N: usize>(
    source: Source<'_>,
    columns: [&'static str; N],
    read_row: impl Fn(&Row<'_>) -> Result<T, MalformedTrace>,
) -> Result<Vec<T>, MalformedTrace> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(source.bytes);
    let headers = reader.headers().map_err(|error| source.unreadable(&error))?.clone();
    let mut places = Vec::with_capacity(N);
    for column in columns {
        let mut found = headers.iter().enumerate().filter(|(_, header)| *header == column);
        let problem = match (found.next(), found.next()) {
            (Some((place, _)), None) => {
                places.push((column, place));
                continue;
            }
            (None, _) => "is missing",
            (Some(_), Some(_)) => "is there twice",
        };
        return Err(source.malformed(Some(1), Some(column), problem.to_owned()));
    }

    let (mut rows, mut starts_by_name) = (Vec::new(), HashMap::new());
    for record in reader.records() {
        let record = record.map_err(|error| source.unreadable(&error))?;
        let row = Row {
            source,
            start: record.position().map_or(0, Position::byte),
            record: &record,
            places: &places,
        };
        let name = row.text(columns[0]);
        if name.is_empty() {
            return Err(row.problem(columns[0], "is empty".to_owned()));
        }
        if let Some(first) = starts_by_name.insert(name.to_owned(), row.start) {
            let line = source.line_of(first);
            return Err(row.problem(columns[0], format!("{name:?} is already on line {line}")));
        }
        rows.push(read_row(&row)?);
    }
    if rows.is_empty() {
        return Err(source.malformed(Some(1), None, "there are no rows below the header".to_owned()));
    }
    Ok(rows)
}

/// A file with its content.
#[derive(Debug, Clone, Copy)]
struct Source<'a> {
    file: &'a str,
    bytes: &'a [u8],
}

impl Source<'_> {
    /// Returns the line on which the record that starts at a byte stands.
    ///
    /// The position of a record names a line too, but an earlier one: the line feed of the CR LF
    /// before the record, and empty lines, belong to the record for the reader.
    fn line_of(&self, start: u64) -> usize {
        let is_line_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.bytes.len());
        let skipped = self.bytes[start..].iter().take_while(|byte| is_line_end(byte)).count();
        let before = &self.bytes[..start + skipped];
        let pairs = before.windows(2).filter(|pair| pair == b"\r\n").count();
        1 + before.iter().filter(|byte| is_line_end(byte)).count() - pairs
    }

    fn unreadable(&self, error: &csv::Error) -> MalformedTrace {
        let problem = match error.kind() {
            ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{len} fields, but the header has {expected_len}")
            }
            ErrorKind::Utf8 { err, .. } => format!("field {}: not UTF-8", err.field() + 1),
            _ => error.to_string(),
        };
        let line = error.position().map(|position| self.line_of(position.byte()));
        self.malformed(line, None, problem)
    }

    fn malformed(&self, line: Option<usize>, column: Option<&'static str>, problem: String) -> MalformedTrace {
        MalformedTrace {
            file: self.file.to_owned(),
            line,
            column,
            problem,
        }
    }
}

/// One row of a file that has all columns.
struct Row<'a> {
    source: Source<'a>,
    /// The place of the record in the file, in bytes.
    start: u64,
    record: &'a StringRecord,
    places: &'a [(&'static str, usize)],
}

impl Row<'_> {
    fn text(&self, column: &str) -> &str {
        let place = self.places.iter().find(|(name, _)| *name == column);
        place.and_then(|(_, place)| self.record.get(*place)).unwrap_or_default()
    }

    fn number(&self, column: &'static str) -> Result<u64, MalformedTrace> {
        let text = self.text(column);
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().map_err(|_| {
            let expected = if is_number {
                "larger than can be counted"
            } else {
                "not a whole number"
            };
            self.problem(column, format!("{text:?} is {expected}"))
        })
    }

    fn implausible(&self, gpu_column: &'static str, implausible: Implausible) -> MalformedTrace {
        let column = match implausible.quantity {
            Quantity::Cpu => "cpu_milli",
            Quantity::Memory => "memory_mib",
            Quantity::Gpus => gpu_column,
            Quantity::GpuMilli => "gpu_milli",
            Quantity::Creation => "creation_time",
            Quantity::Deletion => "deletion_time",
        };
        self.problem(column, implausible.problem)
    }

    fn problem(&self, column: &'static str, problem: String) -> MalformedTrace {
        let line = self.source.line_of(self.start);
        self.source.malformed(Some(line), Some(column), problem)
    }
}

/// The place and the reason of an error in a trace.
#[derive(Debug, thiserror::Error)]
struct MalformedTrace {
    file: String,
    line: Option<usize>,
    column: Option<&'static str>,
    problem: String,
}

impl fmt::Display for MalformedTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match self.column {
            Some(column) => write!(f, ": column {column}: {}", self.problem),
            None => write!(f, ": {}", self.problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slot_manager::Timestamp;

    use super::*;
    use crate::workload::Slicing;

    const POD_HEADER: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,\
                              deletion_time,scheduled_time";

    fn pods(rows: &[&str]) -> Result<Vec<Pod>, MalformedTrace> {
        let text = [&[POD_HEADER], rows].concat().join("\n");
        read_pods("pods.csv", text.as_bytes())
    }

    fn pod_error(row: &str) -> String {
        let good = "good,12000,16384,1,1000,,LS,Running,0,12537496,0";
        pods(&[good, row]).unwrap_err().to_string()
    }

    #[test]
    fn rows_of_the_trace_are_read() {
        let nodes =
            "sn,cpu_milli,memory_mib,gpu,model\nopenb-node-0000,32000,262144,0,\nopenb-node-0228,128000,786432,8,G3\n";
        let nodes = read_nodes("nodes.csv", nodes.as_bytes()).unwrap();
        assert_eq!(nodes.iter().map(|node| node.slots).collect::<Vec<_>>(), [4, 8]);
        let pods = pods(&["openb-pod-0001,6000,12288,1,460,,LS,Pending,427061,12902960,"]).unwrap();
        assert_eq!(pods[0].name, "openb-pod-0001");
        assert_eq!(pods[0].created, Timestamp::from_secs(427_061));
        assert_eq!(pods[0].deleted, Timestamp::from_secs(12_902_960));
    }

    #[test]
    fn columns_may_come_in_any_order_between_others_with_any_line_end() {
        let text = "\u{feff}gpu,colour,memory_mib,sn,cpu_milli\r\n2, red,131072,\"a, b\",32000\r\n\r\n0,,1,c,1\r\n";
        let nodes = read_nodes("nodes.csv", text.as_bytes()).unwrap();
        assert_eq!(nodes[0].name, "a, b");
        assert_eq!(nodes[0].slots, 2);
        assert_eq!(nodes.len(), 2);
    }

    #[test]
    fn a_field_that_is_no_number_is_named_with_file_line_and_column() {
        let number = |text: &str| pod_error(&format!("p,{text},16384,1,1000,,LS,Running,0,9,0"));
        assert_eq!(
            number("12x"),
            "pods.csv:3: column cpu_milli: \"12x\" is not a whole number"
        );
        assert_eq!(
            number("-1"),
            "pods.csv:3: column cpu_milli: \"-1\" is not a whole number"
        );
        assert_eq!(
            number("1.5"),
            "pods.csv:3: column cpu_milli: \"1.5\" is not a whole number"
        );
        assert_eq!(number(""), "pods.csv:3: column cpu_milli: \"\" is not a whole number");
        assert!(number("99999999999999999999").ends_with("is larger than can be counted"));
    }

    #[test]
    fn implausible_rows_are_named_with_file_line_and_column() {
        assert_eq!(
            pod_error("p,1,1,0,0,,LS,Running,100,99,0"),
            "pods.csv:3: column deletion_time: 99 is before the creation at 100"
        );
        assert_eq!(
            pod_error("p,1,1,70000,1000,,LS,Running,0,9,0"),
            "pods.csv:3: column num_gpu: 70000 makes 70000 slots, more than 10000"
        );
        assert_eq!(
            pod_error("good,1,1,0,0,,LS,Running,0,9,0"),
            "pods.csv:3: column name: \"good\" is already on line 2"
        );
        assert_eq!(
            pod_error(",1,1,0,0,,LS,Running,0,9,0"),
            "pods.csv:3: column name: is empty"
        );
    }

    #[test]
    fn a_row_of_another_length_is_named_with_file_and_line() {
        assert_eq!(pod_error("p,1,1,0,0"), "pods.csv:3: 5 fields, but the header has 11");
    }

    /// The first wrong row is on line 5, below an empty line and a name with a line end in it.
    #[test]
    fn errors_name_the_line_of_their_row_with_any_line_end() {
        fn lines(wrong: &str) -> [&str; 7] {
            [
                "sn,cpu_milli,memory_mib,gpu",
                "",
                "\"a",
                "b\",1,1,0",
                wrong,
                "c,1,1,0",
                wrong,
            ]
        }
        for line_end in ["\n", "\r\n", "\r"] {
            let error = |wrong: &str| {
                let text = lines(wrong).join(line_end);
                read_nodes("nodes.csv", text.as_bytes()).unwrap_err().to_string()
            };
            assert_eq!(
                error("d,x,1,0"),
                "nodes.csv:5: column cpu_milli: \"x\" is not a whole number",
                "{line_end:?}"
            );
            assert_eq!(
                error("d,1"),
                "nodes.csv:5: 2 fields, but the header has 4",
                "{line_end:?}"
            );
            assert_eq!(
                error("d,1,1,0"),
                "nodes.csv:7: column sn: \"d\" is already on line 5",
                "{line_end:?}"
            );
            let mut bytes = lines("d,1,1,0").join(line_end).into_bytes();
            bytes
                .iter_mut()
                .filter(|byte| **byte == b'd')
                .for_each(|byte| *byte = 0xff);
            let error = read_nodes("nodes.csv", &bytes).unwrap_err().to_string();
            assert_eq!(error, "nodes.csv:5: field 1: not UTF-8", "{line_end:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_named_with_file_and_line() {
        let error = read_nodes("nodes.csv", b"sn,cpu_milli,memory_mib,gpu\n\xff,1,1,0\n").unwrap_err();
        assert_eq!(error.to_string(), "nodes.csv:2: field 1: not UTF-8");
    }

    #[test]
    fn a_missing_or_repeated_column_and_an_empty_file_are_named() {
        let error = |text: &str| read_nodes("nodes.csv", text.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            error("sn,cpu_milli,memory_mib\na,1,1\n"),
            "nodes.csv:1: column gpu: is missing"
        );
        assert_eq!(
            error("sn,sn,cpu_milli,memory_mib,gpu\n"),
            "nodes.csv:1: column sn: is there twice"
        );
        assert_eq!(error(""), "nodes.csv:1: column sn: is missing");
        assert_eq!(
            error("sn,cpu_milli,memory_mib,gpu\n"),
            "nodes.csv:1: there are no rows below the header"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("no such nodes.csv"), Path::new("pods.csv")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read no such nodes.csv");
    }

    /// Numbers of all sizes, and texts that are no numbers.
    fn field() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => (0..20_000_u64).prop_map(|number| number.to_string()),
            1 => any::<u64>().prop_map(|number| number.to_string()),
            1 => prop::sample::select(vec!["", "-1", "+1", "1e9", "\"1\"", "18446744073709551616", "10000000000", " 7 "])
                .prop_map(str::to_owned),
        ]
    }

    /// A header and rows, correct or with a few wrong bytes.
    fn file(header: &'static str, columns: usize) -> impl Strategy<Value = Vec<u8>> {
        let row = ("[a-d\"]{0,3}", prop::collection::vec(field(), columns - 1))
            .prop_map(|(name, fields)| format!("{name},{}", fields.join(",")));
        let text = prop::collection::vec(row, 0..5).prop_map(move |rows| format!("{header}\n{}", rows.join("\n")));
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        (text, changes).prop_map(|(text, changes)| {
            let mut bytes = text.into_bytes();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn any_file_is_refused_by_its_name_or_has_plausible_rows(
            nodes in prop_oneof![file("sn,cpu_milli,memory_mib,gpu", 4), any::<Vec<u8>>()],
            pods in prop_oneof![
                file("name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time", 7),
                any::<Vec<u8>>(),
            ],
            compression in 1.0..1e9,
        ) {
            let nodes = read_nodes("nodes.csv", &nodes);
            let pods = read_pods("pods.csv", &pods);
            for (file, error) in [("nodes.csv", nodes.as_ref().err()), ("pods.csv", pods.as_ref().err())] {
                prop_assert!(error.is_none_or(|error| error.to_string().starts_with(file)));
            }
            let (nodes, pods) = (nodes.unwrap_or_default(), pods.unwrap_or_default());
            prop_assert!(nodes.iter().all(|node| (1..=10_000).contains(&node.slots) && !node.name.is_empty()));
            prop_assert!(pods.iter().all(|pod| (1..=10_000).contains(&pod.slots) && !pod.name.is_empty()));
            let mut workload = Workload::new(String::new(), nodes, pods);
            workload.compress(compression);
            prop_assert!(workload.pods.iter().all(|pod| pod.created <= pod.deleted && pod.deleted < Timestamp::MAX));
            for slicing in [Slicing::Static, Slicing::Dynamic] {
                prop_assert!(workload.fits(slicing).len() == workload.pods.len());
            }
        }
    }
}
