//! `pg-migrate discard`: what people do after a rehearsal, or to give up.

use std::fs;

use crate::support::compare;
use crate::support::held::Held;
use crate::support::project::Project;
use crate::support::server::Server;

const DATABASES: &str =
    "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
const ROLES: &str =
    "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'";

/// Two databases and two roles, of which the target has one already.
fn servers() -> (Server, Server) {
    let (source, target) = (Server::start(16), Server::start(18));
    target.psql("postgres", "CREATE ROLE there");
    source.psql("postgres", "CREATE ROLE there");
    source.psql("postgres", "CREATE ROLE app LOGIN");
    source.psql("postgres", "GRANT SET ON PARAMETER work_mem TO app");
    for database in ["crm", "erp"] {
        source.psql("postgres", &format!("CREATE DATABASE {database} OWNER app"));
        source.psql(
            database,
            "CREATE TABLE plain AS SELECT n AS id FROM generate_series(1, 100) n",
        );
    }
    (source, target)
}

fn is_as_before(project: &Project, target: &Server) {
    assert_eq!(target.psql("postgres", DATABASES), "postgres");
    assert_eq!(target.psql("postgres", ROLES), "postgres there");
    assert!(!project.state_directory().exists());
    assert!(!project.directory().join("pg_dumps/test").exists());
}

#[test]
fn it_lists_what_the_plan_made_and_what_was_written_to() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    let told = project.run(&["discard"]).expect_code(0);
    told.says(&["made nothing that is on the target"]);
    assert!(!project.state_directory().exists());

    project.run(&["run"]).expect_code(0);
    target.psql("erp", "INSERT INTO plain VALUES (1000)");
    target.psql("erp", "SELECT pg_stat_force_next_flush()");
    let told = project.run(&["discard"]).expect_code(0);
    told.says(&[
        "database \"crm\" verified, not written to since",
        "database \"erp\" verified, WRITTEN TO SINCE",
        "role \"app\"",
        "database \"pg_migrate_mark\"",
        "nothing was dropped",
    ]);
    assert!(!told.stdout.contains("\"there\""), "{}", told.stdout);
    assert_eq!(
        target.psql("postgres", DATABASES),
        "crm erp pg_migrate_mark postgres"
    );
}

#[test]
fn a_database_is_dropped_by_name_and_migrates_again() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let told = project.run(&["discard", "--drop", "erb"]).expect_code(2);
    told.says(&["nothing was dropped", "erb"]);
    project.run(&["discard", "--all"]).expect_code(2);
    project.run(&["discard", "--yes"]).expect_code(2);
    target.psql("crm", "INSERT INTO plain VALUES (1000)");

    let told = project.run(&["discard", "--drop", "erp"]).expect_code(0);
    told.says(&["database \"erp\" is dropped"]);
    assert_eq!(
        target.psql("postgres", DATABASES),
        "crm pg_migrate_mark postgres"
    );
    // Again, it is gone.
    project.run(&["discard", "--drop", "erp"]).expect_code(2);
    source.psql("erp", "INSERT INTO plain VALUES (2000)");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
    assert_eq!(target.psql("crm", "SELECT count(*) FROM plain"), "101");
}

/// What was there before stays: a role, a role that something else needs now, a database that was filled, with the roles of its clients.
#[test]
fn all_of_it_is_dropped_and_nothing_else() {
    for was_there in [true, false] {
        let (source, target) = servers();
        source.psql("postgres", "CREATE ROLE busy; CREATE ROLE idle");
        if was_there {
            target.psql("postgres", "CREATE DATABASE erp");
        }
        let project = Project::between(&source, &target).with("[dump]\nkeep = true\n");
        project.run(&["run"]).expect_code(0);
        target.psql("postgres", "CREATE DATABASE other OWNER busy");
        assert!(project.directory().join("pg_dumps/test").exists());
        let told = project.run(&["discard", "--all", "--yes"]).expect_code(0);
        told.says(&["database \"crm\" is dropped", "role \"busy\" stays"]);
        let (databases, roles, why) = if was_there {
            let why = "role \"idle\" stays: database \"erp\"";
            ("erp other postgres", "app busy idle postgres there", why)
        } else {
            // It owns what stays.
            (
                "other postgres",
                "busy postgres there",
                "it owns database \"other\"",
            )
        };
        told.says(&[why]);
        assert_eq!(target.psql("postgres", DATABASES), databases);
        assert_eq!(target.psql("postgres", ROLES), roles);
        assert!(!project.state_directory().exists());
        assert!(!project.directory().join("pg_dumps/test").exists());
        project.run(&["discard", "--all", "--yes"]).expect_code(0);
    }
}

