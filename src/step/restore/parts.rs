//! The parts of an archive, in the order in which they are restored.
//!
//! One pg_restore with jobs makes some things too early, for nothing in the archive makes them wait: a trigger of a
//! partitioned table, which has no rows of its own, before the rows of the partitions; an event trigger before the
//! refreshes that it sees. And with one job its messages come whole, so definitions and privileges, where most errors
//! are, are restored by one: jobs would gain little, since a leader makes definitions one after the other as well.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::catalog::ServerFacts;
use crate::graph::PARTS;
use crate::postgres::VALUES_FROM_TEXT;
use crate::process::restore_log::{Entry, Toc};
use crate::step::StepError;
use crate::step::archive::LIST;

/// A table of contents of a million objects stays below it.
pub(super) const LARGEST_LISTING: usize = 512 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// What rows need: types, functions, tables, views.
    PreData,
    /// Rows of tables, where a login of its own loads them.
    Rows,
    /// Rows, large objects, the state of sequences.
    Data,
    /// Indexes, constraints, triggers.
    PostData,
    /// After whatever an owner needs his own for: he may have revoked them. One pass for each role that restores some.
    Privileges,
    /// Materialized views, and their statistics.
    Refresh,
    /// After all that they could see.
    EventTriggers,
}

impl Part {
    pub(super) const ALL: [Part; 7] = [
        Part::PreData,
        Part::Rows,
        Part::Data,
        Part::PostData,
        Part::Privileges,
        Part::Refresh,
        Part::EventTriggers,
    ];

    /// What it is called, also as the name of a file.
    pub(super) fn word(self) -> &'static str {
        match self {
            Part::PreData => "pre-data",
            Part::Rows => "rows",
            Part::Data => "data",
            Part::PostData => "post-data",
            Part::Privileges => "privileges",
            Part::Refresh => "refresh",
            Part::EventTriggers => "event-triggers",
        }
    }

    pub(super) fn jobs(self, jobs: u32) -> u32 {
        match self {
            Part::PreData | Part::Privileges | Part::EventTriggers => 1,
            Part::Rows | Part::Data | Part::PostData | Part::Refresh => jobs,
        }
    }

    /// What its sessions set for themselves. Everything else is as the database's settings say.
    pub(super) fn settings(self, target: &ServerFacts) -> Vec<(&'static str, &'static str)> {
        let mut settings = match self {
            // It reads no text but computes rows, as a refresh by a client would.
            Part::Refresh => Vec::new(),
            _ => VALUES_FROM_TEXT.to_vec(),
        };
        if matches!(self, Part::Rows | Part::Data) && target.sets_replication_role {
            // Tables of extensions have their triggers and foreign keys already.
            settings.push(("session_replication_role", "replica"));
        }
        settings
    }

    /// In which part an entry belongs that pg_restore counts to this section. `by_login`: a login of its own loads
    /// the rows.
    fn of(entry: &Entry, section: Part, by_login: bool) -> Part {
        let description = entry.description.as_str();
        match description {
            "TABLE DATA" if by_login => Part::Rows,
            "ACL" | "DEFAULT ACL" => Part::Privileges,
            "MATERIALIZED VIEW DATA" => Part::Refresh,
            "STATISTICS DATA" if section == Part::PostData => Part::Refresh,
            "EVENT TRIGGER" => Part::EventTriggers,
            "COMMENT" | "SECURITY LABEL"
                if entry.schema.is_none() && entry.tag.starts_with("EVENT TRIGGER ") =>
            {
                Part::EventTriggers
            }
            _ => section,
        }
    }
}

/// What one pg_restore restores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    pub part: Part,
    /// The owner in whose name it does, where our role may take that on.
    pub role: Option<String>,
    /// Dump ids.
    pub entries: Vec<u32>,
}

