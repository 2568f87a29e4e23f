//! What happens on the target with each statement of the dump.

use std::collections::HashSet;
use std::fmt;

use tokio_postgres::error::SqlState;

use super::lexer::{TokenKind, tokens};
use super::statement::{Statement, redact};
use crate::catalog::{ServerFacts, Version, parameter};
use crate::postgres::quote_identifier;

/// What the plan needs to know of the target.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    pub version: Version,
    /// The role that runs the migration there. Nothing about it changes.
    pub user: &'a str,
    pub roles: HashSet<&'a str>,
    pub tablespaces: HashSet<&'a str>,
    /// Tablespaces without which a database that migrates cannot be restored.
    pub needed_tablespaces: HashSet<&'a str>,
}

impl<'a> Target<'a> {
    pub fn new(facts: &'a ServerFacts, needed_tablespaces: HashSet<&'a str>) -> Self {
        Target {
            version: facts.version,
            user: &facts.user,
            roles: facts.roles.iter().map(|role| role.name.as_str()).collect(),
            tablespaces: facts.tablespaces.iter().map(String::as_str).collect(),
            needed_tablespaces,
        }
    }
}

/// SQL text that may hold a password: `Debug` and `Display` show it without.
#[derive(Clone, PartialEq, Eq)]
pub struct Sql(String);

impl Sql {
    /// The text for the server. It may be several statements: they go in one simple-query message,
    /// so that all of them take effect or none (PostgreSQL manual, 54.2.2.1 "Multiple Statements in
    /// a Simple Query").
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0))
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redact(&self.0))
    }
}

/// What happens with one statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Run(Run),
    Skip(Skip),
}

/// A statement that goes to the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub sql: Sql,
    /// Errors which mean that there is nothing left to do.
    pub tolerated: &'static [SqlState],
    /// What is tried instead.
    pub fallback: Option<Fallback>,
    /// What an error means that is neither tolerated nor has a fallback, or is the fallback's own.
    pub on_error: OnError,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    /// The errors that lead to it.
    pub on: &'static [SqlState],
    pub sql: Sql,
    /// What is different from the source once it has run.
    pub warning: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnError {
    /// The step fails.
    Fail,
    /// The step fails, and this is what to do.
    FailWithHelp(String),
    /// The step goes on. The text says what is missing on the target then, and what to do.
    Warn(String),
    /// As `Warn` where the target denies the permission (SQLSTATE 42501), otherwise as `Fail`.
    WarnIfDenied(String),
}

/// A statement that does not go to the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    pub sql: Sql,
    pub reason: String,
    /// Something of the source is missing on the target because of it.
    pub is_loss: bool,
}

/// Also what two sessions run into that create the same thing at the same time.
const DUPLICATE: &[SqlState] = &[SqlState::DUPLICATE_OBJECT, SqlState::UNIQUE_VIOLATION];
const DENIED: &[SqlState] = &[SqlState::INSUFFICIENT_PRIVILEGE];
/// The grantor does not exist, may not grant, or stands below the member itself.
const GRANTOR_REFUSED: &[SqlState] = &[
    SqlState::INSUFFICIENT_PRIVILEGE,
    SqlState::UNDEFINED_OBJECT,
    SqlState::INVALID_GRANTOR,
    SqlState::INVALID_GRANT_OPERATION,
];

/// What a statement is about, as messages call it: `role "app"`. `None`: the script itself, or a database.
pub(crate) fn subject_of(statement: &Statement) -> Option<String> {
    match statement {
        Statement::CreateTablespace { name, .. } | Statement::AlterTablespace { name } => {
            Some(format!("tablespace \"{name}\""))
        }
        _ => changed_role(statement).map(|role| format!("role \"{role}\"")),
    }
}

/// An action, and what it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub subject: Option<String>,
    pub action: Action,
}

/// Decides what happens with each statement, in the dump's order.
///
/// `SET SESSION AUTHORIZATION` and its reset have no action of their own: what stands between them
/// becomes a statement that takes the role on by itself, so that no failure leaves a later
/// statement to run as the wrong role.
pub fn plan(statements: &[&str], target: &Target<'_>) -> Vec<Planned> {
    let statements: Vec<(&str, Statement)> = statements
        .iter()
        .map(|sql| (*sql, Statement::classify(sql)))
        .collect();
    let reserved = statements
        .iter()
        .filter_map(|(_, statement)| match statement {
            Statement::CreateRole { role } if role.starts_with("pg_") => Some(role.as_str()),
            _ => None,
        })
        .collect();
    let mut planner = Planner {
        target,
        reserved,
        session_role: None,
    };
    statements
        .iter()
        .filter_map(|(sql, statement)| {
            let action = planner.decide(sql, statement)?;
            let subject = subject_of(statement);
            Some(Planned { subject, action })
        })
        .collect()
}

