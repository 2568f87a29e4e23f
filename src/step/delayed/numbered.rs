//! Numbers that clients got of sequences which had been set back, and that loaded rows have as well.

use crate::names::{Kind, Product, TableResult};
use crate::postgres::escape_control;
use crate::step::{Context, StepError, sequences};

/// Where no unique key is in the way of that, it is a difference, unless the plan waives it, which is told: a line each.
pub(super) async fn compare(
    context: &Context,
    tables: &mut Vec<TableResult>,
) -> Result<Vec<String>, StepError> {
    let Product::DelayedLoad(loaded) = &context.input(Kind::DelayedRestore)?.product else {
        return Ok(Vec::new());
    };
    let mut told = Vec::new();
    for (table, note) in sequences::in_several_rows(context, &loaded.set_back).await? {
        if context.is_difference_accepted() {
            told.push(escape_control(&format!("{table}: {note}")).into_owned());
            continue;
        }
        match tables.iter_mut().find(|result| result.table == table) {
            Some(result) => {
                result.matches = false;
                result.note = Some(note);
            }
            None => tables.push(TableResult {
                table,
                source_rows: None,
                target_rows: None,
                matches: false,
                note: Some(note),
            }),
        }
    }
    Ok(told)
}
