//! The comparison of the columns that were dumped with those of the target's tables.

use crate::names::{Column, ColumnRemark, TableColumns, TableName, some_of};
use crate::postgres::quote_identifier;

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
mod tests {
    use super::super::columns::told;
    use super::*;

    fn column(name: &str) -> Column {
        Column {
            name: name.to_owned(),
            type_name: "text".to_owned(),
            parts: None,
            not_null: false,
            has_default: false,
            default: None,
            is_generated: false,
        }
    }

    fn table(name: &str, columns: Vec<Column>) -> TableColumns {
        TableColumns {
            table: TableName::new("public", name),
            root: None,
            columns,
        }
    }

    #[test]
    fn a_type_that_loses_nothing_is_told_from_others() {
        for (of, there) in [
            ("integer", "bigint"),
            ("bigint", "numeric"),
            ("character varying(10)", "text"),
            ("character varying(10)", "character varying(12)"),
            ("text", "character varying"),
            ("numeric(12,2)", "numeric(14,4)"),
            ("numeric(12,2)", "numeric"),
            ("timestamp(3) with time zone", "timestamp with time zone"),
            ("timestamp(3) with time zone", "timestamp(4) with time zone"),
        ] {
            assert!(holds_all(of, there), "{of} {there}");
        }
        for (of, there) in [
            ("bigint", "integer"),
            ("numeric", "bigint"),
            ("integer", "numeric(4,2)"),
            ("numeric(12,4)", "numeric(12,2)"),
            ("numeric(12,2)", "numeric(12,4)"),
            ("numeric", "numeric(12,2)"),
            ("character varying(10)", "character(12)"),
            ("text", "character varying(10)"),
            ("real", "double precision"),
            ("timestamp with time zone", "date"),
            ("timestamp with time zone", "timestamp without time zone"),
            ("timestamp with time zone", "timestamp(3) with time zone"),
            ("integer[]", "bigint[]"),
        ] {
            assert!(!holds_all(of, there), "{of} {there}");
        }
    }

    #[test]
    fn what_rows_do_not_fit_to_is_said_with_what_fixes_it() {
        let with_default = Column {
            not_null: true,
            has_default: true,
            default: Some("'web'::text".to_owned()),
            ..column("Channel")
        };
        let counted = Column {
            not_null: true,
            has_default: true,
            default: Some("nextval('s'::regclass)".to_owned()),
            ..column("n")
        };
        let generated = |name| Column {
            is_generated: true,
            ..column(name)
        };
        let needed = |name| Column {
            not_null: true,
            ..column(name)
        };
        let number = Column {
            type_name: "integer".to_owned(),
            ..column("number")
        };
        let of_type = |type_name: &str| Column {
            type_name: type_name.to_owned(),
            ..column("wider")
        };
        let source = [
            table("gone", vec![column("id")]),
            table(
                "orders",
                vec![
                    column("id"),
                    with_default,
                    counted,
                    column("computed"),
                    generated("sum"),
                    number,
                    of_type("integer"),
                    needed("both"),
                    Column {
                        default: Some("(net * 2)".to_owned()),
                        ..generated("gross")
                    },
                ],
            ),
            table("part1", vec![column("id")]),
            table("part2", vec![column("id")]),
        ];
        let part = |name| TableColumns {
            root: Some(TableName::new("public", "parts")),
            ..table(name, vec![column("other")])
        };
        let target = [
            table(
                "orders",
                vec![
                    column("id"),
                    generated("computed"),
                    column("number"),
                    of_type("bigint"),
                    needed("both"),
                    needed("theirs"),
                    column("gross"),
                    Column {
                        default: Some("'new'::text".to_owned()),
                        has_default: true,
                        ..needed("channel")
                    },
                    column("note"),
                    generated("more"),
                ],
            ),
            part("part1"),
            part("part2"),
        ];
        let replaced = ["id", "note", "theirs"]
            .map(|column| (TableName::new("public", "orders"), column.to_owned()));
        let fit = compare(&source, &target, &replaced);
        insta::assert_snapshot!(fit.misfits.join("\n"), @r"
        the table public.gone is not on the target
        public.orders has no column Channel (text)
        public.orders has no column n (text)
        public.orders computes the column computed, and the source does not
        public.orders: the column number is text on the target and integer on the source, and may not hold each value as it is
        public.orders: the column gross is generated on the source, so that the rows come without its values, and the target does not compute them
        public.orders has a column theirs that is NOT NULL and has no default, and the source does not have it
        public.part1 has no column id (text)
        public.part2 has no column id (text)
        ");
        insta::assert_snapshot!(fit.statements.join("\n"), @r#"
        ALTER TABLE "public"."orders" ADD COLUMN "Channel" text DEFAULT 'web'::text NOT NULL;
        ALTER TABLE "public"."orders" ADD COLUMN "n" text; -- NOT NULL on the source: SET NOT NULL once its rows are loaded
        ALTER TABLE "public"."orders" ALTER COLUMN "computed" DROP EXPRESSION;
        ALTER TABLE "public"."orders" ALTER COLUMN "number" TYPE integer;
        ALTER TABLE "public"."orders" DROP COLUMN "gross", ADD COLUMN "gross" text GENERATED ALWAYS AS ((net * 2)) STORED; -- what clients wrote to it is computed; its indexes and constraints go with it: create them again; DROP EXPRESSION once the rows are loaded
        ALTER TABLE "public"."orders" ALTER COLUMN "theirs" DROP NOT NULL;
        ALTER TABLE "public"."parts" ADD COLUMN "id" text;
        "#);
        insta::assert_snapshot!(told(fit.remarks.iter()).join("\n"), @r"
        public.orders: the column wider is bigint on the target and integer on the source, of which it holds every value
        public.orders: the source does not have these columns, and the loaded rows got their defaults there, as they were then: channel (DEFAULT 'new'::text), note (NULL); where a release gave other values to the rows that it found, by UPDATE or by a default that it changed after, give these to the loaded rows as well
        public.orders: these columns of the restore were dropped, and others have their names, which got the values of the source: id; where they mean something else (another unit, another format), convert the values of the loaded rows as the release did those of the rows that it found
        public.parts: the source does not have these columns, and the loaded rows got their defaults there, as they were then: other (NULL); where a release gave other values to the rows that it found, by UPDATE or by a default that it changed after, give these to the loaded rows as well
        ");
        assert_eq!(compare(&source[1..], &source[1..], &[]), Fit::default());
    }
}
