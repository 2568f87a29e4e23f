//! Who answers at a server's address, and whether it is still the same.
//!
//! Another cluster has another system identifier. A standby that takes over, a clone and a machine that was put back to an older
//! state have the same. What tells them apart is their history: a promotion begins a new timeline (PostgreSQL manual, 25.3.6 "Timelines"), and on one
//! timeline the position up to which WAL is flushed never goes back, not even by a crash.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A server, as it was seen at one moment. A journal has many of them, so their keys are short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// `pg_control_system().system_identifier`; `None`: not known, because the server is older than 9.6 or our role may not call it.
    #[serde(rename = "id", default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<i64>,
    /// Which it writes; `None`: it is a standby.
    #[serde(rename = "tl", default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    /// Up to where its WAL is flushed, of a standby replayed.
    #[serde(rename = "lsn")]
    pub position: u64,
    /// The transaction id that it gives out next, with its epoch.
    #[serde(rename = "xid")]
    pub next_transaction: u64,
    /// When it was started, in microseconds since 1970 by its own clock.
    #[serde(rename = "up")]
    pub started: i64,
    /// When it was asked, likewise.
    #[serde(rename = "at")]
    pub seen: i64,
}

/// What a server is to the one that was seen before at its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// It has all that was there. It may have been restarted.
    Same,
    /// It writes a newer timeline, and may lack what was written last on the older.
    Promoted { from: u32, to: u32 },
    /// It is in an older state than it was.
    WentBack,
    /// It is another cluster, or ran already, elsewhere, when the other was seen.
    AnotherServer,
}

/// A crash of the server takes back the ids of transactions whose WAL was not flushed (`synchronous_commit = off`): those of
/// the last seconds at most, and never as many as these.
const LOST_BY_CRASH: u64 = 100_000;

impl Sighting {
    /// A primary, for tests to which it does not matter which.
    #[cfg(test)]
    pub(crate) fn sample() -> Sighting {
        Sighting {
            identifier: Some(7),
            timeline: Some(1),
            position: 500,
            next_transaction: 1000,
            started: 0,
            seen: 1,
        }
    }

    /// What a server that was seen later is to this one.
    pub fn compare(&self, now: &Sighting) -> Continuity {
        if self.other_identifier(now).is_some() {
            return Continuity::AnotherServer;
        }
        let is_restarted = now.started != self.started;
        let ran_before = is_restarted && now.started <= self.seen;
        match (self.timeline, now.timeline) {
            (Some(from), Some(to)) if to > from => return Continuity::Promoted { from, to },
            (Some(from), Some(to)) if to < from => return Continuity::WentBack,
            // A standby that is promoted has all that it had.
            (None, Some(_)) if !is_restarted => {}
            (Some(_), None) | (None, Some(_)) => return Continuity::AnotherServer,
            _ => {}
        }
        let is_lower = now.position < self.position
            || now.next_transaction.saturating_add(LOST_BY_CRASH) < self.next_transaction;
        if ran_before {
            Continuity::AnotherServer
        } else if is_lower && now.timeline.is_some() {
            Continuity::WentBack
        } else {
            // A standby that recovers from a crash replays from its last restart point.
            Continuity::Same
        }
    }

    /// Both system identifiers, where they differ. One that is not known tells nothing.
    pub fn other_identifier(&self, now: &Sighting) -> Option<(i64, i64)> {
        let both = self.identifier.zip(now.identifier);
        both.filter(|(was, is)| was != is)
    }

    /// Whether all that could be read then can be read from what was seen later.
    pub fn is_continued_by(&self, now: &Sighting) -> bool {
        self.compare(now) == Continuity::Same && now.position >= self.position
    }

    /// Whether a record of the one tells as much as a record of the other.
    pub fn is_like(&self, other: &Sighting) -> bool {
        let seen = other.seen;
        Sighting { seen, ..*self } == *other
    }

    /// What shows that a server that was seen later is not this one, or not as it was.
    pub fn difference(&self, now: &Sighting) -> String {
        if let Some((was, is)) = self.other_identifier(now) {
            return format!("its system identifier was {was}, now it is {is}");
        }
        match self.compare(now) {
            // A standby that replays again.
            Continuity::Same if now.position < self.position => self.older(now),
            Continuity::Same => "nothing differs".to_owned(),
            Continuity::Promoted { from, to } => {
                format!("its timeline was {from}, now it is {to}")
            }
            Continuity::WentBack => self.older(now),
            Continuity::AnotherServer => match (self.timeline, now.timeline) {
                (Some(_), None) => "it was a primary, now it is a standby".to_owned(),
                (None, Some(_)) if now.started > self.seen => {
                    "it was a standby, now it is a primary".to_owned()
                }
                _ => format!(
                    "what was seen at {} had been started at {}, and what answers now was started at {}",
                    Moment(self.seen),
                    Moment(self.started),
                    Moment(now.started)
                ),
            },
        }
    }

