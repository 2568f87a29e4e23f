//! What steps hand on: to the steps that read it, to the journal, to the report.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ColumnRemark, RelationKind, Sighting, TableColumns, TableName};

/// What a step yielded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// What a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(default, skip_serializing_if = "Product::is_nothing")]
    pub product: Product,
}

/// What other steps, later runs and the report go by: a type per kind of step that yields something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    #[default]
    Nothing,
    Globals(GlobalsRead),
    Dump(RegularDump),
    DelayedDump(DelayedDump),
    Counts(Counts),
    Restore(Restored),
    Comparison(Compared),
    DelayedLoad(Loaded),
}

impl Product {
    fn is_nothing(&self) -> bool {
        matches!(self, Product::Nothing)
    }
}

/// Of `globals`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalsRead {
    /// The digest of what the source says of each role and tablespace.
    pub subjects: BTreeMap<String, String>,
    /// Roles of the target that were left as they are.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kept: BTreeSet<String>,
}

/// Of `dump`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegularDump {
    pub dump: Dumped,
    /// The tables whose data it left to the delayed phase, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delayed: Vec<TableName>,
    /// Where the sequences stood at its snapshot: pg_dump reads them later, when clients may have set them back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<SequenceValue>,
    /// Where tables are delayed: what values of types meant at its snapshot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meanings: Vec<TypeMeaning>,
}

/// What a label of an enum, or the columns of a composite type, mean for values of the type: a server writes values as its
/// catalogs are when it writes them, whatever a snapshot shows, and no lock on a table keeps a type as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TypeMeaning {
    #[serde(rename = "type")]
    pub type_oid: u32,
    /// Of the label with its object id, or of all columns.
    pub digest: String,
}

/// Of `delayed-dump`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayedDump {
    pub dump: Dumped,
    /// The rows of its tables, where its snapshot is not that of the regular counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<TableCount>,
    /// The large objects of the source, where its snapshot is not that of the regular counts: it brings none itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_objects: Option<u64>,
    /// Where the sequences stood at its snapshot: those of the regular dump are older. `None`: version 0.1.0 did not ask.
    #[serde(default = "no_sequences", skip_serializing_if = "are_none")]
    pub sequences: Option<Vec<SequenceValue>>,
    /// What its rows consist of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<TableColumns>,
    /// Tables that belong to the delayed ones, were made after the regular dump, and have rows under its snapshot: it holds none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub newer: Vec<TableCount>,
}

/// There are none, which is known.
#[expect(clippy::unnecessary_wraps, reason = "as serde wants it")]
fn no_sequences() -> Option<Vec<SequenceValue>> {
    Some(Vec::new())
}

fn are_none(sequences: &Option<Vec<SequenceValue>>) -> bool {
    sequences.as_ref().is_some_and(Vec::is_empty)
}

impl DelayedDump {
    /// Whether it was made under a snapshot of its own (`delay.snapshot = "later"`), whatever the plan says now: then its
    /// tables were counted once more.
    pub fn is_later(&self) -> bool {
        !self.counts.is_empty()
    }
}

/// Where a sequence stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceValue {
    pub schema: String,
    pub sequence: String,
    /// `last_value`
    pub last: i64,
    /// Otherwise `last` is the next one to be given out.
    pub is_called: bool,
}

impl SequenceValue {
    /// Schema and name.
    pub fn name(&self) -> (&str, &str) {
        (&self.schema, &self.sequence)
    }

    /// The last value that was given out: one that was never used stands before its first.
    pub fn given_out(&self, increment: i64) -> i128 {
        let before = if self.is_called {
            0
        } else {
            i128::from(increment)
        };
        i128::from(self.last) - before
    }
}

/// What was found of the target's sequences before they were moved on for the rows of delayed tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeforeMove {
    /// What a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
    /// Those that had been set back, so that what clients got of them since is in the rows as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_back: Vec<TableName>,
}

/// An archive, and the state of the source that it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dumped {
    pub archive: ArchiveSeal,
    /// The snapshot under which the source was read.
    pub snapshot: String,
    /// The oldest transaction of the source that had not ended when that snapshot was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_transaction: Option<i64>,
    /// The plan said then that nobody writes to the source (`source.read_only`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source_read_only: bool,
    /// The object id of the source's database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<u32>,
    /// The source, as it was seen when that snapshot was taken or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Sighting>,
}

/// An archive as it was written: what a run that goes on finds must be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveSeal {
    pub files: u64,
    pub bytes: u64,
    /// SHA-256 over names, sizes and contents of its files, in hexadecimal digits.
    pub digest: String,
}

/// Of `source-counts` and `target-counts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub tables: Vec<TableCount>,
    /// These are estimates (`verify.mode = "fast"`), which cannot stand beside counted rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// Of the source: the snapshot under which it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The plan said then that nobody writes to the source (`source.read_only`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source_read_only: bool,
    /// How many large objects there are. `None`: an earlier version of this program did not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_objects: Option<u64>,
    /// Of the target: the first transaction that made none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_objects_before: Option<i64>,
}

