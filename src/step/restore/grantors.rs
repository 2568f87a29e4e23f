//! Who granted what: on the source, in nearly all archives, the owner of each object.
//!
//! A role that is no superuser, and a member of the owner, grants as the first role that it is a member of and that has the grant
//! option (`select_best_grantor` in PostgreSQL's acl.c): that may be another than the owner as soon as the owner gave one to it. What
//! that one granted, a REVOKE by the owner does not take away. So the privileges of owners who gave any are restored in their own names.

use std::collections::BTreeSet;
use std::path::Path;

use super::parts::{LARGEST_LISTING, Part, Pass, write_list};
use super::{Context, StepError, Toc, capture};
use crate::names::some_of;
use crate::plan::Side;
use crate::postgres::{Connection, escape_control};
use crate::process::{Invocation, Stdout};
use crate::step::ours;

/// Objects that a warning names.
const NAMED: usize = 20;

/// The passes, with those that restore privileges split by the roles that they are restored by. Where our role is a superuser it grants
/// in the owner's name whoever has a grant option.
pub(super) async fn split(
    context: &Context,
    archive: &Path,
    toc: &Toc,
    passes: Vec<Pass>,
) -> Result<Vec<Pass>, StepError> {
    if context.shared.inspection.target.is_superuser {
        return Ok(passes);
    }
    let mut split = Vec::new();
    for pass in passes {
        if pass.part == Part::Privileges {
            let script = script(context, archive, &pass).await?;
            split.extend(by_owner(toc, pass, &givers(&script)));
        } else {
            split.push(pass);
        }
    }
    Ok(split)
}

/// The statements of a pass.
async fn script(context: &Context, archive: &Path, pass: &Pass) -> Result<String, StepError> {
    let list = write_list(archive, pass.part, &pass.entries)?;
    let script = Invocation::new("pg_restore")
        .arguments([
            "--use-list".as_ref(),
            list.as_os_str(),
            "--file=-".as_ref(),
            archive.as_os_str(),
        ])
        .stdout(Stdout::Null)
        .log(context.log_file());
    let (finished, warnings) = capture(context, script, LARGEST_LISTING).await?;
    context.notices.extend(warnings);
    Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
}

/// The owners of objects on which something is granted with the grant option, by the comments before the statements.
fn givers(script: &str) -> BTreeSet<&str> {
    let mut owner = None;
    let mut givers = BTreeSet::new();
    for line in script.lines() {
        if line.starts_with("-- Name: ") {
            let is_of_object = line.contains("; Type: ACL; ");
            owner = line
                .rsplit_once("; Owner: ")
                .filter(|_| is_of_object)
                .map(|(_, owner)| owner);
        } else if line.ends_with(" WITH GRANT OPTION;") {
            givers.extend(owner);
        }
    }
    givers
}

/// Schemas first: who may use one is known before what is in it is named by its owner.
fn by_owner(toc: &Toc, pass: Pass, owners: &BTreeSet<&str>) -> Vec<Pass> {
    let part = pass.part;
    let giver = |id: &u32| {
        let entry = toc.get(*id).filter(|entry| entry.description == "ACL");
        entry.and_then(|entry| owners.get(entry.owner.as_str()).copied())
    };
    let (given, plain): (Vec<u32>, Vec<u32>) =
        pass.entries.into_iter().partition(|id| giver(id).is_some());
    let (schemas, others): (Vec<u32>, Vec<u32>) =
        given.into_iter().partition(|id| is_schema(toc, *id));
    let of_owners = |entries: Vec<u32>| {
        owners.iter().map(move |owner| {
            let is_of_owner = |id: &&u32| giver(id) == Some(*owner);
            let entries = entries.iter().filter(is_of_owner).copied().collect();
            let role = Some((*owner).to_owned());
            Pass {
                part,
                role,
                entries,
            }
        })
    };
    let plain = Pass {
        part,
        role: None,
        entries: plain,
    };
    let passes = of_owners(schemas).chain([plain]).chain(of_owners(others));
    passes.filter(|pass| !pass.entries.is_empty()).collect()
}

fn is_schema(toc: &Toc, id: u32) -> bool {
    let entry = toc.get(id);
    entry.is_some_and(|entry| entry.schema.is_none() && entry.tag.starts_with("SCHEMA "))
}

/// Whether our role may take on the owner's, and the owner may name what it owns: not in a schema that it may not use.
const MAY_RESTORE: &str = "\
    SELECT pg_catalog.pg_has_role(r.oid, $2) AND ($3 OR NOT EXISTS ( \
        SELECT FROM pg_catalog.pg_namespace n \
        WHERE n.nspname <> 'pg_toast' AND NOT pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE') AND ( \
            EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relowner = r.oid AND c.relnamespace = n.oid) \
            OR EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.typowner = r.oid AND t.typnamespace = n.oid) \
            OR EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.proowner = r.oid AND (p.pronamespace = n.oid \
                OR EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = ANY (p.proargtypes) AND t.typnamespace = n.oid)))))) \
    FROM pg_catalog.pg_roles r WHERE r.rolname::text = $1";

