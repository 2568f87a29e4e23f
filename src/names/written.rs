//! How much was written to a database of the target.

use serde::{Deserialize, Serialize};

/// What a server's cumulative statistics count of the writes to a database (PostgreSQL manual, 27.2). They only grow, are
/// in step with what is committed or rolled back once a session has ended, and survive an orderly restart; a crash and a
/// reset of the statistics set them back, which shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteMark {
    /// Of the database: one of the same name is another.
    pub oid: u32,
    /// Rows that were inserted, updated and deleted, those of catalogs included, less what ANALYZE wrote. DDL and TRUNCATE
    /// change catalogs.
    pub rows: i64,
    pub transactions: i64,
    /// When the statistics were last reset.
    pub reset: Option<String>,
    /// The server does not count every session's writes (`track_counts`): what it counts says nothing, and what catalogs and sequences
    /// hold is known all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncounted: bool,
    /// What stays of what was written; `None`: an older server does not tell, nor did an earlier version of this program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Lasting>,
}

/// Tells what a temporary table or REINDEX writes, which is nothing of a client's data, from what stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lasting {
    /// Rows of tables that are neither temporary nor catalogs, of large objects and of user mappings, that were inserted, updated and
    /// deleted.
    pub rows: i64,
    /// A digest of which row versions the catalogs hold, those about temporary tables left out, and of what they say of relations:
    /// the file of an index is left out, and that of a table is not, which TRUNCATE changes.
    pub catalogs: i64,
    /// A digest of where the sequences stand: setval() is no tuple to the statistics. `None`: an earlier version did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequences: Option<i64>,
}

/// What tells, after a crash of the target, rows that were brought to unlogged tables from those that clients wrote since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    /// When the server's own statistics (`pg_stat_archiver`) were last reset, seconds since 1970: recovery from a crash does so, and
    /// a standby has others than its primary.
    pub statistics: String,
    /// `txid_current()` of which no row that was brought is later.
    pub transaction: i64,
}

/// What became of a database since a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    Unwritten,
    Written,
    /// Which counts as written.
    Unknown,
}

impl WriteMark {
    /// What the counters `now` say about the time since this mark.
    pub(crate) fn compare(&self, now: &WriteMark) -> Since {
        if self.uncounted || now.uncounted {
            return self.compare_uncounted(now);
        }
        let is_lasting = self.lasting.is_none() || now.lasting != self.lasting;
        let went_back = now.rows < self.rows || now.transactions < self.transactions;
        if now.oid != self.oid || now.reset != self.reset || went_back {
            Since::Unknown
        } else if now.rows > self.rows && is_lasting || self.have_sequences_moved(now) {
            Since::Written
        } else {
            Since::Unwritten
        }
    }

    /// That no row was written is never known.
    fn compare_uncounted(&self, now: &WriteMark) -> Since {
        let catalogs = |mark: &WriteMark| mark.lasting.map(|lasting| lasting.catalogs);
        let catalogs = catalogs(self).zip(catalogs(now));
        let have_changed = catalogs.is_some_and(|(before, now)| before != now);
        if now.oid == self.oid && (have_changed || self.have_sequences_moved(now)) {
            Since::Written
        } else {
            Since::Unknown
        }
    }

    fn have_sequences_moved(&self, now: &WriteMark) -> bool {
        let of = |mark: &WriteMark| mark.lasting.and_then(|lasting| lasting.sequences);
        of(self)
            .zip(of(now))
            .is_some_and(|(before, now)| before != now)
    }