struct Planner<'a> {
    target: &'a Target<'a>,
    /// Roles that the dump creates and no server from 9.6 on accepts. Where the target has a
    /// predefined role of that name it is another one, and no role may become a member of it.
    reserved: HashSet<&'a str>,
    /// Of `SET SESSION AUTHORIZATION`.
    session_role: Option<&'a str>,
}

impl<'a> Planner<'a> {
    fn decide(&mut self, sql: &str, statement: &'a Statement) -> Option<Action> {
        match statement {
            Statement::SetSessionAuthorization { role } => {
                self.session_role = Some(role);
                None
            }
            Statement::ResetSessionAuthorization => {
                self.session_role = None;
                None
            }
            _ => Some(
                self.refusal(sql, statement)
                    .map_or_else(|| Action::Run(self.run(sql, statement)), Action::Skip),
            ),
        }
    }

    /// Why the statement does not run, if it does not.
    fn refusal(&self, sql: &str, statement: &Statement) -> Option<Skip> {
        let skip = |reason: String, is_loss| {
            Some(Skip {
                sql: Sql(sql.to_owned()),
                reason,
                is_loss,
            })
        };
        if let Some(role) = subjects(statement).find(|role| self.reserved.contains(role)) {
            let reason = format!(
                "role {role} cannot exist on the target: names that start with pg_ are reserved since \
                 9.6; rename the role on the source"
            );
            return skip(reason, true);
        }
        let user = self.target.user;
        if changed_role(statement) == Some(user) {
            let reason = format!("role {user} runs the migration and stays as it is");
            return skip(reason, false);
        }
        match statement {
            Statement::CreateRole { role } if self.target.roles.contains(role.as_str()) => {
                skip(format!("role {role} exists on the target"), false)
            }
            Statement::CreateTablespace { name, .. }
                if self.target.tablespaces.contains(name.as_str()) =>
            {
                skip(format!("tablespace {name} exists on the target"), false)
            }
            Statement::AlterRoleSet { parameter, .. }
            | Statement::PrivilegeOnParameter { parameter, .. } => {
                skip(parameter::removed(parameter, self.target.version)?, true)
            }
            Statement::AlterRoleInDatabase { database, .. }
            | Statement::AlterDatabaseSet { database } => {
                let reason = format!("settings of database {database} come with the database");
                skip(reason, false)
            }
            Statement::Set { parameter, .. } if parameter != "default_transaction_read_only" => {
                let reason = "sessions of pg-migrate have settings of their own".to_owned();
                skip(reason, false)
            }
            Statement::Other => {
                let reason =
                    "pg-migrate does not know this statement; run it by hand if the target \
                              needs it"
                        .to_owned();
                skip(reason, true)
            }
            _ => None,
        }
    }

    fn run(&self, sql: &str, statement: &Statement) -> Run {
        let (sql, fallback) = match statement {
            Statement::AlterRole { role, .. } => (sql.to_owned(), plain_attributes(sql, role)),
            Statement::GrantRole {
                role,
                member,
                grantor: Some(grantor),
            } => (
                sql.to_owned(),
                own_grant(sql, &format!("membership of {member} in {role}"), grantor),
            ),
            Statement::PrivilegeOnTablespace { name, .. } => {
                self.as_session_role(sql, &format!("a privilege on tablespace {name}"))
            }
            Statement::PrivilegeOnParameter { parameter, .. } => {
                self.as_session_role(sql, &format!("a privilege on parameter {parameter}"))
            }
            _ => (sql.to_owned(), None),
        };
        let tolerated = match statement {
            Statement::CreateRole { .. } | Statement::CreateTablespace { .. } => DUPLICATE,
            _ => &[],
        };
        Run {
            sql: Sql(sql),
            tolerated,
            fallback,
            on_error: self.on_error(statement),
        }
    }

    /// Databases need their owners, so roles must be there. Whatever else fails can be fixed
    /// afterwards, and does not hold up the databases.
    fn on_error(&self, statement: &Statement) -> OnError {
        let again = "fix the cause and run the statement on the target";
        OnError::Warn(match statement {
            Statement::AlterRole { role, .. } if self.target.roles.contains(role.as_str()) => {
                return OnError::WarnIfDenied(format!(
                    "role {role} was there before and keeps its attributes and password"
                ));
            }
            Statement::AlterRoleSet { role, parameter } => {
                format!("{parameter} is not set for role {role}: {again}")
            }
            Statement::CommentOnRole { role } => format!("role {role} has no comment: {again}"),
            Statement::SecurityLabelOnRole { role } => {
                format!("role {role} has no security label: {again}")
            }
            Statement::GrantRole { role, member, .. } => {
                format!("role {member} is not a member of role {role}: {again}")
            }
            Statement::CreateTablespace { name, location, .. }
                if self.target.needed_tablespaces.contains(name.as_str()) =>
            {
                return OnError::FailWithHelp(format!(
                    "make the directory {location} on the target's host, empty and owned by the operating-system user of the \
                     server, or CREATE TABLESPACE {} there elsewhere, or say in the plan where it goes ([tablespaces]); then \
                     run again",
                    quote_identifier(name)
                ));
            }
            Statement::CreateTablespace { name, location, .. } => format!(
                "tablespace {name} is missing, and nothing that migrates is in it: where it is wanted, make the directory \
                 {location} on the target's host, empty and owned by the operating-system user of the server, then \
                 `pg-migrate reset PLAN --step globals` and run again; or make a tablespace of this name elsewhere"
            ),
            Statement::AlterTablespace { name } | Statement::PrivilegeOnTablespace { name, .. } => {
                format!("tablespace {name} is not as it was on the source: {again}")
            }
            Statement::PrivilegeOnParameter { parameter, grantee } => {
                format!("role {grantee} has no privilege on parameter {parameter}: {again}")
            }
            _ => return OnError::Fail,
        })
    }