/// The role that the pass is run as; `None`: ours.
pub(super) async fn role_of<'a>(
    context: &Context,
    toc: &Toc,
    pass: &'a Pass,
) -> Result<Option<&'a str>, StepError> {
    let Some(role) = &pass.role else {
        return Ok(None);
    };
    let mode = match context.shared.inspection.target.version.major() {
        1600.. => "SET",
        _ => "MEMBER",
    };
    let are_schemas = pass.entries.iter().all(|id| is_schema(toc, *id));
    let connection = ours::open(context, &context.session(Side::Target)).await?;
    let row = connection
        .query_opt(MAY_RESTORE, &[role, &mode, &are_schemas])
        .await
        .map_err(connection.failed("ask whether privileges can be granted by their owner"))?;
    connection.close().await;
    let may_restore = row.is_some_and(|row| row.get::<_, Option<bool>>(0) == Some(true));
    Ok(may_restore.then_some(role.as_str()))
}

/// Objects on which another role than the owner granted something.
const BY_OTHERS: &str = "\
    WITH object (what, owner, acl) AS ( \
        SELECT 'schema ' || pg_catalog.quote_ident(nspname), nspowner, nspacl FROM pg_catalog.pg_namespace \
        UNION ALL SELECT 'table ' || oid::pg_catalog.regclass, relowner, relacl FROM pg_catalog.pg_class \
            WHERE relkind <> 'S' \
        UNION ALL SELECT 'sequence ' || oid::pg_catalog.regclass, relowner, relacl FROM pg_catalog.pg_class \
            WHERE relkind = 'S' \
        UNION ALL SELECT 'column ' || c.oid::pg_catalog.regclass || '.' || pg_catalog.quote_ident(a.attname), c.relowner, a.attacl \
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
        UNION ALL SELECT 'function ' || oid::pg_catalog.regprocedure, proowner, proacl FROM pg_catalog.pg_proc \
        UNION ALL SELECT 'type ' || oid::pg_catalog.regtype, typowner, typacl FROM pg_catalog.pg_type \
        UNION ALL SELECT 'language ' || pg_catalog.quote_ident(lanname), lanowner, lanacl FROM pg_catalog.pg_language \
        UNION ALL SELECT 'foreign-data wrapper ' || pg_catalog.quote_ident(fdwname), fdwowner, fdwacl \
            FROM pg_catalog.pg_foreign_data_wrapper \
        UNION ALL SELECT 'server ' || pg_catalog.quote_ident(srvname), srvowner, srvacl FROM pg_catalog.pg_foreign_server \
        UNION ALL SELECT 'large object ' || oid, lomowner, lomacl FROM pg_catalog.pg_largeobject_metadata) \
    SELECT DISTINCT o.what || ' (granted by ' || pg_catalog.pg_get_userbyid(a.grantor) || ', owned by ' \
               || pg_catalog.pg_get_userbyid(o.owner) || ')' \
    FROM object o, pg_catalog.aclexplode(o.acl) a WHERE a.grantor <> o.owner ORDER BY 1";

/// What could not be granted by its owner, as a warning.
pub(super) async fn told(context: &Context) -> Result<Option<String>, StepError> {
    if context.shared.inspection.target.is_superuser {
        return Ok(None);
    }
    let connection = ours::open(context, &context.session(Side::Target)).await?;
    let objects = by_others(&connection).await;
    connection.close().await;
    let objects = objects?;
    Ok((!objects.is_empty()).then(|| {
        format!(
            "database {}: the target has privileges that another role granted than the owner of the object, because our role is no \
             superuser there: a REVOKE by the owner does not take them away. GRANT them as the owner, then REVOKE them as the other \
             role: {}",
            context.shown_database(),
            escape_control(&some_of(&objects, NAMED))
        )
    }))
}

async fn by_others(connection: &Connection) -> Result<Vec<String>, StepError> {
    let rows = connection
        .query(BY_OTHERS, &[])
        .await
        .map_err(connection.failed("look for privileges that others than owners granted"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_who_gave_a_grant_option_restore_what_they_own() {
        let listing = "5; 2615 1 SCHEMA - s own\n\
                       16; 0 0 ACL - SCHEMA s own\n\
                       17; 0 0 ACL s TABLE t own\n\
                       18; 0 0 ACL s TABLE u other\n\
                       19; 826 4 DEFAULT ACL s DEFAULT PRIVILEGES FOR TABLES own\n\
                       20; 0 0 ACL - SCHEMA o other\n";
        let toc = Toc::parse(listing, ["own", "other"]);
        let script = "-- Name: SCHEMA s; Type: ACL; Schema: -; Owner: own\n\n\
                      GRANT USAGE ON SCHEMA s TO a WITH GRANT OPTION;\n\
                      GRANT USAGE ON SCHEMA s TO b;\n\n\
                      -- Name: TABLE u; Type: ACL; Schema: s; Owner: other\n\n\
                      GRANT SELECT ON TABLE s.u TO a;\n\n\
                      -- Name: DEFAULT PRIVILEGES FOR TABLES; Type: DEFAULT ACL; Schema: s; Owner: other\n\n\
                      ALTER DEFAULT PRIVILEGES FOR ROLE other GRANT SELECT ON TABLES TO a WITH GRANT OPTION;\n";
        let owners = givers(script);
        assert_eq!(owners, BTreeSet::from(["own"]));
        let pass = Pass {
            part: Part::Privileges,
            role: None,
            entries: vec![16, 17, 18, 19, 20],
        };
        let passes = by_owner(&toc, pass, &owners);
        let shown: Vec<String> = passes
            .iter()
            .map(|pass| format!("{:?}: {:?}", pass.role.as_deref(), pass.entries))
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        Some("own"): [16]
        None: [18, 19, 20]
        Some("own"): [17]
        "#);
    }
}
