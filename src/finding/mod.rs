//! Findings: what a reader should know, or must change, before the run.
//!
//! `code` lists everything that can be found, each with its meaning; what is found on two servers is a
//! [`Finding`] with one of those codes. Which facts lead to which finding is up to `preflight`.

mod code;
mod severity;

pub use code::Code;
pub(crate) use code::Place;
pub(crate) use severity::Severity;

use serde::Serialize;

/// Something that a reader should know before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub severity: Severity,
    pub code: Code,
    pub database: Option<String>,
    pub object: Option<String>,
    pub message: String,
    /// SQL, a shell command or a plan key that fixes it.
    pub fix: Option<String>,
    /// The severity that it had before the plan waived it.
    #[serde(skip)]
    pub waived: Option<Severity>,
}

impl Finding {
    /// A finding of the code's usual severity, about the migration as a whole.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Finding {
        Finding {
            severity: code.severity(),
            code,
            database: None,
            object: None,
            message: message.into(),
            fix: None,
            waived: None,
        }
    }

    /// Where it matters more or less than usual.
    pub(crate) fn severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    pub(crate) fn database(mut self, name: impl Into<String>) -> Finding {
        self.database = Some(name.into());
        self
    }

    pub(crate) fn object(mut self, name: impl Into<String>) -> Finding {
        self.object = Some(name.into());
        self
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Finding {
        self.fix = Some(fix.into());
        self
    }

    /// The report of a run has it: it is no blocker that kept the run from starting, nor mere information. What is waived is
    /// accepted, and not unsaid.
    pub(crate) fn is_reported(&self) -> bool {
        match self.waived {
            Some(severity) => severity != Severity::Info,
            None => matches!(self.severity, Severity::Fix | Severity::Warn),
        }
    }

    /// What the glob of a waiver is compared with: `DATABASE.OBJECT`, or the one that there is.
    pub(crate) fn subject(&self) -> String {
        match (&self.database, &self.object) {
            (Some(database), Some(object)) => format!("{database}.{object}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        }
    }

    /// Whether it is about what its code says that such findings are about.
    #[cfg(test)]
    pub(crate) fn is_in_place(&self) -> bool {
        let is_about = (self.database.is_some(), self.object.is_some());
        is_about
            == match self.code.place() {
                Place::Migration => (false, false),
                Place::Role | Place::Setting | Place::Tablespace | Place::Timeline => (false, true),
                Place::Database => (true, false),
                Place::Object => (true, true),
            }
    }
}

impl std::fmt::Display for Finding {
    /// `source/with-oids: database "erp", public.t: the table …`, on one line unless a name holds a line feed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.code)?;
        match (&self.database, &self.object) {
            (Some(database), Some(object)) => write!(f, "database \"{database}\", {object}: ")?,
            (Some(database), None) => write!(f, "database \"{database}\": ")?,
            (None, Some(object)) => write!(f, "{object}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_one_line_and_is_json_as_it_always_was() {
        let finding = Finding::new(Code::SourceWithOids, "the table has oids")
            .database("erp")
            .object("public.t")
            .fix("ALTER TABLE …");
        assert_eq!(
            finding.to_string(),
            "source/with-oids: database \"erp\", public.t: the table has oids"
        );
        assert_eq!(
            serde_json::to_string(&finding).unwrap(),
            "{\"severity\":\"block\",\"code\":\"source/with-oids\",\"database\":\"erp\",\"object\":\"public.t\",\
             \"message\":\"the table has oids\",\"fix\":\"ALTER TABLE …\"}"
        );
        assert_eq!(finding.subject(), "erp.public.t");
        assert!(finding.is_in_place());
        let elsewhere = Finding::new(Code::SourceWithOids, "").database("erp");
        assert!(!elsewhere.is_in_place());
    }

    #[test]
    fn severities_have_one_word_everywhere() {
        for severity in Severity::ALL {
            let json = serde_json::to_value(severity).unwrap();
            assert_eq!(json, severity.as_str());
        }
        assert!(Severity::ALL.is_sorted());
    }
}
