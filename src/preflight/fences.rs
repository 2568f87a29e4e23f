//! What keeps clients from the source for the night, and from the target afterwards, since it arrives with databases and roles.

use crate::catalog::{Database, Role, ServerFacts, Setting, value};
use crate::finding::{Code, Finding};

const FIX: &str =
    "nothing where it is meant to stay; otherwise the statements, on the target after the run";

pub(super) fn for_database(database: &Database) -> Option<Finding> {
    let mut fences = Vec::new();
    let mut undo = Vec::new();
    if database.connection_limit == 0 {
        fences.push("CONNECTION LIMIT 0".to_owned());
        undo.push("ALTER DATABASE … CONNECTION LIMIT -1".to_owned());
    }
    for setting in database
        .settings
        .iter()
        .filter(|setting| is_read_only(setting))
    {
        let (of_role, statement) = match &setting.role {
            Some(role) => (
                format!(" for the role \"{role}\""),
                "ALTER ROLE … IN DATABASE … RESET",
            ),
            None => (String::new(), "ALTER DATABASE … RESET"),
        };
        fences.push(format!("{} = {}{of_role}", setting.name, setting.value));
        undo.push(format!("{statement} {}", setting.name));
    }
    let message = message("the database", &fences, &undo)?;
    Some(
        Finding::new(Code::SourceDatabaseKeepsOut, message)
            .database(&database.name)
            .fix(FIX),
    )
}

/// Where the roles migrate.
pub(super) fn for_roles(source: &ServerFacts) -> Vec<Finding> {
    let roles = source.roles.iter();
    roles
        .filter_map(|role| for_role(role, &source.role_settings))
        .collect()
}

fn for_role(role: &Role, settings: &[Setting]) -> Option<Finding> {
    let mut fences = Vec::new();
    let mut undo = Vec::new();
    // A group has no password.
    if !role.can_login && role.password.is_some() {
        fences.push("NOLOGIN, with a password".to_owned());
        undo.push("ALTER ROLE … LOGIN".to_owned());
    }
    if role.connection_limit == Some(0) {
        fences.push("CONNECTION LIMIT 0".to_owned());
        undo.push("ALTER ROLE … CONNECTION LIMIT -1".to_owned());
    }
    let of_role = |setting: &&Setting| setting.role.as_deref() == Some(&role.name);
    for setting in settings
        .iter()
        .filter(of_role)
        .filter(|setting| is_read_only(setting))
    {
        fences.push(format!("{} = {}", setting.name, setting.value));
        undo.push(format!("ALTER ROLE … RESET {}", setting.name));
    }
    let message = message("the role", &fences, &undo)?;
    Some(
        Finding::new(Code::SourceRoleKeptOut, message)
            .object(format!("ROLE {}", role.name))
            .fix(FIX),
    )
}

fn is_read_only(setting: &Setting) -> bool {
    setting.name == "default_transaction_read_only" && value::boolean(&setting.value) == Some(true)
}

/// In a sentence that the report has too.
fn message(whose: &str, fences: &[String], undo: &[String]) -> Option<String> {
    (!fences.is_empty()).then(|| {
        format!(
            "{whose} has {} on the source, and the target gets that as well: where it keeps applications from the source during the migration, \
             it keeps them from the target too, until after the run, on the target: {}",
            fences.join(" and "),
            undo.join("; ")
        )
    })
}