    /// As [`compare`](Self::compare), of marks that leave out what this plan writes meanwhile: only what stays is compared. What
    /// catalogs hold no reset of the statistics takes away.
    pub(crate) fn compare_regular(&self, now: &WriteMark) -> Since {
        let (Some(before), Some(after)) = (self.lasting, now.lasting) else {
            return Since::Unknown;
        };
        let went_back = after.rows < before.rows || now.transactions < self.transactions;
        let is_uncounted = self.uncounted || now.uncounted;
        if now.oid != self.oid {
            Since::Unknown
        } else if after.catalogs != before.catalogs {
            Since::Written
        } else if is_uncounted || now.reset != self.reset || went_back {
            Since::Unknown
        } else if after.rows > before.rows {
            Since::Written
        } else {
            Since::Unwritten
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_catalogs_hold_is_known_without_statistics() {
        let mark = |rows, catalogs, transactions| WriteMark {
            oid: 7,
            rows: 0,
            transactions,
            reset: None,
            uncounted: false,
            lasting: Some(Lasting {
                rows,
                catalogs,
                sequences: None,
            }),
        };
        let before = mark(5, 1, 10);
        for (now, since) in [
            (mark(5, 1, 12), Since::Unwritten),
            (mark(6, 1, 12), Since::Written),
            // Its rows went with a table.
            (mark(4, 2, 12), Since::Written),
            (mark(0, 2, 0), Since::Written),
            (mark(4, 1, 12), Since::Unknown),
            (mark(6, 1, 3), Since::Unknown),
        ] {
            assert_eq!(before.compare_regular(&now), since, "{now:?}");
        }
    }

    #[test]
    fn counters_that_went_back_prove_nothing() {
        let mark = |rows, transactions, reset: Option<&str>| WriteMark {
            oid: 7,
            rows,
            transactions,
            reset: reset.map(str::to_owned),
            uncounted: false,
            lasting: None,
        };
        let before = mark(100, 10, None);
        assert_eq!(before.compare(&mark(100, 12, None)), Since::Unwritten);
        assert_eq!(before.compare(&mark(101, 12, None)), Since::Written);
        // A crash; a crash after which as many rows were written; a reset.
        assert_eq!(before.compare(&mark(0, 0, None)), Since::Unknown);
        assert_eq!(before.compare(&mark(100, 3, None)), Since::Unknown);
        let reset = mark(100, 10, Some("2030-01-01"));
        assert_eq!(before.compare(&reset), Since::Unknown);
        let other = WriteMark {
            oid: 8,
            ..before.clone()
        };
        assert_eq!(before.compare(&other), Since::Unknown);
    }

    #[test]
    fn where_nothing_is_counted_only_catalogs_and_sequences_tell() {
        let mark = |catalogs, sequences, uncounted| WriteMark {
            oid: 7,
            rows: 0,
            transactions: 10,
            reset: None,
            uncounted,
            lasting: Some(Lasting {
                rows: 0,
                catalogs,
                sequences: Some(sequences),
            }),
        };
        for (before, now) in [(true, true), (true, false), (false, true)] {
            let before = mark(1, 2, before);
            assert_eq!(before.compare(&mark(1, 2, now)), Since::Unknown);
            assert_eq!(before.compare(&mark(3, 2, now)), Since::Written);
            assert_eq!(before.compare(&mark(1, 3, now)), Since::Written);
            assert_eq!(before.compare_regular(&mark(1, 2, now)), Since::Unknown);
            assert_eq!(before.compare_regular(&mark(3, 2, now)), Since::Written);
            let other = WriteMark {
                oid: 8,
                ..mark(3, 3, now)
            };
            assert_eq!(before.compare(&other), Since::Unknown);
        }
        let counted = mark(1, 2, false);
        assert_eq!(counted.compare(&mark(1, 2, false)), Since::Unwritten);
    }

    #[test]
    fn what_does_not_stay_was_not_written() {
        let mark = |rows, lasting: Option<(i64, i64)>| WriteMark {
            oid: 7,
            rows,
            transactions: 10,
            reset: None,
            uncounted: false,
            lasting: lasting.map(|(rows, catalogs)| Lasting {
                rows,
                catalogs,
                sequences: None,
            }),
        };
        let before = mark(100, Some((5, -3)));
        for (lasting, since) in [
            (Some((5, -3)), Since::Unwritten),
            (Some((6, -3)), Since::Written),
            // Statistics of a table that was dropped are gone.
            (Some((4, -2)), Since::Written),
            (Some((5, -2)), Since::Written),
            (None, Since::Written),
        ] {
            assert_eq!(before.compare(&mark(101, lasting)), since, "{lasting:?}");
        }
        let old = mark(100, None);
        assert_eq!(old.compare(&mark(101, None)), Since::Written);
        assert_eq!(old.compare(&mark(101, Some((5, -3)))), Since::Written);
    }
}
