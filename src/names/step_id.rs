//! What a step is about, and what it is called.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Kind, Scope};

/// What a step is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    Server,
    Database(Arc<str>),
    /// A part of a database's work, where a kind has several steps for a database: from 1.
    Piece(Arc<str>, NonZeroU32),
}

/// `KIND`, `DATABASE/KIND` or `DATABASE/KIND/N`.
///
/// A kind holds no slash and is not a number, so the end of an id tells which of the three it is, whatever characters the
/// database's name holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId {
    pub subject: Subject,
    pub kind: Kind,
}

impl StepId {
    pub fn server(kind: Kind) -> Self {
        StepId {
            subject: Subject::Server,
            kind,
        }
    }

    pub fn database(database: &Arc<str>, kind: Kind) -> Self {
        StepId {
            subject: Subject::Database(Arc::clone(database)),
            kind,
        }
    }

    pub fn piece(database: &Arc<str>, kind: Kind, number: NonZeroU32) -> Self {
        StepId {
            subject: Subject::Piece(Arc::clone(database), number),
            kind,
        }
    }

    /// The name of the database that the step, or the whole of its piece, is about.
    pub fn database_name(&self) -> Option<&Arc<str>> {
        match &self.subject {
            Subject::Server => None,
            Subject::Database(database) | Subject::Piece(database, _) => Some(database),
        }
    }

    pub fn is_about(&self, database: &str) -> bool {
        self.database_name().is_some_and(|name| &**name == database)
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Server => f.write_str(self.kind.as_str()),
            Subject::Database(database) => write!(f, "{database}/{}", self.kind),
            Subject::Piece(database, number) => write!(f, "{database}/{}/{number}", self.kind),
        }
    }
}

/// A number as ids have it: without a sign or leading zeros, so that each stands for one id.
fn piece_number(text: &str) -> Option<NonZeroU32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

impl FromStr for StepId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, number) = match text.rsplit_once('/') {
            Some((rest, last)) => match piece_number(last) {
                Some(number) => (rest, Some(number)),
                None => (text, None),
            },
            None => (text, None),
        };
        let (subject, kind) = match (rest.rsplit_once('/'), number) {
            (Some((database, kind)), None) => (Subject::Database(database.into()), kind),
            (Some((database, kind)), Some(number)) => {
                (Subject::Piece(database.into(), number), kind)
            }
            (None, _) => (Subject::Server, text),
        };
        let kind: Kind = kind.parse()?;
        let is_server = subject == Subject::Server;
        if is_server == (kind.traits().scope == Scope::Server) {
            Ok(StepId { subject, kind })
        } else {
            Err(format!("`{text}` is not the id of a step"))
        }
    }
}

impl Serialize for StepId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StepId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Reads the text where it stands: a journal may name a million steps.
        struct Text;

        impl Visitor<'_> for Text {
            type Value = StepId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of a step")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<StepId, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(database: &str) -> Vec<StepId> {
        let name: Arc<str> = database.into();
        let mut ids = Vec::new();
        for kind in Kind::ALL {
            if kind.is_server_level() {
                ids.push(StepId::server(kind));
                continue;
            }
            ids.push(StepId::database(&name, kind));
            for number in [1, 10, u32::MAX] {
                ids.push(StepId::piece(&name, kind, NonZeroU32::new(number).unwrap()));
            }
        }
        ids
    }

    #[test]
    fn every_id_is_read_as_it_is_shown_whatever_the_database_is_called() {
        for database in [
            "erp",
            "a/dump",
            "a/dump/3",
            "/",
            "",
            "7",
            "create",
            "ü \n/verify",
        ] {
            for id in all_of(database) {
                assert_eq!(id.to_string().parse(), Ok(id));
            }
        }
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in [
            "",
            "erp",
            "dump",
            "dump/1",
            "globals/1",
            "erp/globals",
            "erp/globals/1",
            "erp/dump/0",
            "erp/dump/01",
            "erp/dump/+1",
            "erp/dump/",
            "erp/dump/4294967296",
        ] {
            assert!(text.parse::<StepId>().is_err(), "{text}");
        }
    }
}
