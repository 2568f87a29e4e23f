//! Sequences of a later snapshot: the regular dump brought them as they stood before the rows that come now, and clients
//! may have used them since.

use crate::names::{DelayedDump, Kind, Product, SequenceValue, TableName};
use crate::plan::Side;
use crate::postgres::{Connection, connect};
use crate::step::{Context, StepError};

/// From so many values on, a sequence is set and not counted on. So many that no client takes them between the look and
/// the change, which are one statement.
const LEAST_JUMP: i128 = 1000;

/// Moves every sequence to where it stood on the source when the delayed tables were dumped, before their rows are there:
/// no client gets a key that one of them has. None is ever moved back.
pub(super) async fn advance(context: &Context) -> Result<(), StepError> {
    let Product::DelayedDump(DelayedDump { sequences, .. }) =
        &context.input(Kind::DelayedDump)?.product
    else {
        return Err(StepError::fault(
            "the journal does not tell what was dumped",
        ));
    };
    if sequences.is_empty() {
        return Ok(());
    }
    let target = context.endpoint(Side::Target);
    let session = context.session(Side::Target);
    let connection = connect(target, context.database_name(), &session).await?;
    for sequence in sequences {
        advance_one(&connection, sequence).await?;
    }
    connection.close().await;
    Ok(())
}

/// How a sequence counts on the target.
struct Counting {
    last: i64,
    is_called: bool,
    increment: i64,
    cache: i64,
}

/// What is to be done about a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Stay,
    /// So many times `nextval`, which never takes a value that a client had.
    CountOn(i64),
    /// `setval`.
    JumpTo(i64),
}

async fn advance_one(connection: &Connection, wanted: &SequenceValue) -> Result<(), StepError> {
    let name = TableName::new(&*wanted.schema, &*wanted.sequence).quoted();
    let action = format!("move the sequence {name} to where it stood on the source");
    let Some(now) = counting(connection, &name, &action).await? else {
        // A client dropped it.
        return Ok(());
    };
    match next_move(wanted, &now) {
        Move::Stay => {}
        Move::CountOn(values) => {
            let sql =
                "SELECT count(nextval($1::text::regclass)) FROM generate_series(1::bigint, $2)";
            connection
                .query(sql, &[&name, &values])
                .await
                .map_err(connection.failed(action))?;
        }
        Move::JumpTo(value) => {
            let before = if now.increment > 0 { "<" } else { ">" };
            let sql = format!(
                "SELECT setval($1::text::regclass, $2) FROM {name} WHERE last_value {before} $2"
            );
            connection
                .query(&sql, &[&name, &value])
                .await
                .map_err(connection.failed(action))?;
        }
    }
    Ok(())
}

/// `None`: the target has no such sequence.
async fn counting(
    connection: &Connection,
    name: &str,
    action: &str,
) -> Result<Option<Counting>, StepError> {
    let row = connection
        .query_opt(
            "SELECT seqincrement, seqcache FROM pg_catalog.pg_sequence WHERE seqrelid = to_regclass($1)",
            &[&name],
        )
        .await
        .map_err(connection.failed(action))?;
    let Some(row) = row else { return Ok(None) };
    let value = connection
        .query_one(&format!("SELECT last_value, is_called FROM {name}"), &[])
        .await
        .map_err(connection.failed(action))?;
    Ok(Some(Counting {
        last: value.get(0),
        is_called: value.get(1),
        increment: row.get(0),
        cache: row.get(1),
    }))
}

fn next_move(wanted: &SequenceValue, now: &Counting) -> Move {
    // The last value that was given out: one that was never used stands before its first.
    let given_out = |last: i64, is_called: bool| {
        let before = if is_called {
            0
        } else {
            i128::from(now.increment)
        };
        i128::from(last) - before
    };
    let (source, target) = (
        given_out(wanted.last, wanted.is_called),
        given_out(now.last, now.is_called),
    );
    let ahead = (source - target) * i128::from(now.increment.signum());
    let Some(value) = i64::try_from(source).ok().filter(|_| ahead > 0) else {
        return Move::Stay;
    };
    let values = ahead / i128::from(now.increment.unsigned_abs().max(1));
    match i64::try_from(values) {
        Ok(few) if values < LEAST_JUMP * i128::from(now.cache.max(1)) => Move::CountOn(few),
        _ => Move::JumpTo(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(source: (i64, bool), target: (i64, bool), increment: i64) -> Move {
        let wanted = SequenceValue {
            schema: "public".into(),
            sequence: "s".into(),
            last: source.0,
            is_called: source.1,
        };
        let now = Counting {
            last: target.0,
            is_called: target.1,
            increment,
            cache: 1,
        };
        next_move(&wanted, &now)
    }

    #[test]
    fn a_sequence_is_never_moved_back() {
        assert_eq!(moved((600, true), (500, true), 1), Move::CountOn(100));
        assert_eq!(moved((6000, true), (500, true), 1), Move::JumpTo(6000));
        assert_eq!(moved((500, true), (500, true), 1), Move::Stay);
        assert_eq!(moved((500, true), (700, true), 1), Move::Stay);
        assert_eq!(moved((-600, true), (-500, true), -1), Move::CountOn(100));
        assert_eq!(moved((-500, true), (-600, true), -1), Move::Stay);
    }

    #[test]
    fn one_that_was_never_used_stands_before_its_first_value() {
        assert_eq!(moved((1, false), (1, false), 1), Move::Stay);
        assert_eq!(moved((1, true), (1, false), 1), Move::CountOn(1));
        assert_eq!(moved((1, false), (1, true), 1), Move::Stay);
        assert_eq!(moved((2000, false), (1, true), 1), Move::JumpTo(1999));
        let lowest = i64::MIN;
        assert_eq!(moved((lowest, false), (lowest, false), 1), Move::Stay);
    }
}
