//! Known security holes of client programs and servers that matter to a migration, by minor version.
//!
//! To extend it: an entry of [`HOLES`], with the minor versions of the release notes, and its row in the test.

use crate::catalog::{Inspection, Version};
use crate::finding::{Code, Finding, Severity};

/// In which programs a hole is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// pg_dump, pg_dumpall and pg_restore.
    Clients,
    /// The server that is read from.
    Source,
}

/// A hole, from <https://www.postgresql.org/support/security/> and the release notes.
struct Hole {
    cve: &'static str,
    of: Of,
    /// The first minor version of each major version without it. Older major versions have it, newer ones never had it.
    fixed: &'static [(u32, u32)],
    what: &'static str,
    severity: Severity,
}

const HOLES: [Hole; 6] = [
    Hole {
        cve: "CVE-2024-7348",
        of: Of::Clients,
        fixed: &AUGUST_2024,
        what: "an owner who puts a view in the place of a table while it is dumped has his functions run with the rights of the source's role",
        severity: Severity::Warn,
    },
    Hole {
        cve: "CVE-2024-7348",
        of: Of::Source,
        fixed: &AUGUST_2024,
        what: "an owner who puts a view in the place of a table while it is read has his functions run with the rights of the source's role",
        severity: Severity::Warn,
    },
    Hole {
        cve: "CVE-2025-1094",
        of: Of::Clients,
        fixed: &[(13, 19), (14, 16), (15, 11), (16, 7), (17, 3), (18, 0)],
        what: "text in an encoding that is not valid gets out of its quotes",
        severity: Severity::Warn,
    },
    Hole {
        cve: "CVE-2025-8714",
        of: Of::Clients,
        fixed: &AUGUST_2025,
        what: "a superuser of the source puts commands into a script that psql runs",
        severity: Severity::Warn,
    },
    Hole {
        cve: "CVE-2025-8715",
        of: Of::Clients,
        fixed: &AUGUST_2025,
        what: "the owner of an object whose name has a line feed puts statements into a restore, which run with the rights of the target's role",
        severity: Severity::Block,
    },
    Hole {
        cve: "CVE-2026-6477",
        of: Of::Clients,
        fixed: &[(14, 23), (15, 18), (16, 14), (17, 10), (18, 4)],
        what: "a superuser of the source writes to the memory of pg_dump where it reads large objects",
        severity: Severity::Warn,
    },
];

/// 16.4 and its like.
const AUGUST_2024: [(u32, u32); 6] = [(12, 20), (13, 16), (14, 13), (15, 8), (16, 4), (17, 0)];

/// 17.6 and its like; 18 had betas before.
const AUGUST_2025: [(u32, u32); 6] = [(13, 22), (14, 19), (15, 14), (16, 10), (17, 6), (18, 0)];

impl Hole {
    /// Whether this version has it. A beta comes before the release that it is called after.
    fn is_in(&self, version: Version, is_beta: bool) -> bool {
        let (major, minor) = (version.major() / 100, version.0 % 10_000);
        let known = self.fixed.iter().find(|(of, _)| *of == major);
        match known {
            Some((_, fixed)) => minor < *fixed || is_beta,
            None => self.fixed.iter().all(|(of, _)| *of > major),
        }
    }

    /// The first minor version of this major version without it; `None`: there is none.
    fn fixed_in(&self, version: Version) -> Option<(u32, u32)> {
        let major = version.major() / 100;
        self.fixed.iter().find(|(of, _)| *of == major).copied()
    }
}

/// What client programs and source have. Of servers for which no release has the fix, `pg-migrate explain security` says it.
pub(super) fn for_versions(inspection: &Inspection) -> Vec<Finding> {
    let client = &inspection.client;
    let source = inspection.source.version;
    let newest = source.max(inspection.target.version);
    // Those that are too old are replaced anyhow.
    let clients = about(Of::Clients, client.version, client.is_beta)
        .filter(|_| client.version.major() >= newest.major());
    let source = about(Of::Source, source, false).filter(|_| source.major() >= 1200);
    clients.into_iter().chain(source).collect()
}

