//! The process itself, out of `/proc`.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Value, encode, level};

/// Clock ticks a second in `/proc`: 100 on every Linux that Rust runs on.
const TICKS_PER_SEC: f64 = 100.0;

/// The process, read at scrape time.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (cpu, threads) = stat(&fs::read_to_string("/proc/self/stat").unwrap_or_default());
        let resident = resident(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        encode(
            &mut encoder,
            &[
                ("process_cpu_seconds", "CPU time, user and system", Value::Sum(cpu)),
                ("process_resident_memory_bytes", "Memory that is resident", Value::Level(resident)),
                ("process_threads", "Threads", Value::Level(threads)),
                ("process_open_fds", "Open file descriptors", level(files as u64)),
            ],
        )
    }
}

/// CPU seconds and threads out of `/proc/self/stat` (`proc_pid_stat(5)`, fields 14, 15 and 20).
fn stat(text: &str) -> (f64, f64) {
    // The second field, the program's name in brackets, may hold spaces itself.
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let field = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    ((field(11) + field(12)) / TICKS_PER_SEC, field(17))
}

/// Resident bytes out of `/proc/self/status`.
fn resident(text: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|text| text.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1_024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_linux_says_of_a_process() {
        let text = "7 (a ) b) S 1 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 9 0 100 1 1";
        assert_eq!(stat(text), (2.0, 9.0));
        assert_eq!(resident("Name:\tx\nVmRSS:\t   2048 kB\n"), 2_097_152.0);
        assert_eq!((stat(""), resident("")), ((0.0, 0.0), 0.0));
    }
}