/// Rows of one table on one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Parts<CountFacts>", into = "Parts<CountFacts>")]
pub struct TableCount {
    pub table: TableName,
    pub kind: RelationKind,
    /// `None`: not counted. A partitioned table's rows are counted in its partitions, a foreign table's
    /// are elsewhere, a materialized view that was never refreshed cannot be read, and under
    /// `verify.mode = "fast"` a table that was never analyzed has no estimate.
    pub rows: Option<u64>,
    /// The extension with its version, where this is a configuration table of it (PostgreSQL manual, 36.17.3): its script
    /// may have filled it.
    pub extension: Option<String>,
}

/// Of `restore`: what pg_restore could not restore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    pub errors: Vec<RestoreError>,
    /// The delayed tables, and the partitioned tables by way of which they are loaded, as it made them. Clients may give the
    /// names to others before the rows come. Earlier versions did not write them down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delayed: Vec<MadeTable>,
    /// The sequences of the delayed tables, and those of no table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<MadeSequence>,
    /// The labels of the enums in the delayed tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<EnumLabel>,
    /// Where tables are delayed: where every sequence stood before clients came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stood: Vec<SequenceValue>,
    /// Where tables are delayed: the object ids of the materialized views that it filled, or could not fill while these
    /// tables were empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<u32>,
}

impl Restored {
    /// Whether it could not fill this materialized view, and may go on all the same.
    pub(crate) fn leaves_empty(&self, view: &TableName) -> bool {
        let entry = view_data(view);
        let mut accepted = self.errors.iter().filter(|error| error.accepted);
        accepted.any(|error| error.object == entry)
    }
}

/// What an entry of an archive that fills a materialized view is called, before the view's name.
pub(crate) const VIEW_DATA: &str = "MATERIALIZED VIEW DATA ";

/// The entry of an archive that fills this materialized view, as `[[accept]]` calls it.
pub(crate) fn view_data(view: &TableName) -> String {
    format!("{VIEW_DATA}{}.{}", view.schema, view.name)
}

/// A delayed table on the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeTable {
    pub table: TableName,
    /// Its object id, which it keeps under any name.
    pub oid: u32,
    /// The role that it belongs to. Earlier versions did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Number and name of each column.
    pub columns: Vec<(i16, String)>,
}

/// A label of an enum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnumLabel {
    /// By `format_type`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its object id, which it keeps under any name.
    pub oid: u32,
    pub label: String,
}

/// A sequence on the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeSequence {
    pub sequence: TableName,
    /// Its object id, which it keeps under any name.
    pub oid: u32,
    /// The columns of the delayed tables, and of those that they are parts of, that got their values of it, by table and name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<(TableName, String)>,
}

impl MadeSequence {
    /// Whether this column got its values of it.
    pub(crate) fn gave_to(&self, table: &TableName, column: &str) -> bool {
        let mut used_by = self.used_by.iter();
        used_by.any(|(of, name)| of == table && name == column)
    }
}

/// One error of pg_restore, by object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreError {
    /// `FUNCTION public.f(integer)`: the archive's description of the object, with its schema.
    pub object: String,
    pub message: String,
    /// The plan expects it (`[[accept]]`).
    pub accepted: bool,
}

/// Of `verify` and `delayed-verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    pub tables: Vec<TableResult>,
}

/// One table, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Parts<ResultFacts>", into = "Parts<ResultFacts>")]
pub struct TableResult {
    pub table: TableName,
    /// `None`: the table is not there, or its rows are unknown.
    pub source_rows: Option<u64>,
    pub target_rows: Option<u64>,
    pub matches: bool,
    /// Why the two differ or could not be compared; `None` for a plain match.
    pub note: Option<String>,
}

/// Of `delayed-restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    pub counts: Vec<TableCount>,
    /// Sequences that had been set back on the target before the rows were there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_back: Vec<TableName>,
}

/// An index, with everything that makes it what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexDefinition {
    pub schema: String,
    pub table: String,
    pub name: String,
    /// `pg_get_indexdef`: method, columns, storage parameters, predicate.
    pub definition: String,
    /// `None`: the database's default tablespace.
    pub tablespace: Option<String>,
    pub comment: Option<String>,
    /// Column number and statistics target of columns that have one of their own.
    pub statistics: Vec<(i16, i32)>,
    /// The table is marked to be clustered by this index.
    pub clustered: bool,
    /// Of the table on the source, as far as known then: large ones are built first.
    pub table_bytes: u64,
}

impl IndexDefinition {
    pub fn table_name(&self) -> TableName {
        TableName::new(&*self.schema, &*self.table)
    }
}

