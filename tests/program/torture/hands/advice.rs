//! What a person does about a run that says why it does not go on.

use super::people::People;
use super::watch;
use crate::support::compare;
use crate::support::project::Finished;
use crate::support::server::identifier;
use crate::torture::stage::{DATABASES, Variant};

type Remedy = fn(&mut People<'_>) -> bool;

/// What is said, and what a person does then; whether anything was done. The first that fits.
const ADVICE: &[(&str, Remedy)] = &[
    ("let [target] lead to the server", |people| {
        people.lead_back()
    }),
    ("let [target] of the plan lead there", |people| {
        people.lead_back()
    }),
    ("let [source] lead to the server", |people| {
        people.lead_back()
    }),
    ("password authentication failed", give_passwords),
    ("No space left on device", |people| people.make_room()),
    ("is full", |people| people.make_room()),
    (
        "Go on with the state directory that belongs to the target's mark",
        |people| people.go_on_with_the_newest(),
    ),
    ("pg-migrate discard", discard_what_was_lost),
    (
        "holds archives of another state directory",
        discard_what_was_lost,
    ),
    (
        "remove the directory if what is in it is not needed",
        remove_archives,
    ),
    (
        "nothing is overwritten that this plan did not create",
        discard_what_was_lost,
    ),
    ("end that session (pg_terminate_backend)", end_sessions),
    ("`pg-migrate revert", revert),
    ("target/promoted", look_at_promoted),
    ("target.tuning.shared_target = true", accept_shared_target),
    (
        "bring the tables that are newer than the regular dump",
        bring_newer,
    ),
    ("a waiver for target/differed", stand_for_what_is_there),
    ("delete these rows there, and run again", delete_orphans),
    ("drop or rename it", drop_what_is_by_hand),
    ("being accessed by other users", end_sessions),
    ("and it is gone from the target", reset_gone),
    ("put the plan back as it was", put_plan_back),
    ("take it into the plan again and run", include_again),
    ("reset PLAN --database NAME", reset_unused),
    ("set delay.snapshot = \"later\"", take_later_snapshot),
    (
        "run again: the target is counted again",
        remove_tables_by_hand,
    ),
    ("the run that compiled it", seal_again),
    (
        "to keep it as it is, exclude it (databases.exclude)",
        keep_used,
    ),
    ("DROP DATABASE on the target, and run again", drop_unused),
    ("run again", just_again),
    ("another run holds", just_again),
];

/// Does what the run advises. Whether there was anything to do.
pub fn follow(people: &mut People<'_>, finished: &Finished) -> Option<&'static str> {
    // An error is wrapped to the terminal's width.
    let said = finished.said();
    let (needle, _) = ADVICE
        .iter()
        .filter(|(needle, _)| said.contains(needle))
        .find(|(_, remedy)| remedy(people))?;
    people.tell(format!("advice followed: {needle}"));
    Some(needle)
}

fn accept_shared_target(people: &mut People<'_>) -> bool {
    let is_new = !people.keys.shared_target;
    people.keys.shared_target = true;
    people.write_plan();
    is_new
}

/// Whoever changed a password tells those who need it.
fn give_passwords(people: &mut People<'_>) -> bool {
    let passwords = [
        ("SOURCE_PASSWORD", people.source.password().to_owned()),
        ("TARGET_PASSWORD", people.target.password().to_owned()),
    ];
    let mut any = false;
    for (variable, password) in passwords {
        any |= people.project.set_variable(variable, password);
    }
    any
}

fn revert(people: &mut People<'_>) -> bool {
    let finished = people.project.run(&["revert"]);
    people.heard("revert", &finished);
    finished.code == Some(0) && !finished.said().contains("nothing to restore")
}

/// The newest state directory is gone for good: what nobody uses goes with it, the rest is left out.
fn discard_what_was_lost(people: &mut People<'_>) -> bool {
    if !people.night.directories.is_lost {
        return false;
    }
    // It drops nothing that a session is in.
    people.end_sessions();
    let listed = people.project.run(&["discard"]);
    people.heard("discard", &listed);
    let mut arguments = vec!["discard"];
    for database in DATABASES {
        let is_made = listed.said().contains(&format!("database \"{database}\""));
        let is_used = people.client_rows.iter().any(|(of, _, _)| of == database);
        if is_used {
            people.keys.exclude.insert(database.to_owned());
        } else if is_made && !people.foreign.contains_key(database) {
            arguments.extend(["--drop", database]);
        }
    }
    people.write_plan();
    arguments.extend(["--all", "--yes"]);
    let finished = people.project.run(&arguments);
    people.heard(&arguments.join(" "), &finished);
    people.night.directories.is_lost = finished.code != Some(0);
    finished.code == Some(0)
}

fn remove_archives(people: &mut People<'_>) -> bool {
    let archives = people
        .project
        .directory()
        .join("pg_dumps")
        .join(&people.name);
    std::fs::remove_dir_all(archives).is_ok()
}

/// What is whole is believed; what lacks something is made again, unless clients use it.
fn look_at_promoted(people: &mut People<'_>) -> bool {
    let verify = people.project.run(&["verify"]);
    people.heard("verify", &verify);
    let mut any = false;
    for database in DATABASES {
        let is_used = people.client_rows.iter().any(|(of, _, _)| of == database);
        if !people.night.whole.contains(database) && !is_used {
            let reset = ["reset", "--database", database, "--drop", database];
            any |= people.project.run(&reset).code == Some(0);
        }
    }
    people.tell(format!("made again: {any}"));
    if !any {
        any = people.keys.waived.insert("target/promoted");
        people.write_plan();
    }
    any
}

/// Whoever made the databases drops them.
fn drop_what_is_by_hand(people: &mut People<'_>) -> bool {
    let mut dropped = false;
    for database in DATABASES {
        // An empty one that has the name of ours is of no use to anybody.
        if people.is_replaced(database) && !people.foreign.contains_key(database) {
            let sql = format!("DROP DATABASE {} WITH (FORCE)", identifier(database));
            dropped |= people.target_now(&sql);
        }
        if people.foreign.contains_key(database) {
            for change in people.changes_of_foreign() {
                people.wrong(change);
            }
            people.foreign.remove(database);
            let sql = format!("DROP DATABASE {} WITH (FORCE)", identifier(database));
            dropped |= people.target_now(&sql);
        }
    }
    dropped
}

fn end_sessions(people: &mut People<'_>) -> bool {
    let any = !people.sessions.is_empty();
    people.end_sessions();
    any
}

fn put_plan_back(people: &mut People<'_>) -> bool {
    let before = super::people::Keys::of(people.keys.variant).delayed;
    let is_other = people.keys.delayed != before;
    people.keys.delayed = before;
    people.write_plan();
    is_other
}

fn include_again(people: &mut People<'_>) -> bool {
    let any = !people.keys.exclude.is_empty();
    people.keys.exclude.clear();
    people.write_plan();
    any
}

/// By pg_dump, as the run says.
fn bring_newer(people: &mut People<'_>) -> bool {
    let names = "SELECT relname FROM pg_class WHERE relname LIKE 'later_new_%' ORDER BY 1";
    let mut any = false;
    for database in ["events", "shop"] {
        let there = people.target.try_psql(database, names).unwrap_or_default();
        let there: Vec<&str> = there.lines().collect();
        for table in people.source.psql(database, names).lines() {
            if there.contains(&table) {
                continue;
            }
            let options = [&*format!("--table=public.{table}")];
            let script = compare::pg_dump(&people.source, database, &options);
            people.target.psql(database, &script);
            people.tell(format!("target {database:?}: {table} is brought"));
            people
                .brought
                .insert((database, people.oid(database), table.to_owned()));
            any = true;
        }
    }
    any
}

/// Whoever wrote to a database that was closed takes out what is of no use, and stands for the rest.
fn stand_for_what_is_there(people: &mut People<'_>) -> bool {
    let removed = remove_tables_by_hand(people);
    let waived = people.keys.waived.insert("target/differed");
    people.write_plan();
    removed || waived
}

/// Rows whose parents came to the source after the regular snapshot.
pub const DELETE_ORPHANS: &str = "SET default_transaction_read_only = off;
    DELETE FROM public.later_children c
    WHERE NOT EXISTS (SELECT FROM public.hand_parents p WHERE p.id = c.parent) RETURNING 'an orphan'";

fn delete_orphans(people: &mut People<'_>) -> bool {
    let mut any = false;
    for database in ["events", "shop"] {
        let deleted = people.target.try_psql(database, DELETE_ORPHANS);
        people.tell(format!(
            "target {database:?}: orphans are deleted: {deleted:?}"
        ));
        if deleted.is_ok_and(|rows| !rows.is_empty()) {
            people.orphans_deleted.insert(database.to_owned());
            any = true;
        }
    }
    any
}

/// Databases that were dropped or renamed are to be made again.
fn reset_gone(people: &mut People<'_>) -> bool {
    let mut any = false;
    for database in DATABASES {
        if people.oid(database).is_none() {
            let reset = ["reset", "--database", database, "--drop", database];
            any |= people.project.run(&reset).code == Some(0);
        }
    }
    any
}

/// Where the database is not in use on the target.
fn reset_unused(people: &mut People<'_>) -> bool {
    let mut any = false;
    for database in ["events", "shop"] {
        let is_used = people.client_rows.iter().any(|(of, _, _)| of == database);
        if !is_used {
            any |= people
                .project
                .run(&["reset", "--database", database, "--drop", database])
                .code
                == Some(0);
        }
    }
    any
}

/// As the run asks for, where nobody uses the database.
fn drop_unused(people: &mut People<'_>) -> bool {
    let mut dropped = false;
    for database in DATABASES {
        let is_used = people.client_rows.iter().any(|(of, _, _)| of == database);
        if !is_used {
            for change in people.changes_of_foreign() {
                people.wrong(change);
            }
            people.foreign.remove(database);
            let sql = format!(
                "DROP DATABASE IF EXISTS {} WITH (FORCE)",
                identifier(database)
            );
            dropped |= people.target_now(&sql);
        }
    }
    dropped
}

/// What was to be made again, and clients use.
fn keep_used(people: &mut People<'_>) -> bool {
    let mut any = false;
    for database in DATABASES {
        let is_used = people.client_rows.iter().any(|(of, _, _)| of == database);
        if is_used && !people.is_done(&format!("{database}/verify")) {
            any |= people.keys.exclude.insert(database.to_owned());
        }
    }
    people.write_plan();
    any
}

fn take_later_snapshot(people: &mut People<'_>) -> bool {
    let is_new = people.keys.variant != Variant::Later;
    people.keys.variant = Variant::Later;
    people.write_plan();
    is_new
}

/// Tables that a user made in databases that were not verified.
fn remove_tables_by_hand(people: &mut People<'_>) -> bool {
    let mut any = false;
    for database in people.disturbed.clone() {
        let is_clients = people
            .client_rows
            .contains(&(database.clone(), "by_hand", 7));
        if !watch::is_of_stage(&database) || people.foreign.contains_key(&database) || is_clients {
            continue;
        }
        let sql = "SET default_transaction_read_only = off;
                   SELECT 'by_hand' FROM pg_class WHERE relname = 'by_hand'; DROP TABLE IF EXISTS public.by_hand";
        any |= people
            .target
            .try_psql(&database, sql)
            .is_ok_and(|found| found.contains("by_hand"));
    }
    any
}

fn seal_again(people: &mut People<'_>) -> bool {
    people.project.run(&["plan"]).code == Some(0)
}

/// What was in the way may be gone.
fn just_again(_: &mut People<'_>) -> bool {
    true
}
