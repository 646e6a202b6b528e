//! Resource profiles as text, such as `cpu=1,memory=100MiB,gpu=0.5`.

use slot_manager::ResourceProfile;

use super::limits;

/// Reads a profile: `any`, `unknown`, or amounts that are separated by commas.
///
/// `cpu` is a number of cores. `memory` is that of the task's heap; `off-heap-memory`,
/// `managed-memory` and `network-memory` are the other kinds. A size is a number of bytes, or has
/// one of the units B, KiB, MiB, GiB and TiB. Every other name is an extended resource.
pub fn parse_profile(text: &str) -> Result<ResourceProfile, String> {
    match text {
        "any" => return Ok(ResourceProfile::ANY),
        "unknown" => return Ok(ResourceProfile::UNKNOWN),
        _ => {}
    }
    let mut names = Vec::new();
    let mut builder = ResourceProfile::builder();
    for part in text.split(',') {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| format!("{part:?} is not NAME=AMOUNT"))?;
        let (name, value) = (name.trim(), value.trim());
        if names.contains(&name) {
            return Err(format!("{name:?} is there twice"));
        }
        names.push(name);
        builder = match name {
            "cpu" => builder.cpu_cores(parse_amount(name, value)?),
            "memory" => builder.task_heap_memory_bytes(parse_size(name, value)?),
            "off-heap-memory" => builder.task_off_heap_memory_bytes(parse_size(name, value)?),
            "managed-memory" => builder.managed_memory_bytes(parse_size(name, value)?),
            "network-memory" => builder.network_memory_bytes(parse_size(name, value)?),
            _ => {
                let resource = limits::name("the name of a resource", name.to_owned());
                let resource = resource.map_err(|error| error.to_string())?;
                builder.extended_resource(resource, parse_amount(name, value)?)
            }
        };
    }
    builder.build().map_err(|error| error.to_string())
}

/// Reads the resources of a dynamic worker: amounts, of which one is not zero.
pub fn parse_total(text: &str) -> Result<ResourceProfile, String> {
    let total = parse_profile(text)?;
    if total.cpu_cores().is_none() {
        return Err(format!(
            "a total has amounts, such as cpu=8,memory=16GiB, and is not {text}"
        ));
    }
    match ResourceProfile::ZERO.is_matching(&total) {
        true => Err("all amounts are zero: no slot could be cut".to_owned()),
        false => Ok(total),
    }
}

fn parse_amount(name: &str, value: &str) -> Result<f64, String> {
    value.parse().map_err(|_| format!("{name}: {value:?} is not a number"))
}

fn parse_size(name: &str, value: &str) -> Result<u64, String> {
    let unit_at = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(unit_at);
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => {
            return Err(format!(
                "{name}: {value:?} has none of the units B, KiB, MiB, GiB and TiB"
            ));
        }
    };
    let number: u64 = number.parse().map_err(|_| format!("{name}: {value:?} is not a size"))?;
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("{name}: {value:?} is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_become_a_profile() {
        let profile = parse_profile("cpu=1.5, memory=100MiB,managed-memory=1 GiB,network-memory=7,gpu=0.5").unwrap();
        let expected = ResourceProfile::builder()
            .cpu_cores(1.5)
            .task_heap_memory_mebibytes(100)
            .managed_memory_mebibytes(1024)
            .network_memory_bytes(7)
            .extended_resource("gpu", 0.5);
        assert_eq!(profile, expected.build().unwrap());
    }

    #[test]
    fn words_become_special_profiles() {
        assert_eq!(parse_profile("any"), Ok(ResourceProfile::ANY));
        assert_eq!(parse_profile("unknown"), Ok(ResourceProfile::UNKNOWN));
    }

    #[test]
    fn a_total_has_amounts() {
        assert_eq!(parse_total("cpu=8,gpu=2"), parse_profile("cpu=8,gpu=2"));
        assert_eq!(parse_total("managed-memory=1B"), parse_profile("managed-memory=1B"));
        for (text, error) in [
            ("any", "a total has amounts, such as cpu=8,memory=16GiB, and is not any"),
            (
                "unknown",
                "a total has amounts, such as cpu=8,memory=16GiB, and is not unknown",
            ),
            ("cpu=0,memory=0", "all amounts are zero: no slot could be cut"),
            (
                "cpu=8,memory=16g",
                "memory: \"16g\" has none of the units B, KiB, MiB, GiB and TiB",
            ),
        ] {
            assert_eq!(parse_total(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn bad_text_is_refused() {
        let bad = [
            "",
            "cpu",
            "cpu=",
            "cpu=one",
            "cpu=-1",
            "cpu=NaN",
            "memory=MiB",
            "memory=1.5GiB",
            "memory=1MB",
            "memory=99999999TiB",
            "=1",
            "cpu=1,",
            "gpu=1,gpu=2",
        ];
        for text in bad {
            assert!(parse_profile(text).is_err(), "{text:?}");
        }
    }
}