    fn older(&self, now: &Sighting) -> String {
        match (self.timeline, now.timeline) {
            (Some(was), Some(is)) if was != is => {
                format!("its timeline was {was}, now it is {is}")
            }
            _ if now.position < self.position => format!(
                "its WAL position was {}, now it is {}",
                Position(self.position),
                Position(now.position)
            ),
            _ => format!(
                "its next transaction was {}, now it is {}",
                self.next_transaction, now.next_transaction
            ),
        }
    }
}

/// What a server is to the one that was seen before, and what shows it; the same, where one of them is not known.
pub(crate) fn continuity(before: Option<Sighting>, now: Option<Sighting>) -> (Continuity, String) {
    match (before, now) {
        (Some(before), Some(now)) => (before.compare(&now), before.difference(&now)),
        _ => (Continuity::Same, String::new()),
    }
}

/// As `pg_lsn` is written.
struct Position(u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// Microseconds since 1970.
struct Moment(i64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{} µs", self.0),
        }
    }
}

/// Both servers, as far as a step touched them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sightings {
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Sighting>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Sighting>,
}

impl Sightings {
    pub fn is_empty(&self) -> bool {
        *self == Sightings::default()
    }

    /// Takes in what was seen later.
    pub fn update(&mut self, later: &Sightings) {
        self.source = later.source.or(self.source);
        self.target = later.target.or(self.target);
    }
}

/// The last that was seen of a server, by all connections of a run: its clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Option<Sighting>>>);

/// What answers is not what answered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stranger {
    pub before: Sighting,
    pub now: Sighting,
}

