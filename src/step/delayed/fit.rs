//! The comparison of the columns that were dumped with those of the target's tables.

use crate::names::{Column, ColumnRemark, EnumLabel, TableColumns, TableName, some_of};
use crate::postgres::{quote_identifier, quote_literal};

/// What came of the comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fit {
    /// What keeps rows from being loaded.
    pub(super) misfits: Vec<String>,
    /// What fixes that, each once.
    pub(super) statements: Vec<String>,
    /// What need not keep them.
    pub(super) remarks: Vec<ColumnRemark>,
}

/// Columns that are named.
const COLUMNS_NAMED: usize = 8;

/// `replaced`: columns of the target's tables that are not those of the restore, whose names they have.
pub(super) fn compare(
    source: &[TableColumns],
    target: &[TableColumns],
    replaced: &[(TableName, String)],
) -> Fit {
    let mut fit = Fit::default();
    for dumped in source {
        match target.iter().find(|there| there.table == dumped.table) {
            Some(there) => {
                fit.compare_table(dumped, there);
                fit.look_for_others(dumped, there, replaced);
            }
            None => fit
                .misfits
                .push(format!("the table {} is not on the target", dumped.table)),
        }
    }
    fit
}

impl Fit {
    fn compare_table(&mut self, dumped: &TableColumns, there: &TableColumns) {
        let table = &dumped.table;
        let altered = there.root.as_ref().unwrap_or(table);
        for column in &dumped.columns {
            let name = &column.name;
            match there.columns.iter().find(|there| there.name == *name) {
                Some(there) if column.is_generated && !there.is_generated => self.lacks(
                    format!(
                        "{table}: the column {name} is generated on the source, so that the rows come without its values, and the target \
                         does not compute them"
                    ),
                    generate(altered, column),
                ),
                _ if column.is_generated => {}
                None => self.lacks(
                    format!("{table} has no column {name} ({})", column.type_name),
                    add(altered, column),
                ),
                Some(there) if there.is_generated => self.lacks(
                    format!("{table} computes the column {name}, and the source does not"),
                    alter(altered, name, "DROP EXPRESSION"),
                ),
                Some(there) if there.type_name == column.type_name => {
                    self.compare_parts(dumped, column, there);
                }
                Some(there) if holds_all(&column.type_name, &there.type_name) => self.remark(
                    altered,
                    format!(
                        "the column {name} is {} on the target and {} on the source, of which it holds every value",
                        there.type_name, column.type_name
                    ),
                ),
                // A value may be rounded or cut without an error.
                Some(there) => self.lacks(
                    format!(
                        "{table}: the column {name} is {} on the target and {} on the source, and may not hold each value as it is",
                        there.type_name, column.type_name
                    ),
                    alter(altered, name, &format!("TYPE {}", column.type_name)),
                ),
            }
        }
    }

    /// What no row brings a value of, and what may mean something else than what it brings.
    fn look_for_others(
        &mut self,
        dumped: &TableColumns,
        there: &TableColumns,
        replaced: &[(TableName, String)],
    ) {
        let table = &dumped.table;
        let altered = there.root.as_ref().unwrap_or(table);
        let is_brought = |column: &&Column| {
            let mut brought = dumped.columns.iter();
            brought.any(|dumped| dumped.name == column.name)
        };
        let plain = there.columns.iter().filter(|column| !column.is_generated);
        let (brought, others): (Vec<&Column>, Vec<&Column>) = plain.partition(is_brought);
        let (needed, others): (Vec<&Column>, Vec<&Column>) = others
            .into_iter()
            .partition(|column| column.not_null && !column.has_default);
        for Column { name, .. } in needed {
            self.lacks(
                format!(
                    "{table} has a column {name} that is NOT NULL and has no default, and the source does not have it"
                ),
                alter(altered, name, "DROP NOT NULL"),
            );
        }
        if !others.is_empty() {
            let others: Vec<String> = others.into_iter().map(with_default).collect();
            self.remark(
                altered,
                format!(
                    "the source does not have these columns, and the loaded rows got their defaults there, as they were then: {}; where a \
                     release gave other values to the rows that it found, by UPDATE or by a default that it changed after, give these to \
                     the loaded rows as well",
                    some_of(&others, COLUMNS_NAMED)
                ),
            );
        }
        let is_replaced = |column: &&Column| {
            let mut replaced = replaced.iter();
            replaced.any(|(of, name)| of == table && *name == column.name)
        };
        let replaced = brought.into_iter().filter(is_replaced);
        let replaced: Vec<&String> = replaced.map(|column| &column.name).collect();
        if !replaced.is_empty() {
            self.remark(
                altered,
                format!(
                    "these columns of the restore were dropped, and others have their names, which got the values of the source: {}; where \
                     they mean something else (another unit, another format), convert the values of the loaded rows as the release did \
                     those of the rows that it found",
                    some_of(&replaced, COLUMNS_NAMED)
                ),
            );
        }
    }

    /// Values of composite types are written without the names of their columns. Older journals do not tell them.
    fn compare_parts(&mut self, dumped: &TableColumns, column: &Column, there: &Column) {
        let Some(parts) = &column.parts else { return };
        if there.parts.as_ref() != Some(parts) {
            self.misfits.push(format!(
                "{}: values of the column {} consist of {parts} on the source, and of {} on the target",
                dumped.table,
                column.name,
                there.parts.as_deref().unwrap_or("something else")
            ));
            let statement = format!(
                "ALTER TYPE {} …; -- as it was altered on the source",
                column.type_name
            );
            if !self.statements.contains(&statement) {
                self.statements.push(statement);
            }
        }
    }

