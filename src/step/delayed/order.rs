//! Which delayed tables are loaded before which: where the role may not load as a replica does, each row's parents have to be
//! there already.

use std::collections::HashMap;

use crate::inspect::{Reference, references_between};
use crate::names::TableName;
use crate::plan::Side;
use crate::process::restore_log::TableRows;
use crate::step::{Context, StepError, ours};

/// The entries' dump ids in the order of the loads: those of one turn may be loaded at a time.
pub(super) async fn turns(
    context: &Context,
    entries: Vec<TableRows>,
) -> Result<Vec<Vec<u32>>, StepError> {
    if context.shared.inspection.target.sets_replication_role {
        return Ok(vec![entries.iter().map(|rows| rows.dump_id).collect()]);
    }
    let connection = ours::open(context, &context.session(Side::Target)).await?;
    let references = references_between(&connection, context.delayed_tables()).await?;
    connection.close().await;
    let contents = context.database()?.contents.iter();
    let names: HashMap<u32, TableName> = contents
        .flat_map(|contents| &contents.relations)
        .map(|relation| (relation.oid, relation.table_name()))
        .collect();
    let named = entries
        .iter()
        .map(|rows| (rows.dump_id, names.get(&rows.table)))
        .collect();
    Ok(in_turn(named, &references))
}

/// Parents first. A table that the source does not have any more comes with the first. Of tables that refer to each other in a
/// circle, which the plan tells before, none can come first.
fn in_turn(mut left: Vec<(u32, Option<&TableName>)>, references: &[Reference]) -> Vec<Vec<u32>> {
    let mut turns = Vec::new();
    while !left.is_empty() {
        let waits = |(_, name): &(u32, Option<&TableName>)| {
            let mut references = references.iter();
            references.any(|reference| {
                Some(&reference.child) == *name
                    && left
                        .iter()
                        .any(|(_, other)| *other == Some(&reference.parent))
            })
        };
        let (waiting, ready): (Vec<_>, Vec<_>) = left.iter().copied().partition(waits);
        let (turn, rest) = if ready.is_empty() {
            (waiting, ready)
        } else {
            (ready, waiting)
        };
        turns.push(turn.into_iter().map(|(id, _)| id).collect());
        left = rest;
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_circles_last() {
        let table = |name: &str| TableName::new("public", name);
        let (a, b, c, d) = (table("a"), table("b"), table("c"), table("d"));
        let refer = |child: &TableName, parent: &TableName| Reference {
            child: child.clone(),
            parent: parent.clone(),
        };
        let entries = vec![(1, Some(&a)), (2, Some(&b)), (3, Some(&c)), (4, None)];
        assert_eq!(in_turn(entries.clone(), &[]), [[1, 2, 3, 4]]);
        let chain = [refer(&a, &b), refer(&b, &c), refer(&a, &d)];
        assert_eq!(
            in_turn(entries.clone(), &chain),
            [vec![3, 4], vec![2], vec![1]]
        );
        let circle = [refer(&a, &b), refer(&b, &a), refer(&c, &a)];
        assert_eq!(in_turn(entries, &circle), [vec![4], vec![1, 2, 3]]);
        assert_eq!(in_turn(Vec::new(), &circle), Vec::<Vec<u32>>::new());
    }
}
