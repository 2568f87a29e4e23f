//! The materialized views, which the restore refreshed while the delayed tables were empty.

use std::collections::BTreeSet;

use crate::failpoint::reach;
use crate::inspect::{MaterializedView, materialized_views};
use crate::names::{RelationKind, TableName, view_data};
use crate::plan::Side;
use crate::postgres::Class;
use crate::process::restore_log::accepted;
use crate::step::error::printable;
use crate::step::{Context, StepError, ours};

/// Refreshes those again that the source has, each after those that it reads. All of them: what a view reads through a function is in
/// no catalog. Those that clients made meanwhile are theirs. What the plan
/// accepts of the restore it accepts here: a line for each.
pub(super) async fn refresh(context: &Context) -> Result<Vec<String>, StepError> {
    let session = context.session(Side::Target).for_refresh();
    let connection = ours::open(context, &session).await?;
    let counted = context.counts(Side::Source)?.tables.iter();
    let restored: BTreeSet<&TableName> = counted
        .filter(|count| count.kind == RelationKind::MaterializedView)
        .map(|count| &count.table)
        .collect();
    // A client may have given one another name.
    let made = context
        .restored()
        .map_or(&[][..], |restored| &restored.views);
    let mut views = materialized_views(&connection).await?;
    views.retain(|view| {
        made.contains(&view.oid) || view.is_filled && restored.contains(&view.table)
    });
    let mut left = Vec::new();
    for view in in_order(&views) {
        let name = view.quoted();
        let refreshed = connection
            .attempt(
                format!("refresh the materialized view {name}"),
                &context.shared.stop,
                connection.batch_execute(&format!("REFRESH MATERIALIZED VIEW {name}")),
            )
            .await;
        reach!("refreshed {name}");
        let Err(error) = refreshed else { continue };
        let entry = view_data(view);
        let is_of_view = error.class() == Class::Fail && error.sqlstate().is_some();
        if is_of_view && accepted(&context.plan().accept, context.database_name(), &entry) {
            left.push(format!("{} is not filled: {error}", printable(&entry)));
            continue;
        }
        let error = StepError::from(error);
        return Err(match is_of_view {
            true => error.help(format!(
                "fix the cause on the target, or accept it in the plan ([[accept]] with database, object = \"{}\" and reason), and run again",
                printable(&entry)
            )),
            false => error,
        });
    }
    connection.close().await;
    Ok(left)
}

/// Each view after those that it reads, and otherwise as pg_dump orders them: from the last by name on, what no other one reads.
fn in_order(views: &[MaterializedView]) -> Vec<&TableName> {
    let reads: Vec<Vec<usize>> = views
        .iter()
        .map(|view| {
            let is_read = |index: &usize| *index < views.len() && view.is_after(&views[*index]);
            (0..views.len()).filter(is_read).collect()
        })
        .collect();
    let mut readers = vec![0; views.len()];
    for index in reads.iter().flatten() {
        readers[*index] += 1;
    }
    let mut left: Vec<usize> = (0..views.len()).collect();
    let mut order = Vec::with_capacity(views.len());
    while !left.is_empty() {
        let free = left.iter().rposition(|index| readers[*index] == 0);
        let index = left.remove(free.unwrap_or(left.len() - 1));
        for read in &reads[index] {
            readers[*read] -= 1;
        }
        order.push(&views[index].table);
    }
    order.reverse();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(views: &[(&str, &[u32], &[u32])]) -> String {
        let views: Vec<MaterializedView> = (1..)
            .zip(views)
            .map(|(oid, (name, reads, names))| MaterializedView {
                oid,
                table: TableName::new("public", *name),
                is_filled: true,
                reads: reads.to_vec(),
                names: names.to_vec(),
            })
            .collect();
        let order = in_order(&views).into_iter();
        let names: Vec<&str> = order.map(|table| table.name.as_str()).collect();
        names.join(" ")
    }

    #[test]
    fn a_view_comes_after_those_that_it_reads() {
        assert_eq!(order(&[("a", &[], &[]), ("b", &[], &[])]), "a b");
        assert_eq!(order(&[("a", &[2], &[]), ("b", &[], &[])]), "b a");
        assert_eq!(
            order(&[("a", &[2, 3], &[]), ("b", &[3], &[]), ("c", &[], &[])]),
            "c b a"
        );
        // As pg_dump orders what nothing binds.
        assert_eq!(
            order(&[("a", &[3], &[]), ("b", &[], &[]), ("c", &[], &[])]),
            "c a b"
        );
    }

    #[test]
    fn a_function_that_names_a_view_orders_only_what_nothing_else_does() {
        assert_eq!(order(&[("a", &[], &[2]), ("b", &[], &[])]), "b a");
        assert_eq!(order(&[("a", &[], &[2]), ("b", &[1], &[1])]), "a b");
        assert_eq!(order(&[("a", &[], &[2]), ("b", &[], &[1])]), "a b");
    }
}
