//! Whether an archive holds the rows that it is to hold, by its own list of contents.
//!
//! A pattern that matched nothing, or more than was meant, is no error to pg_dump, and rows that are in both archives of a
//! database are loaded twice. Tables are compared by their object ids: names in the list are in the archive's encoding.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use crate::inspect::DumpedTable;
use crate::names::{Kind, TableName, some_of};
use crate::plan::Side;
use crate::postgres::escape_control;
use crate::process::restore_log::Toc;
use crate::step::restore::list;
use crate::step::{Context, LockedSnapshot, StepError};

/// Names in a message.
const SHOWN: usize = 5;

/// Fails where rows are missing, or where there are rows of tables that the other archive of the database holds.
pub(super) async fn ensure(
    context: &Context,
    archive: &Path,
    snapshot: &LockedSnapshot,
) -> Result<(), StepError> {
    let rows = Toc::table_rows(&list(context, archive, None).await?);
    let listed: HashSet<u32> = rows.into_iter().map(|rows| rows.table).collect();
    let delayed = context.delayed_tables();
    let wrong = compare(
        &listed,
        snapshot.tables(),
        context.step().id.kind == Kind::DelayedDump,
        &delayed,
        context.is_standby(Side::Source),
    );
    if wrong.is_empty() {
        return Ok(());
    }
    Err(StepError::new(format!(
        "database \"{}\": the archive that pg_dump wrote does not hold what it is to hold: {}",
        context.shown_database(),
        wrong.join("; ")
    ))
    .help(format!(
        "nothing of it is restored; compare what it lists (pg_restore --list {}) with the tables of the source, and see \
         whether pg_dump on PATH is PostgreSQL's own",
        archive.display()
    )))
}

/// What is wrong with an archive, in words.
fn compare(
    listed: &HashSet<u32>,
    tables: &[DumpedTable],
    is_delayed_dump: bool,
    delayed: &BTreeSet<TableName>,
    is_standby: bool,
) -> Vec<String> {
    let belongs = |table: &&DumpedTable| delayed.contains(&table.name) == is_delayed_dump;
    let missing = tables.iter().filter(belongs).filter(|table| {
        table.has_rows && !(is_standby && table.is_unlogged) && !listed.contains(&table.oid)
    });
    let extra = tables
        .iter()
        .filter(|table| !belongs(table) && listed.contains(&table.oid));
    let extra_words = if is_delayed_dump {
        "there are rows of tables that are not delayed"
    } else {
        "there are rows of delayed tables"
    };
    [
        ("rows are missing of", names(missing)),
        (extra_words, names(extra)),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(words, names)| format!("{words} {names}"))
    .collect()
}

fn names<'a>(tables: impl Iterator<Item = &'a DumpedTable>) -> String {
    let names: Vec<String> = tables
        .map(|table| escape_control(&table.name.to_string()).into_owned())
        .collect();
    some_of(&names, SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(oid: u32, name: &str) -> DumpedTable {
        DumpedTable {
            oid,
            file: oid,
            name: TableName::new("public", name),
            has_rows: true,
            is_unlogged: false,
        }
    }

    #[test]
    fn rows_belong_to_one_of_the_two_archives() {
        let mut unlogged = table(3, "scratch");
        unlogged.is_unlogged = true;
        let mut parted = table(4, "parted");
        parted.has_rows = false;
        let tables = [table(1, "small"), table(2, "huge"), unlogged, parted];
        let delayed = BTreeSet::from([TableName::new("public", "huge")]);
        let regular = |listed: &[u32], is_standby| {
            let listed = listed.iter().copied().collect();
            compare(&listed, &tables, false, &delayed, is_standby).join("; ")
        };
        assert_eq!(regular(&[1, 3], false), "");
        // Rows of an extension's configuration in a schema of the system, say.
        assert_eq!(regular(&[1, 3, 99], false), "");
        assert_eq!(regular(&[1], true), "");
        assert_eq!(
            regular(&[1, 2], false),
            "rows are missing of public.scratch; there are rows of delayed tables public.huge"
        );
        let later = |listed: &[u32]| {
            let listed = listed.iter().copied().collect();
            compare(&listed, &tables, true, &delayed, false).join("; ")
        };
        assert_eq!(later(&[2]), "");
        assert_eq!(
            later(&[3]),
            "rows are missing of public.huge; there are rows of tables that are not delayed public.scratch"
        );
    }
}