/// A delayed table that was loaded by a transaction of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Parts<LoadFacts>", into = "Parts<LoadFacts>")]
pub struct Load {
    pub table: TableName,
    /// Its entry in the archive.
    pub dump_id: u32,
    /// The object id on the source of the table that the entry is of; `None`: version 0.1.0 did not write it down.
    pub source_table: Option<u32>,
    /// The object id on the target of the table that got the rows; `None`: an earlier version did not write it down.
    pub target_table: Option<u32>,
    /// The archive, by the digest of its seal; `None`: the one on record, whichever that is.
    pub archive: Option<String>,
    /// `txid_current()` of the transaction, on record before its commit: a later run asks the target whether
    /// it was committed.
    pub transaction: i64,
    /// The start of the target in which it was, seconds since 1970: a crash may give the number to another.
    pub server_started: String,
    /// As [`Filled::statistics`](super::Filled); `None`: an earlier version did not write it down.
    pub statistics: Option<String>,
    pub rows: u64,
    /// What was remarkable about the table's columns under its lock.
    pub remarks: Vec<ColumnRemark>,
    /// That it was committed is on record, and on the target's disk. Otherwise the target has to be asked.
    pub committed: bool,
}

/// What is about a table, as the journal and `report.json` write it: the name in two keys of its own.
#[derive(Serialize, Deserialize)]
struct Parts<F> {
    schema: String,
    table: String,
    #[serde(flatten)]
    facts: F,
}

#[derive(Serialize, Deserialize)]
struct CountFacts {
    kind: RelationKind,
    rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extension: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ResultFacts {
    source_rows: Option<u64>,
    target_rows: Option<u64>,
    #[serde(rename = "match")]
    matches: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct LoadFacts {
    dump_id: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_table: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_table: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    archive: Option<String>,
    transaction: i64,
    #[serde(default)]
    server_started: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    statistics: Option<String>,
    rows: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<ColumnRemark>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    committed: bool,
}

/// Both ways between a type with a [`TableName`] and its [`Parts`].
macro_rules! in_parts {
    ($whole:ident, $facts:ident { $($field:ident),+ }) => {
        impl From<Parts<$facts>> for $whole {
            fn from(parts: Parts<$facts>) -> Self {
                let $facts { $($field),+ } = parts.facts;
                let (schema, name) = (parts.schema, parts.table);
                $whole { table: TableName { schema, name }, $($field),+ }
            }
        }

        impl From<$whole> for Parts<$facts> {
            fn from(whole: $whole) -> Self {
                let $whole { table: TableName { schema, name }, $($field),+ } = whole;
                Parts { schema, table: name, facts: $facts { $($field),+ } }
            }
        }
    };
}

in_parts!(
    TableCount,
    CountFacts {
        kind,
        rows,
        extension
    }
);
in_parts!(
    TableResult,
    ResultFacts {
        source_rows,
        target_rows,
        matches,
        note
    }
);
in_parts!(
    Load,
    LoadFacts {
        dump_id,
        source_table,
        target_table,
        archive,
        transaction,
        server_started,
        statistics,
        rows,
        remarks,
        committed
    }
);

impl Output {
    /// Of a step that hands on nothing but warnings.
    pub fn of_warnings(warnings: Vec<String>) -> Self {
        Output {
            warnings,
            product: Product::Nothing,
        }
    }

    /// The archive that the step wrote, with its snapshot.
    pub fn dumped(&self) -> Option<&Dumped> {
        match &self.product {
            Product::Dump(regular) => Some(&regular.dump),
            Product::DelayedDump(delayed) => Some(&delayed.dump),
            _ => None,
        }
    }

    /// The snapshot of the source under which the step read.
    pub fn snapshot(&self) -> Option<&str> {
        match &self.product {
            Product::Counts(counts) => counts.snapshot.as_deref(),
            _ => self.dumped().map(|dump| &*dump.snapshot),
        }
    }

    /// Whether what the step read of the source is what any other snapshot shows, as far as the plan said so when it was
    /// read. What the key says later tells nothing of the time before.
    pub fn source_was_read_only(&self) -> bool {
        match &self.product {
            Product::Counts(counts) => counts.source_read_only,
            _ => self.dumped().is_none_or(|dump| dump.source_read_only),
        }
    }

    /// What pg_restore could not restore.
    pub fn restore_errors(&self) -> &[RestoreError] {
        match &self.product {
            Product::Restore(restored) => &restored.errors,
            _ => &[],
        }
    }

    /// The tables that the step compared.
    pub fn compared(&self) -> &[TableResult] {
        match &self.product {
            Product::Comparison(compared) => &compared.tables,
            _ => &[],
        }
    }

    /// Of a step that compares and failed: whether it found a difference. Otherwise it has nothing compared to show: a
    /// connection was lost, or what follows failed.
    pub fn is_a_difference(&self) -> bool {
        !self.compared().is_empty()
    }

    /// The rows of tables that the step counted or loaded.
    pub fn counts(&self) -> &[TableCount] {
        match &self.product {
            Product::Counts(counts) => &counts.tables,
            Product::DelayedDump(delayed) => &delayed.counts,
            Product::DelayedLoad(loaded) => &loaded.counts,
            _ => &[],
        }
    }
}

/// A product as the output of a step without warnings.
impl From<Product> for Output {
    fn from(product: Product) -> Self {
        Output {
            warnings: Vec::new(),
            product,
        }
    }
}