    /// The statement as the role that the dump's session had, with itself as the fallback.
    ///
    /// `SET ROLE` instead of the dump's `SET SESSION AUTHORIZATION`, which only superusers may.
    fn as_session_role(&self, sql: &str, what: &str) -> (String, Option<Fallback>) {
        match self.session_role {
            Some(role) if role != self.target.user => {
                let quoted = quote_identifier(role);
                let fallback = Fallback {
                    on: GRANTOR_REFUSED,
                    sql: Sql(sql.to_owned()),
                    warning: Some(format!(
                        "{what} was granted by {role} on the source and has another grantor on the \
                         target"
                    )),
                };
                (
                    format!("SET ROLE {quoted}; {sql}; SET ROLE NONE"),
                    Some(fallback),
                )
            }
            _ => (sql.to_owned(), None),
        }
    }
}

/// The roles without which the statement means nothing.
fn subjects(statement: &Statement) -> impl Iterator<Item = &str> {
    let also = match statement {
        Statement::GrantRole { role, .. } => Some(role.as_str()),
        _ => None,
    };
    changed_role(statement).into_iter().chain(also)
}

/// The role that is another one after the statement: its attributes, settings, description or rights.
pub(super) fn changed_role(statement: &Statement) -> Option<&str> {
    match statement {
        Statement::CreateRole { role }
        | Statement::AlterRole { role, .. }
        | Statement::AlterRoleSet { role, .. }
        | Statement::CommentOnRole { role }
        | Statement::SecurityLabelOnRole { role }
        | Statement::GrantRole { member: role, .. }
        | Statement::PrivilegeOnTablespace { grantee: role, .. }
        | Statement::PrivilegeOnParameter { grantee: role, .. } => Some(role),
        Statement::AlterRoleInDatabase { .. }
        | Statement::CreateTablespace { .. }
        | Statement::AlterTablespace { .. }
        | Statement::SetSessionAuthorization { .. }
        | Statement::ResetSessionAuthorization
        | Statement::Set { .. }
        | Statement::AlterDatabaseSet { .. }
        | Statement::Other => None,
    }
}

/// `ALTER ROLE` without the attributes that only superusers may name, be it to take them away.
/// A new role has none of them.
fn plain_attributes(sql: &str, role: &str) -> Option<Fallback> {
    const ATTRIBUTES: [&str; 3] = ["superuser", "replication", "bypassrls"];
    let mut plain = String::with_capacity(sql.len());
    let mut lost = Vec::new();
    let mut found = false;
    let mut after_with = false;
    for token in tokens(sql) {
        let text = &sql[token.span];
        let word = match token.kind {
            TokenKind::Word => text.to_ascii_lowercase(),
            _ => String::new(),
        };
        let attribute = word.strip_prefix("no").unwrap_or(&word);
        if after_with && ATTRIBUTES.contains(&attribute) {
            found = true;
            if attribute == word {
                lost.push(text);
            }
            plain.truncate(plain.trim_end().len());
        } else {
            plain.push_str(text);
        }
        after_with |= word == "with";
    }
    let warning = (!lost.is_empty()).then(|| {
        format!(
            "role {role} is without {} on the target: only a superuser may give that",
            lost.join(", ")
        )
    });
    found.then_some(Fallback {
        on: DENIED,
        sql: Sql(plain),
        warning,
    })
}

/// `GRANT` without `GRANTED BY`: from 16 on the grantor must have the ADMIN option itself, and before
/// only superusers may name another one (PostgreSQL manual, GRANT, "GRANT on Roles").
fn own_grant(sql: &str, what: &str, grantor: &str) -> Option<Fallback> {
    let clause = tokens(sql)
        .filter(|token| token.kind == TokenKind::Word)
        .find(|token| sql[token.span.clone()].eq_ignore_ascii_case("granted"))?;
    Some(Fallback {
        on: GRANTOR_REFUSED,
        sql: Sql(sql[..clause.span.start].trim_end().to_owned()),
        warning: Some(format!(
            "{what} was granted by {grantor} on the source and has another grantor on the target"
        )),
    })
}

#[cfg(test)]
mod tests;
