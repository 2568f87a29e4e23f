//! Which plans need a role, by the mark: who made it may be another.

use super::error::Error;
use crate::postgres::Connection;

/// A plan that needs a role, and has databases on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleUser {
    pub role: String,
    pub plan: String,
    /// The id of its state directory.
    pub state: String,
}

/// Puts down which source our plan has (its system_identifier), and which roles that has now.
pub(super) async fn note(
    connection: &Connection,
    (state, run): (&str, &str),
    source: Option<&str>,
    roles: &[&str],
) -> Result<(), Error> {
    connection
        .execute(
            "WITH s AS (UPDATE mark.state SET source = $4 WHERE id = $1 AND run = $2 RETURNING id), \
                  d AS (DELETE FROM mark.used_role u USING s WHERE u.state = s.id AND u.name <> ALL ($3)) \
             INSERT INTO mark.used_role (state, name) SELECT s.id, n.name FROM s, unnest($3::text[]) AS n (name) \
             ON CONFLICT DO NOTHING",
            &[&state, &run, &roles, &source],
        )
        .await
        .map_err(connection.failed("write the mark"))?;
    Ok(())
}

/// Who needs roles, but for this state directory. A plan whose databases were all dropped needs none.
pub(super) async fn users(connection: &Connection, state: &str) -> Result<Vec<RoleUser>, Error> {
    let rows = connection
        .query(
            "SELECT u.name, s.plan, s.id FROM mark.used_role u JOIN mark.state s ON s.id = u.state \
             WHERE s.id <> $1 AND EXISTS (SELECT FROM mark.database d JOIN pg_catalog.pg_database p ON p.oid = d.oid \
                                          WHERE d.state = s.id) \
             ORDER BY 1, s.started, 3",
            &[&state],
        )
        .await
        .map_err(connection.failed("read the mark"))?;
    let users = rows.iter().map(|row| RoleUser {
        role: row.get(0),
        plan: row.get(1),
        state: row.get(2),
    });
    Ok(users.collect())
}

/// Makes roles that these state directories made those of the one that needs them.
pub(super) async fn hand_over(
    connection: &Connection,
    from: &[&str],
    users: &[&RoleUser],
) -> Result<(), Error> {
    let roles: Vec<&str> = users.iter().map(|user| &*user.role).collect();
    let to: Vec<&str> = users.iter().map(|user| &*user.state).collect();
    connection
        .execute(
            "WITH n AS (SELECT * FROM unnest($2::text[], $3::text[]) AS n (name, state)), \
                  d AS (DELETE FROM mark.role r USING n WHERE r.name = n.name AND r.state = ANY ($1) \
                        RETURNING n.state, r.name, r.oid) \
             INSERT INTO mark.role (state, name, oid) SELECT state, name, max(oid) FROM d GROUP BY 1, 2 \
             ON CONFLICT (state, name) DO UPDATE SET oid = excluded.oid",
            &[&from, &roles, &to],
        )
        .await
        .map_err(connection.failed("write the mark"))?;
    Ok(())
}