/// After a rehearsal, a person gave the roles that came with it to others on the target.
#[test]
fn roles_that_others_use_by_now_stay() {
    let (source, target) = servers();
    source.psql(
        "postgres",
        "CREATE ROLE granted; CREATE ROLE has_set; CREATE ROLE joined; CREATE ROLE unused; CREATE ROLE clerk IN ROLE unused",
    );
    target.psql("postgres", "CREATE DATABASE dwh");
    let project =
        Project::between(&source, &target).with("[target.tuning]\nshared_target = true\n");
    project.run(&["run"]).expect_code(0);
    target.psql("postgres", "GRANT CONNECT ON DATABASE dwh TO granted; ALTER ROLE has_set IN DATABASE dwh SET work_mem = '8MB'; GRANT joined TO there");
    let told = project.run(&["discard", "--all", "--yes"]).expect_code(0);
    told.says(&[
        "role \"granted\" stays, since it has privileges on database \"dwh\"",
        "role \"has_set\" stays, since it has settings in database \"dwh\"",
        "role \"joined\" stays, since role \"there\" is a member of it",
        "role \"unused\" is dropped",
        "role \"clerk\" is dropped",
    ]);
    let may = "SELECT has_database_privilege('granted', 'dwh', 'CONNECT'), pg_has_role('there', 'joined', 'MEMBER')";
    assert_eq!(target.psql("postgres", may), "t|t");
}

/// After a rehearsal: roles are the server's, and stay as they are there when the last database is dropped.
#[test]
fn a_role_that_was_changed_on_the_target_stays_so_when_all_databases_are_dropped() {
    let (source, target) = servers();
    source.psql("postgres", "ALTER ROLE app SUPERUSER PASSWORD 'old'");
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    target.psql("postgres", "ALTER ROLE app NOSUPERUSER PASSWORD 'new'");
    let hardened = "SELECT rolsuper, rolpassword FROM pg_authid WHERE rolname = 'app'";
    let before = target.psql("postgres", hardened);
    project
        .run(&["discard", "--drop", "crm", "--drop", "erp"])
        .expect_code(0);
    project.run(&["run"]).expect_code(0).says(&[
        "role \"app\" was changed on the target since an earlier run of this plan migrated it: it was left as it is",
    ]);
    assert_eq!(target.psql("postgres", hardened), before);
}

#[test]
fn clients_keep_what_they_are_connected_to() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    let client = Held::begin(&target, "erp", "SELECT count(*) FROM plain");
    let told = project.run(&["discard", "--all", "--yes"]).expect_code(4);
    told.says(&["database \"erp\" stays", "being accessed by other users"]);
    assert_eq!(
        target.psql("postgres", DATABASES),
        "erp pg_migrate_mark postgres"
    );
    assert_eq!(target.psql("postgres", ROLES), "app postgres there");
    client.commit();
    project.run(&["discard", "--all", "--yes"]).expect_code(0);
    is_as_before(&project, &target);
}

/// Wherever it is killed, it is done again; and where the run was, it is done all the same.
#[test]
fn killed_in_the_middle_it_is_done_again() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    let killed_at = |verb: &[&str], point: &str| {
        let killed = project.start_with(verb, &[("PG_MIGRATE_FAILPOINT", point.as_ref())]);
        assert_eq!(killed.wait().signal, Some(9), "{point}");
    };
    let points = [
        "discard drops a database:1",
        "discard dropped a database:2",
        "journal dropped-database erp written:1",
        "discard drops a role:1",
        "journal dropped-role app before:1",
        "discard removed the mark:1",
        "discard removed a file:3",
    ];
    for point in points {
        killed_at(&["run"], "journal step-started erp/verify synced:1");
        killed_at(&["discard", "--all", "--yes"], point);
        project.run(&["discard", "--all", "--yes"]).expect_code(0);
        is_as_before(&project, &target);
        assert_eq!(target.psql("postgres", "SHOW autovacuum"), "on");
    }
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// By its mark the target knows what was made under a state directory that is lost; another plan of the name may have made it.
#[test]
fn what_a_lost_state_directory_made_is_dropped_by_name() {
    let (source, target) = servers();
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    fs::remove_dir_all(project.state_directory()).unwrap();
    let told = project.run(&["discard"]).expect_code(0);
    told.says(&[
        "database \"crm\" verified, and it cannot be known whether it was written to since; made under another state directory",
        "role \"app\" made under another state directory",
    ]);
    project.run(&["discard", "--all", "--yes"]).expect_code(0);
    assert_eq!(
        target.psql("postgres", DATABASES),
        "crm erp pg_migrate_mark postgres"
    );
    project.run(&["discard", "--drop", "crm"]).expect_code(0);
    assert_eq!(
        target.psql("postgres", DATABASES),
        "erp pg_migrate_mark postgres"
    );
    project
        .run(&["discard", "--drop", "erp", "--all", "--yes"])
        .expect_code(0);
    is_as_before(&project, &target);
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}

