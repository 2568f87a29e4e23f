//! `maintenance_work_mem`: each index build may take as much, and many run at a time.

use crate::catalog::Configuration;
use crate::catalog::value::{bytes, memory_text};
use crate::preflight::MemoryUse;

/// What the reference tool sets, and the most that an index build gets here.
const MOST: u64 = 2 << 30;
const MEGABYTE: u64 = 1 << 20;

const NAME: &str = "maintenance_work_mem";

/// The memory of the target, and how it is known.
pub(super) struct Memory {
    bytes: u64,
    is_read: bool,
    /// Of it, what shared buffers take.
    shared: u64,
    /// What the server gives each index build now.
    now: u64,
}

impl Memory {
    /// `None` for a server whose parameters are unknown.
    pub(super) fn from_configuration(configuration: &Configuration) -> Option<Memory> {
        let bytes_of = |name: &str| {
            let parameter = configuration.parameters.get(name)?;
            bytes(parameter, &parameter.setting)
        };
        let shared = bytes_of("shared_buffers")?;
        let assumed = bytes_of("effective_cache_size")?.max(4 * shared);
        Some(Memory {
            bytes: configuration.memory.unwrap_or(assumed),
            is_read: configuration.memory.is_some(),
            shared,
            now: bytes_of(NAME)?,
        })
    }

    /// What each of so many index builds gets: its part of half of what shared buffers leave, 2GB at most,
    /// and never less than the server would give it anyway.
    pub(super) fn fit(&self, jobs: u32) -> String {
        let half = self.bytes.saturating_sub(self.shared) / 2;
        let part = half / u64::from(jobs.max(1)) / MEGABYTE * MEGABYTE;
        memory_text(part.min(MOST).max(self.now))
    }

    /// What so many index builds may take in the worst case.
    pub(super) fn worst_case<'a>(
        &self,
        configuration: &Configuration,
        value: &'a str,
        jobs: u32,
    ) -> Option<MemoryUse<'a>> {
        let each = bytes(configuration.parameters.get(NAME)?, value)?;
        Some(MemoryUse {
            builds: jobs,
            value,
            bytes: each.saturating_mul(u64::from(jobs)),
            memory: self.bytes,
            is_read: self.is_read,
            shared: self.shared,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::configuration;
    use super::*;

    fn fit(memory: Option<u64>, jobs: u32) -> String {
        let mut configuration = configuration();
        configuration.memory = memory;
        Memory::from_configuration(&configuration)
            .unwrap()
            .fit(jobs)
    }

    #[test]
    fn a_large_server_gets_what_the_reference_tool_sets_and_a_small_one_its_part() {
        assert_eq!(fit(Some(64 << 30), 12), "2GB");
        assert_eq!(fit(Some(64 << 30), 72), "454MB");
        assert_eq!(fit(Some(4 << 30), 12), "165MB");
        // Not even the server's own 64MB fit, but they are the server's.
        assert_eq!(fit(Some(1 << 30), 72), "64MB");
        // effective_cache_size is 4GB unless it was changed.
        assert_eq!(fit(None, 12), "165MB");
    }

    #[test]
    fn the_worst_case_is_said() {
        let finding = |memory, value: &str, jobs| {
            let mut configuration = configuration();
            configuration.memory = memory;
            let memory = Memory::from_configuration(&configuration).unwrap();
            let worst = memory.worst_case(&configuration, value, jobs).unwrap();
            let finding = crate::preflight::for_memory(&worst);
            format!("{:?}: {}", finding.severity, finding.message)
        };
        insta::assert_snapshot!(
            [
                finding(Some(64 << 30), "2GB", 12),
                finding(Some(16 << 30), "2GB", 12),
                finding(None, "165MB", 1),
            ]
            .join("\n"),
            @"
        Info: 12 index builds at a time with maintenance_work_mem = 2GB each take up to 24.0 GB of the target's 64.0 GB of memory
        Warn: 12 index builds at a time with maintenance_work_mem = 2GB each take up to 24.0 GB of the target's 16.0 GB of memory
        Info: an index build with maintenance_work_mem = 165MB takes up to 165 MB of the target's memory, whose size may not be read (estimated as 4.0 GB from effective_cache_size and shared_buffers)
        "
        );
    }

    proptest! {
        #[test]
        fn what_is_chosen_leaves_half_of_the_memory(memory in 1_u64 << 28..1 << 44, jobs in 1..200_u32) {
            let mut configuration = configuration();
            configuration.memory = Some(memory);
            let found = Memory::from_configuration(&configuration).unwrap();
            let value = found.fit(jobs);
            let each = bytes(&configuration.parameters[NAME], &value).unwrap();
            prop_assert!(each <= MOST.max(found.now));
            prop_assert!(each == found.now || each * u64::from(jobs) <= memory / 2);
        }
    }
}