    /// Values of enums are written by the names of their labels, and one that has the name of another means something else. `of_later`: where the
    /// source may have renamed them as well before its values were written, a table that they are of.
    pub(super) fn compare_labels(
        &mut self,
        made: &[EnumLabel],
        now: &[EnumLabel],
        of_later: Option<&TableName>,
    ) {
        for before in made {
            let EnumLabel {
                type_name, label, ..
            } = before;
            let Some(renamed) = now
                .iter()
                .find(|now| now.oid == before.oid && now.label != *label)
            else {
                continue;
            };
            let of_name =
                |now: &EnumLabel| now.type_name == renamed.type_name && now.label == *label;
            if !now.iter().any(of_name) {
                // Its values fail to load.
                continue;
            }
            let what = format!(
                "the label {label} of the type {type_name} is called {} on the target, and another label has its name, which the rows get",
                renamed.label
            );
            if let Some(table) = of_later {
                let now = &renamed.label;
                self.remark(
                    table,
                    format!(
                        "{what}: where the source did not rename it as well before its delayed tables were dumped, give the rows that were loaded with it the label {now}"
                    ),
                );
                continue;
            }
            self.misfits.push(what);
            let [type_name, label, now] = [
                type_name.clone(),
                quote_literal(label),
                quote_literal(&renamed.label),
            ];
            for statement in [
                format!(
                    "ALTER TYPE {type_name} RENAME VALUE {label} TO '…'; -- the one that has the name now"
                ),
                format!(
                    "ALTER TYPE {type_name} RENAME VALUE {now} TO {label}; -- and as they were once the rows are loaded"
                ),
            ] {
                if !self.statements.contains(&statement) {
                    self.statements.push(statement);
                }
            }
        }
    }

    fn remark(&mut self, table: &TableName, what: String) {
        let table = table.clone();
        self.remarks.push(ColumnRemark { table, what });
    }

    fn lacks(&mut self, misfit: String, statement: String) {
        self.misfits.push(misfit);
        if !self.statements.contains(&statement) {
            self.statements.push(statement);
        }
    }
}

/// `status (DEFAULT 'new'::text)`
fn with_default(column: &Column) -> String {
    let value = match &column.default {
        Some(default) => format!("DEFAULT {default}"),
        None if column.has_default => "its default".to_owned(),
        None => "NULL".to_owned(),
    };
    format!("{} ({value})", column.name)
}

/// Rows may be there already, so that what has no default cannot be NOT NULL yet. One that counts is made with a sequence
/// that the target may not have.
fn add(table: &TableName, column: &Column) -> String {
    let (name, type_name) = (quote_identifier(&column.name), &column.type_name);
    let mut sql = format!(
        "ALTER TABLE {} ADD COLUMN {name} {type_name}",
        table.quoted()
    );
    let default = column.default.as_ref();
    if let Some(default) = default.filter(|default| !default.contains("nextval(")) {
        sql += &format!(" DEFAULT {default}");
        if column.not_null {
            sql += " NOT NULL";
        }
    } else if column.not_null {
        return sql + "; -- NOT NULL on the source: SET NOT NULL once its rows are loaded";
    }
    sql + ";"
}

/// A plain column cannot be made a generated one. STORED: the expression of a virtual one cannot be dropped.
fn generate(table: &TableName, column: &Column) -> String {
    let (name, type_name) = (quote_identifier(&column.name), &column.type_name);
    format!(
        "ALTER TABLE {} DROP COLUMN {name}, ADD COLUMN {name} {type_name} GENERATED ALWAYS AS ({}) STORED; -- what clients wrote to it \
         is computed; its indexes and constraints go with it: create them again; DROP EXPRESSION once the rows are loaded",
        table.quoted(),
        column.default.as_deref().unwrap_or("…")
    )
}

fn alter(table: &TableName, column: &str, what: &str) -> String {
    let (table, column) = (table.quoted(), quote_identifier(column));
    format!("ALTER TABLE {table} ALTER COLUMN {column} {what};")
}

/// Whether a column of the one type takes each value of the other from its text, and is the same value. Other pairs may be
/// as well; of these it is known. (The text of a `real`, read as `double precision`, is another number.)
fn holds_all(of: &str, there: &str) -> bool {
    let ((of, of_mod), (there, there_mod)) = (split_type(of), split_type(there));
    match (of.as_str(), there.as_str()) {
        ("smallint", "integer" | "bigint") | ("integer", "bigint") => true,
        ("smallint" | "integer" | "bigint", "numeric") => there_mod.is_empty(),
        ("character varying", "text") | ("text", "character varying") if there_mod.is_empty() => {
            true
        }
        ("numeric", "numeric") => match (of_mod.as_slice(), there_mod.as_slice()) {
            (_, []) => true,
            ([precision, scale], [wider, finer]) => {
                finer >= scale && wider - finer >= precision - scale
            }
            _ => false,
        },
        (
            "character varying"
            | "bit varying"
            | "timestamp without time zone"
            | "timestamp with time zone"
            | "time without time zone"
            | "time with time zone"
            | "interval",
            same,
        ) if same == of => match (of_mod.as_slice(), there_mod.as_slice()) {
            (_, []) => true,
            ([length], [longer]) => longer >= length,
            _ => false,
        },
        _ => false,
    }
}

/// A type by `format_type`, without its modifiers, and these.
fn split_type(name: &str) -> (String, Vec<i64>) {
    let parts = name.split_once('(').and_then(|(base, rest)| {
        let (inside, after) = rest.split_once(')')?;
        let numbers: Result<Vec<i64>, _> =
            inside.split(',').map(|one| one.trim().parse()).collect();
        Some((format!("{base}{after}"), numbers.ok()?))
    });
    parts.unwrap_or_else(|| (name.to_owned(), Vec::new()))
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
