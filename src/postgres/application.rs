//! The name by which our sessions are found on a server.

/// What a server keeps of an `application_name`: NAMEDATALEN less one (PostgreSQL manual, 19.8).
const LONGEST: usize = 63;

/// Whose sessions they are: a plan's and, within a run, its state directory's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Application {
    plan: String,
    state: Option<String>,
}

impl Application {
    /// For a command that only reads.
    pub(crate) fn new(plan: &str) -> Self {
        Application {
            plan: plan.to_owned(),
            state: None,
        }
    }

    /// For a run, and those that go on from the same state directory. Plans of the same name elsewhere
    /// have another id.
    pub(crate) fn for_state(plan: &str, id: &str) -> Self {
        Application {
            plan: plan.to_owned(),
            state: Some(id.to_owned()),
        }
    }

    /// For a command that only reads, where a state directory may have this id.
    pub(crate) fn with_state(plan: &str, id: Option<&str>) -> Self {
        Application {
            plan: plan.to_owned(),
            state: id.map(str::to_owned),
        }
    }

    /// The `application_name` of a session that does `what`.
    pub(crate) fn application_name_for(&self, what: &str) -> String {
        let mark = self.mark();
        let text = application_name(&format!("pg-migrate/{}/{what}", self.plan));
        // The mark is never cut: leftovers are found by it.
        let end = text.len().min(LONGEST - mark.len());
        format!("{}{mark}", &text[..end])
    }

    /// The id of the state directory, if it has one.
    pub(crate) fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// What the names of its sessions end with; empty: it has no state directory.
    pub(super) fn mark(&self) -> String {
        self.state
            .as_ref()
            .map(|id| format!("#{id}"))
            .unwrap_or_default()
    }

    /// Whether a session or a client program of this name belongs to this state directory.
    pub(crate) fn owns(&self, name: &str) -> bool {
        let mark = self.mark();
        !mark.is_empty() && name.starts_with("pg-migrate/") && name.ends_with(&mark)
    }
}

/// The text as an `application_name` that every server shows alike: at most 63 bytes, printable
/// ASCII alone. Servers replace other characters, each version in its own way (PostgreSQL manual,
/// 19.8), and then the session would not be found by its name.
pub(crate) fn application_name(text: &str) -> String {
    text.chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .take(LONGEST)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_says_whose_session_it_is() {
        let application = Application::for_state("größe", "1a2b3c4d");
        assert_eq!(
            application.application_name_for("erp/dump"),
            "pg-migrate/gr??e/erp/dump#1a2b3c4d"
        );
        assert!(application.owns("pg-migrate/erp/db/dump#1a2b3c4d"));
        assert!(!application.owns("pg-migrate/erp/db/dump#00000000"));
        assert!(!Application::new("erp").owns("pg-migrate/erp/db/dump"));
    }

    proptest! {
        #[test]
        fn a_name_is_what_the_server_keeps(plan in any::<String>(), what in any::<String>()) {
            let ours = Application::for_state(&plan, "0123abcd").application_name_for(&what);
            prop_assert!(ours.len() <= LONGEST);
            prop_assert!(ours.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert!(ours.starts_with("pg-migrate/"));
            prop_assert!(ours.ends_with("#0123abcd"));
            prop_assert_eq!(application_name(&ours), ours);
        }
    }
}