/// The entries of each part, in the order of the archive. `pre_data` and `data` are the dump ids that pg_restore lists
/// for these sections; what is in neither comes after the data. `by_login`: whether a
/// login of its own loads an entry's rows.
pub(super) fn split(
    toc: &Toc,
    all: &[u32],
    pre_data: &HashSet<u32>,
    data: &HashSet<u32>,
    by_login: impl Fn(&Entry) -> bool,
) -> Vec<Pass> {
    let part_of = |id: &u32| {
        let section = match id {
            id if pre_data.contains(id) => Part::PreData,
            id if data.contains(id) => Part::Data,
            _ => Part::PostData,
        };
        toc.get(*id)
            .map_or(section, |entry| Part::of(entry, section, by_login(entry)))
    };
    let mut passes = Part::ALL.map(|part| Pass {
        part,
        role: None,
        entries: Vec::new(),
    });
    for id in all {
        passes[part_of(id) as usize].entries.push(*id);
    }
    let passes = passes.into_iter();
    passes.filter(|pass| !pass.entries.is_empty()).collect()
}

/// Names the part's entries in a file beside those of pg_dump, for `pg_restore --use-list`.
pub(super) fn write_list(
    archive: &Path,
    part: Part,
    entries: &[u32],
) -> Result<PathBuf, StepError> {
    let path = archive.join(format!("{}.{LIST}", part.word()));
    let list: String = entries.iter().map(|id| format!("{id};\n")).collect();
    std::fs::write(&path, list).map_err(|error| {
        StepError::new(format!("cannot write {}: {error}", path.display()))
            .help("look at the free space of dump.root")
    })?;
    Ok(path)
}

/// The step's command for one part. `role`: the one that its sessions take on.
pub(super) fn command(
    command: &[String],
    list: &Path,
    jobs: u32,
    role: Option<&str>,
) -> Vec<String> {
    let of_part = |argument: &String| match argument.as_str() {
        PARTS => format!("--use-list={}", list.display()),
        other if other.starts_with("--jobs=") => format!("--jobs={jobs}"),
        other => other.to_owned(),
    };
    let mut command: Vec<String> = command.iter().map(of_part).collect();
    if let Some(role) = role {
        command.insert(1, format!("--role={role}"));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_could_see_or_miss_comes_late() {
        let listing = "5; 2615 1 SCHEMA - s postgres\n\
                       6; 1259 2 TABLE s t postgres\n\
                       16; 0 2 ACL s TABLE t postgres\n\
                       7; 0 2 TABLE DATA s t postgres\n\
                       8; 2606 3 CONSTRAINT s t t_pkey postgres\n\
                       9; 2620 4 TRIGGER s t touch postgres\n\
                       10; 3466 5 EVENT TRIGGER - log postgres\n\
                       11; 0 5 COMMENT - EVENT TRIGGER log postgres\n\
                       12; 0 6 MATERIALIZED VIEW DATA s v postgres\n\
                       13; 0 0 STATISTICS DATA s v \n\
                       14; 0 0 STATISTICS DATA s t \n";
        let toc = Toc::parse(listing, ["postgres"]);
        let all = Toc::ids(listing);
        let shown = |rows| {
            let (pre_data, data) = (HashSet::from([5, 6, 16]), HashSet::from([7, 14]));
            let passes = split(&toc, &all, &pre_data, &data, |_| rows);
            let passes = passes
                .iter()
                .map(|pass| format!("{}: {:?}", pass.part.word(), pass.entries));
            passes.collect::<Vec<String>>().join("\n")
        };
        assert!(shown(true).contains("\nrows: [7]\ndata: [14]\n"));
        insta::assert_snapshot!(shown(false), @r"
        pre-data: [5, 6]
        data: [7, 14]
        post-data: [8, 9]
        privileges: [16]
        refresh: [12, 13]
        event-triggers: [10, 11]
        ");
    }

    #[test]
    fn every_part_has_its_own_command() {
        let planned = ["pg_restore", "--jobs=12", PARTS, "/dumps/erp"].map(str::to_owned);
        assert_eq!(
            command(&planned, Path::new("/dumps/erp/data.list"), 4, Some("app")),
            [
                "pg_restore",
                "--role=app",
                "--jobs=4",
                "--use-list=/dumps/erp/data.list",
                "/dumps/erp"
            ]
        );
    }
}