impl Watch {
    pub(crate) fn latest(&self) -> Option<Sighting> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a connection saw. `before`: what this was when the question was sent, because the answers of several
    /// connections may arrive in another order.
    ///
    /// # Errors
    ///
    /// A server that is not the one before.
    pub(crate) fn notice(&self, before: Option<Sighting>, now: Sighting) -> Result<(), Stranger> {
        if let Some(before) = before.filter(|before| before.compare(&now) != Continuity::Same) {
            return Err(Stranger { before, now });
        }
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let identifier = now
            .identifier
            .or(latest.and_then(|latest| latest.identifier));
        let now = Sighting { identifier, ..now };
        if latest.is_none_or(|latest| latest.seen < now.seen) {
            *latest = Some(now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    /// Started at second 100 and seen at second 200.
    fn primary(timeline: u32, position: u64) -> Sighting {
        Sighting {
            identifier: Some(7),
            timeline: Some(timeline),
            position,
            next_transaction: 3_000_000,
            started: 100 * SECOND,
            seen: 200 * SECOND,
        }
    }

    fn later(sighting: Sighting) -> Sighting {
        Sighting {
            seen: sighting.seen + 50 * SECOND,
            ..sighting
        }
    }

    fn started_at(second: i64, sighting: Sighting) -> Sighting {
        Sighting {
            started: second * SECOND,
            ..later(sighting)
        }
    }

    fn standby(sighting: Sighting) -> Sighting {
        Sighting {
            timeline: None,
            ..sighting
        }
    }

    fn unidentified(sighting: Sighting) -> Sighting {
        Sighting {
            identifier: None,
            ..sighting
        }
    }

    #[test]
    fn another_cluster_is_another_server_however_well_its_history_fits() {
        let before = primary(1, 500);
        let now = Sighting {
            identifier: Some(-8),
            ..started_at(201, primary(2, 900))
        };
        assert_eq!(before.compare(&now), Continuity::AnotherServer);
        insta::assert_snapshot!(before.difference(&now), @"its system identifier was 7, now it is -8");
    }

    /// And is kept in mind, while another connection may not ask for it.
    #[test]
    fn an_identifier_that_is_not_known_tells_nothing() {
        let restarted = unidentified(started_at(201, primary(1, 600)));
        assert_eq!(primary(1, 500).compare(&restarted), Continuity::Same);
        let known = started_at(201, primary(1, 600));
        let before = unidentified(primary(1, 500));
        assert_eq!(before.compare(&known), Continuity::Same);
        let watch = Watch::default();
        watch.notice(None, primary(1, 500)).unwrap();
        watch.notice(watch.latest(), restarted).unwrap();
        assert_eq!(watch.latest(), Some(known));
    }

    #[test]
    fn one_that_goes_on_or_is_restarted_is_the_same() {
        let before = primary(1, 500);
        for now in [
            before,
            later(primary(1, 600)),
            started_at(201, primary(1, 500)),
        ] {
            assert_eq!(before.compare(&now), Continuity::Same, "{now:?}");
            assert!(before.is_continued_by(&now));
        }
        // A crash took the ids of some transactions back.
        let crashed = Sighting {
            next_transaction: before.next_transaction - 1000,
            ..later(before)
        };
        assert_eq!(before.compare(&crashed), Continuity::Same);
    }

    #[test]
    fn a_newer_timeline_is_a_promotion_wherever_the_position_is() {
        for position in [400, 500, 600] {
            for started in [50, 100, 201] {
                let now = started_at(started, primary(3, position));
                assert_eq!(
                    primary(1, 500).compare(&now),
                    Continuity::Promoted { from: 1, to: 3 }
                );
            }
        }
    }

    #[test]
    fn an_older_state_is_told_by_what_is_lower() {
        let before = primary(2, 0x0001_0000_0500);
        let cases = [
            later(primary(1, 0x0002_0000_0000)),
            started_at(201, primary(2, 0x0001_0000_04ff)),
            later(primary(2, 0x0001_0000_04ff)),
            Sighting {
                next_transaction: 1_999_999,
                ..later(before)
            },
        ];
        let told = cases.map(|now| {
            assert_eq!(before.compare(&now), Continuity::WentBack, "{now:?}");
            before.difference(&now)
        });
        insta::assert_snapshot!(told.join("\n"), @r"
        its timeline was 2, now it is 1
        its WAL position was 1/500, now it is 1/4FF
        its WAL position was 1/500, now it is 1/4FF
        its next transaction was 3000000, now it is 1999999
        ");
    }

    #[test]
    fn one_that_ran_already_is_another_however_far_it_is() {
        let before = primary(1, 500);
        for now in [
            started_at(150, primary(1, 900)),
            started_at(50, primary(1, 400)),
            standby(started_at(201, primary(1, 900))),
        ] {
            assert_eq!(before.compare(&now), Continuity::AnotherServer, "{now:?}");
        }
        insta::assert_snapshot!(
            before.difference(&started_at(150, primary(1, 900))),
            @"what was seen at 1970-01-01T00:03:20.000Z had been started at 1970-01-01T00:01:40.000Z, and what answers now was started at 1970-01-01T00:02:30.000Z"
        );
    }

    #[test]
    fn a_standby_may_replay_again_but_what_it_showed_is_not_all_there() {
        let before = standby(primary(1, 500));
        for now in [
            standby(started_at(201, primary(1, 400))),
            standby(later(primary(1, 400))),
        ] {
            assert_eq!(before.compare(&now), Continuity::Same);
            assert!(!before.is_continued_by(&now));
        }
        // Another replica behind the address.
        let other = standby(started_at(150, primary(1, 600)));
        assert_eq!(before.compare(&other), Continuity::AnotherServer);
        // It was promoted, or the primary took its address.
        assert!(before.is_continued_by(&later(primary(2, 600))));
        let primary_now = started_at(201, primary(2, 600));
        assert_eq!(before.compare(&primary_now), Continuity::AnotherServer);
    }

    #[test]
    fn answers_that_overtake_each_other_are_no_step_back() {
        let watch = Watch::default();
        let before = watch.latest();
        assert_eq!(watch.notice(before, later(primary(1, 600))), Ok(()));
        // It was asked before the other was answered.
        assert_eq!(watch.notice(before, primary(1, 500)), Ok(()));
        assert_eq!(watch.latest(), Some(later(primary(1, 600))));
        let before = watch.latest();
        let now = later(later(primary(1, 599)));
        let stranger = watch.notice(before, now).unwrap_err();
        assert_eq!(stranger.now, now);
        assert_eq!(watch.latest(), before);
    }

    #[test]
    fn it_is_short_in_a_journal() {
        let seen = Sightings {
            source: None,
            target: Some(primary(1, 500)),
        };
        let json = serde_json::to_string(&seen).unwrap();
        assert_eq!(
            json,
            r#"{"t":{"id":7,"tl":1,"lsn":500,"xid":3000000,"up":100000000,"at":200000000}}"#
        );
        assert_eq!(serde_json::from_str::<Sightings>(&json).unwrap(), seen);
        // As 0.1 wrote it.
        let json = json.replace(r#""id":7,"#, "");
        let seen = serde_json::from_str::<Sightings>(&json).unwrap();
        assert_eq!(seen.target, Some(unidentified(primary(1, 500))));
    }
}
