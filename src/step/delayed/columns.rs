//! Whether the rows that were dumped fit to the tables of the target: an application may have been released in between, on
//! either side. Looked at before anything is dropped for the load.

use crate::inspect::columns_of;
use crate::names::{Column, TableColumns, TableName};
use crate::plan::Side;
use crate::postgres::{Connection, Pool, Snapshot, escape_control, quote_identifier};
use crate::step::{Context, StepError};

/// The columns of the delayed tables of the source, as the snapshot shows them.
pub(super) async fn of_source(
    context: &Context,
    snapshot: &Snapshot,
) -> Result<Vec<TableColumns>, StepError> {
    let session = context.session(Side::Source).under_snapshot(snapshot.id());
    let endpoint = context.endpoint(Side::Source);
    let pool = Pool::new(endpoint, context.database_name(), &session, 1)?;
    let connection = pool.get().await?;
    Ok(columns_of(&connection, context.delayed_tables()).await?)
}

/// Fails where a row of these tables could not be loaded, with the statements that fix it. Returns what a person should know
/// otherwise.
///
/// # Errors
///
/// As said, or a catalog that cannot be read.
pub(super) async fn ensure_fit(
    context: &Context,
    target: &Connection,
    is_wanted: impl Fn(&TableName) -> bool,
) -> Result<Vec<String>, StepError> {
    // Older journals do not tell.
    let mut source = context.delayed_dump()?.columns.clone();
    source.retain(|found| is_wanted(&found.table));
    let tables = source.iter().map(|found| found.table.clone());
    let target = columns_of(target, tables).await?;
    let Fit {
        misfits,
        statements,
        remarks,
    } = compare(&source, &target);
    if misfits.is_empty() {
        return Ok(remarks);
    }
    let line = |text: &String| format!("\n  {}", escape_control(text));
    let help = if statements.is_empty() {
        "give the tables their names back, and run again".to_owned()
    } else {
        format!(
            "on the target, in the database \"{}\", run what follows (a release's own migration does as well), and run \
             pg-migrate again:{}",
            context.shown_database(),
            statements.iter().map(line).collect::<String>()
        )
    };
    Err(StepError::new(format!(
        "database \"{}\": the rows of delayed tables do not fit to the target, where nothing was changed for them yet:{}",
        context.shown_database(),
        misfits.iter().map(line).collect::<String>()
    ))
    .help(help))
}

/// What came of the comparison.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fit {
    /// What keeps rows from being loaded.
    misfits: Vec<String>,
    /// What fixes that, each once.
    statements: Vec<String>,
    /// What need not keep them.
    remarks: Vec<String>,
}

fn compare(source: &[TableColumns], target: &[TableColumns]) -> Fit {
    let mut fit = Fit::default();
    for dumped in source {
        match target.iter().find(|there| there.table == dumped.table) {
            Some(there) => fit.compare_table(dumped, there),
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
        for column in dumped.columns.iter().filter(|column| !column.is_generated) {
            let name = &column.name;
            match there.columns.iter().find(|there| there.name == *name) {
                None => self.lacks(
                    format!("{table} has no column {name} ({})", column.type_name),
                    add(altered, column),
                ),
                Some(there) if there.is_generated => self.lacks(
                    format!("{table} computes the column {name}, and the source does not"),
                    alter(altered, name, "DROP EXPRESSION"),
                ),
                Some(there) if there.type_name != column.type_name => self.remarks.push(format!(
                    "{table}: the column {name} is {} on the target and {} on the source: a value that does not fit fails the load",
                    there.type_name, column.type_name
                )),
                Some(_) => {}
            }
        }
        let is_brought = |column: &&Column| {
            let mut brought = dumped.columns.iter();
            brought.any(|dumped| dumped.name == column.name)
        };
        for column in &there.columns {
            let needs_value = column.not_null && !column.has_default && !column.is_generated;
            if needs_value && !is_brought(&column) {
                let name = &column.name;
                self.lacks(
                    format!(
                        "{table} has a column {name} that is NOT NULL and has no default, and the source does not have it"
                    ),
                    alter(altered, name, "DROP NOT NULL"),
                );
            }
        }
    }

    fn lacks(&mut self, misfit: String, statement: String) {
        self.misfits.push(misfit);
        if !self.statements.contains(&statement) {
            self.statements.push(statement);
        }
    }
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

fn alter(table: &TableName, column: &str, what: &str) -> String {
    let (table, column) = (table.quoted(), quote_identifier(column));
    format!("ALTER TABLE {table} ALTER COLUMN {column} {what};")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Column {
        Column {
            name: name.to_owned(),
            type_name: "text".to_owned(),
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
                    needed("both"),
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
                    needed("both"),
                    needed("theirs"),
                ],
            ),
            part("part1"),
            part("part2"),
        ];
        let fit = compare(&source, &target);
        insta::assert_snapshot!(fit.misfits.join("\n"), @r"
        the table public.gone is not on the target
        public.orders has no column Channel (text)
        public.orders has no column n (text)
        public.orders computes the column computed, and the source does not
        public.orders has a column theirs that is NOT NULL and has no default, and the source does not have it
        public.part1 has no column id (text)
        public.part2 has no column id (text)
        ");
        insta::assert_snapshot!(fit.statements.join("\n"), @r#"
        ALTER TABLE "public"."orders" ADD COLUMN "Channel" text DEFAULT 'web'::text NOT NULL;
        ALTER TABLE "public"."orders" ADD COLUMN "n" text; -- NOT NULL on the source: SET NOT NULL once its rows are loaded
        ALTER TABLE "public"."orders" ALTER COLUMN "computed" DROP EXPRESSION;
        ALTER TABLE "public"."orders" ALTER COLUMN "theirs" DROP NOT NULL;
        ALTER TABLE "public"."parts" ADD COLUMN "id" text;
        "#);
        insta::assert_snapshot!(
            fit.remarks.join("\n"),
            @"public.orders: the column number is text on the target and integer on the source: a value that does not fit fails the load"
        );
        assert_eq!(compare(&source[1..], &source[1..]), Fit::default());
    }
}