/// A person renamed what the plan made, or made another of its name.
#[test]
fn what_a_person_renamed_or_replaced_stays() {
    let (source, target) = servers();
    source.psql("postgres", "CREATE ROLE clerk LOGIN");
    let project = Project::between(&source, &target);
    project.run(&["run"]).expect_code(0);
    target.psql("postgres", "ALTER DATABASE erp RENAME TO erp_kept");
    target.psql("postgres", "CREATE DATABASE erp");
    target.psql("postgres", "DROP DATABASE crm");
    let told = project.run(&["discard"]).expect_code(0);
    told.says(&["database \"erp_kept\" verified, not written to since; it was \"erp\""]);
    project.run(&["discard", "--drop", "erp"]).expect_code(2);
    let told = project.run(&["discard", "--all", "--yes"]).expect_code(0);
    // Whoever works in what stays.
    told.says(&[
        "role \"app\" stays",
        "role \"clerk\" stays: database \"erp_kept\"",
    ]);
    assert!(target.psql("postgres", ROLES).contains("clerk"));
    assert_eq!(target.psql("postgres", DATABASES), "erp erp_kept postgres");
}

/// A plan for each database, of which the first made the roles.
fn two_plans() -> (Server, Server, Project, Project) {
    let (source, target) = servers();
    source.psql("postgres", "CREATE ROLE reader LOGIN IN ROLE app");
    let plan = |name: &str, database: &str, rest: &str| {
        Project::between(&source, &target)
            .named(name)
            .with(&format!("[databases]\ninclude = [\"{database}\"]\n{rest}"))
    };
    let first = plan("first", "crm", "");
    let shared = "[target.tuning]\nshared_target = true\n[globals]\nmigrate = false\n";
    let second = plan("second", "erp", shared);
    first.run(&["run"]).expect_code(0);
    second.run(&["run"]).expect_code(0);
    (source, target, first, second)
}

/// `reader` owns nothing and has no privilege of its own, so that nothing but the mark keeps it.
#[test]
fn roles_that_another_plan_needs_stay_and_are_that_ones() {
    let (source, target, first, second) = two_plans();
    let told = first.run(&["discard"]).expect_code(0);
    told.says(&["role \"reader\" plan \"second\" needs it, so it stays"]);
    let told = first.run(&["discard", "--all", "--yes"]).expect_code(0);
    told.says(&[
        "database \"crm\" is dropped",
        "role \"reader\" stays: by the target's mark, plan \"second\"",
    ]);
    assert_eq!(target.psql("postgres", ROLES), "app postgres reader there");
    second.run(&["run"]).expect_code(0);
    second.run(&["verify"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");

    let told = second.run(&["discard", "--all", "--yes"]).expect_code(0);
    told.says(&["role \"reader\" is dropped", "role \"app\" is dropped"]);
    assert_eq!(target.psql("postgres", DATABASES), "postgres");
    assert_eq!(target.psql("postgres", ROLES), "postgres there");
}

#[test]
fn a_plan_whose_databases_are_gone_needs_no_role() {
    let (_source, target, first, second) = two_plans();
    target.psql("postgres", "DROP DATABASE erp");
    let told = first.run(&["discard", "--all", "--yes"]).expect_code(0);
    told.says(&["role \"reader\" is dropped", "role \"app\" is dropped"]);
    assert_eq!(target.psql("postgres", ROLES), "postgres there");
    second.run(&["discard", "--all", "--yes"]).expect_code(0);
    assert_eq!(target.psql("postgres", DATABASES), "postgres");
}