fn about(of: Of, version: Version, is_beta: bool) -> Option<Finding> {
    let holes = HOLES.iter();
    let found: Vec<&Hole> = holes
        .filter(|hole| hole.of == of && hole.is_in(version, is_beta))
        .collect();
    let severity = found.iter().map(|hole| hole.severity).min()?;
    let listed: Vec<String> = found
        .iter()
        .map(|hole| format!("{} ({})", hole.cve, hole.what))
        .collect();
    let fixed = found.iter().filter_map(|hole| hole.fixed_in(version)).max();
    let wanted = match fixed {
        Some((major, minor)) => format!("PostgreSQL {major}.{minor} or later"),
        None => "a major version that is still supported".to_owned(),
    };
    let beta = if is_beta { " (a beta)" } else { "" };
    let (code, programs, fix) = match of {
        Of::Clients => (
            Code::ClientKnownHole,
            "the client programs",
            format!("install the client programs of {wanted} and put them first on PATH"),
        ),
        Of::Source => (
            Code::SourceKnownHole,
            "the source",
            format!(
                "update the source to {wanted}; or let no owner change objects while the run reads from it (ALTER ROLE … NOLOGIN, pg_hba.conf)"
            ),
        ),
    };
    let message = format!(
        "{programs} of version {version}{beta} have known security holes that matter to a migration: {}",
        listed.join("; ")
    );
    let message = match of {
        Of::Source => message.replace(
            " have known security holes that matter",
            " has a known security hole that matters",
        ),
        Of::Clients => message,
    };
    Some(Finding::new(code, message).severity(severity).fix(fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(of: Of, version: u32, is_beta: bool) -> String {
        let found = about(of, Version(version), is_beta);
        let words = found.map(|found| {
            let cves = HOLES
                .iter()
                .filter(|hole| hole.of == of && found.message.contains(hole.cve));
            let cves: Vec<&str> = cves.map(|hole| hole.cve).collect();
            format!("{:?} {}", found.severity, cves.join(" "))
        });
        words.unwrap_or_default()
    }

    #[test]
    fn each_version_has_the_holes_that_were_fixed_after_it() {
        let all = "CVE-2024-7348 CVE-2025-1094 CVE-2025-8714 CVE-2025-8715 CVE-2026-6477";
        for (version, is_beta, expected) in [
            (180_004, false, String::new()),
            (180_006, false, String::new()),
            (190_000, true, String::new()),
            (180_003, false, "Warn CVE-2026-6477".to_owned()),
            (
                180_000,
                true,
                "Block CVE-2025-1094 CVE-2025-8714 CVE-2025-8715 CVE-2026-6477".to_owned(),
            ),
            (
                170_005,
                false,
                "Block CVE-2025-8714 CVE-2025-8715 CVE-2026-6477".to_owned(),
            ),
            (
                170_002,
                false,
                "Block CVE-2025-1094 CVE-2025-8714 CVE-2025-8715 CVE-2026-6477".to_owned(),
            ),
            (160_003, false, format!("Block {all}")),
            (100_023, false, format!("Block {all}")),
        ] {
            assert_eq!(holes(Of::Clients, version, is_beta), expected, "{version}");
        }
        for (version, expected) in [
            (160_004, ""),
            (160_003, "Warn CVE-2024-7348"),
            (120_022, ""),
            (120_019, "Warn CVE-2024-7348"),
        ] {
            assert_eq!(holes(Of::Source, version, false), expected, "{version}");
        }
    }

    #[test]
    fn what_to_install_has_none_of_them() {
        let found = about(Of::Clients, Version(160_003), false).unwrap();
        insta::assert_snapshot!(found.fix.unwrap(), @"install the client programs of PostgreSQL 16.14 or later and put them first on PATH");
        let found = about(Of::Clients, Version(120_022), false).unwrap();
        insta::assert_snapshot!(found.fix.unwrap(), @"install the client programs of a major version that is still supported and put them first on PATH");
        assert_eq!(found.code, Code::ClientKnownHole);
        let found = about(Of::Source, Version(160_003), false).unwrap();
        assert_eq!(found.code, Code::SourceKnownHole);
        insta::assert_snapshot!(found.message, @"the source of version 16.3 has a known security hole that matters to a migration: CVE-2024-7348 (an owner who puts a view in the place of a table while it is read has his functions run with the rights of the source's role)");
    }
}
