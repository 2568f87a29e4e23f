//! How a sequence of the target counts, and its way on to where another stands. None is moved back.

use crate::names::{SequenceValue, TableName};
use crate::plan::Side;
use crate::postgres::Connection;
use crate::step::{Context, StepError, ours};

/// From so many values on, a sequence is set and not counted on. So many that no client takes them between the look and
/// the change, which are one statement.
const LEAST_JUMP: i128 = 1000;

pub(super) async fn open(context: &Context) -> Result<Connection, StepError> {
    let session = context.session(Side::Target);
    ours::open(context, &session).await
}

/// How a sequence counts on the target.
pub(super) struct Counting {
    pub(super) last: i64,
    pub(super) is_called: bool,
    pub(super) increment: i64,
    pub(super) cache: i64,
    pub(super) cycles: bool,
}

impl Counting {
    pub(super) fn given_out(&self) -> i128 {
        SequenceValue {
            schema: String::new(),
            sequence: String::new(),
            last: self.last,
            is_called: self.is_called,
        }
        .given_out(self.increment)
    }
}

/// What is to be done about a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Stay,
    /// So many times `nextval`, which never takes a value that a client had.
    CountOn(i64),
    /// `setval`.
    JumpTo(i64),
}

pub(super) fn action(name: &str) -> String {
    format!("move the sequence {name} to where it stood on the source")
}

pub(super) fn quoted(sequence: &SequenceValue) -> String {
    TableName::new(&*sequence.schema, &*sequence.sequence).quoted()
}

/// Whether it was moved.
pub(super) async fn advance_one(
    connection: &Connection,
    wanted: &SequenceValue,
    now: &Counting,
) -> Result<bool, StepError> {
    let name = quoted(wanted);
    match next_move(wanted, now) {
        Move::Stay => return Ok(false),
        Move::CountOn(values) => {
            let sql =
                "SELECT count(nextval($1::text::regclass)) FROM generate_series(1::bigint, $2)";
            connection
                .query(sql, &[&name, &values])
                .await
                .map_err(connection.failed(action(&name)))?;
        }
        Move::JumpTo(value) => {
            let before = if now.increment > 0 { "<" } else { ">" };
            let sql = format!(
                "SELECT setval($1::text::regclass, $2) FROM {name} WHERE last_value {before} $2"
            );
            connection
                .query(&sql, &[&name, &value])
                .await
                .map_err(connection.failed(action(&name)))?;
        }
    }
    Ok(true)
}

/// `None`: the target has no such sequence. A client may have dropped it.
pub(super) async fn counting(
    connection: &Connection,
    wanted: &SequenceValue,
) -> Result<Option<Counting>, StepError> {
    let name = quoted(wanted);
    let row = connection
        .query_opt(
            "SELECT seqincrement, seqcache, seqcycle FROM pg_catalog.pg_sequence WHERE seqrelid = to_regclass($1)",
            &[&name],
        )
        .await
        .map_err(connection.failed(action(&name)))?;
    let Some(row) = row else { return Ok(None) };
    let value = connection
        .query_one(&format!("SELECT last_value, is_called FROM {name}"), &[])
        .await
        .map_err(connection.failed(action(&name)))?;
    Ok(Some(Counting {
        last: value.get(0),
        is_called: value.get(1),
        increment: row.get(0),
        cache: row.get(1),
        cycles: row.get(2),
    }))
}

pub(super) fn next_move(wanted: &SequenceValue, now: &Counting) -> Move {
    let source = wanted.given_out(now.increment);
    let ahead = (source - now.given_out()) * i128::from(now.increment.signum());
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
            cycles: false,
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
