//! A target whose role is not a superuser: the same plan is completed, delayed tables and all, and the plan says
//! what is out of reach.

use std::fs;
use std::time::Duration;

use crate::support::compare;
use crate::support::project::{Project, string};
use crate::support::proxy::Proxy;
use crate::support::server::Server;

/// A table to delay that belongs to an application: a sequence, a foreign key, triggers of every kind, and
/// secondary indexes.
const SCHEMA: &str = "
    SET ROLE app;
    CREATE TABLE customers (id int PRIMARY KEY);
    INSERT INTO customers SELECT generate_series(1, 100);
    CREATE TABLE events (
        id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers, code text UNIQUE);
    INSERT INTO events (customer, code) SELECT 1 + n % 100, 'c' || n FROM generate_series(1, 20000) n;
    CREATE INDEX by_customer ON events (customer) WITH (fillfactor = 70);
    COMMENT ON INDEX by_customer IS 'who';
    ALTER TABLE events CLUSTER ON by_customer;
    CREATE TABLE log (what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.log VALUES (TG_NAME); RETURN NULL; END $$;
    CREATE TRIGGER always AFTER INSERT ON events FOR EACH ROW EXECUTE PROCEDURE note();
    CREATE TRIGGER never AFTER INSERT ON events FOR EACH ROW EXECUTE PROCEDURE note();
    CREATE TRIGGER replica AFTER INSERT ON events FOR EACH ROW EXECUTE PROCEDURE note();
    CREATE TRIGGER usual AFTER INSERT ON events FOR EACH ROW EXECUTE PROCEDURE note();
    ALTER TABLE events ENABLE ALWAYS TRIGGER always;
    ALTER TABLE events DISABLE TRIGGER never;
    ALTER TABLE events ENABLE REPLICA TRIGGER replica;
";

const TRIGGERS: &str = "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1";

const INDEXES: &str = "
    SELECT c.relname, pg_get_indexdef(c.oid), obj_description(c.oid), x.indisclustered, c.relowner::regrole
    FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = 'public' ORDER BY 1";

struct Limited {
    source: Server,
    target: Server,
    project: Project,
}

/// What a managed service gives: a role that makes databases and roles, and nothing else but `grants`.
fn limited(from: u32, to: u32, grants: &str) -> Limited {
    let source = Server::start(from);
    let target = Server::start(to);
    source.psql("postgres", "CREATE ROLE app LOGIN");
    source.psql("postgres", "CREATE DATABASE erp OWNER app");
    source.psql("erp", SCHEMA);
    target.psql(
        "postgres",
        &format!("CREATE ROLE mover LOGIN CREATEDB CREATEROLE PASSWORD 'of the mover'; {grants}"),
    );
    let project = Project::between(&source, &target)
        .target("user", &string("mover"))
        .variable("TARGET_PASSWORD", "of the mover")
        // pg_restore 18 sets a parameter that came with 17.
        .with("[target.tuning]\nmode = \"fast\"\n[delay]\ntable_data = [\"erp.events\"]\n");
    let project = match from {
        // The schema public belongs to a superuser there.
        ..15 => project.with(
            "[[accept]]\ndatabase = \"erp\"\nobject = \"*SCHEMA*public*\"\nreason = \"belongs to a superuser\"\n",
        ),
        _ => project,
    };
    Limited {
        source,
        target,
        project,
    }
}

impl Limited {
    fn plan(&self) -> String {
        let plan = self.project.run(&["plan", "--dry-run"]).expect_code(0);
        plan.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Everything arrived, and everything is as it was.
    #[track_caller]
    fn assert_complete(&self) {
        assert_eq!(self.project.report()["outcome"], "completed");
        let mut differences = compare::dumps(&self.source, &self.target, "erp");
        if self.source.major() < 15 {
            // What the plan accepts.
            differences.retain(|difference| {
                !difference.starts_with("object public; ")
                    && !difference.starts_with("object SCHEMA public; ")
            });
        }
        assert!(differences.is_empty(), "{differences:#?}");
        self.assert_triggers();
        assert_eq!(
            self.target.psql("erp", INDEXES),
            self.source.psql("erp", INDEXES)
        );
        // No trigger fired during the load.
        assert_eq!(self.target.psql("erp", "SELECT count(*) FROM log"), "0");
        // And they do now: those that the source would fire.
        self.target.psql(
            "erp",
            "INSERT INTO events (customer, code) VALUES (7, 'new')",
        );
        let fired = self.target.psql("erp", "SELECT what FROM log ORDER BY 1");
        assert_eq!(fired, "always\nusual");
        // Foreign keys were neither lost nor left unchecked.
        let broken = "INSERT INTO events (customer, code) VALUES (777, 'nobody')";
        assert!(self.target.try_psql("erp", broken).is_err());
    }

    #[track_caller]
    fn assert_triggers(&self) {
        assert_eq!(
            self.target.psql("erp", TRIGGERS),
            self.source.psql("erp", TRIGGERS)
        );
    }
}

/// Neither ALTER SYSTEM nor session_replication_role: sessions are tuned by PGOPTIONS, and triggers are off within
/// the load's own transaction.
fn completes_without_any_grant(from: u32, to: u32) {
    let limited = limited(from, to, "");
    let plan = limited.plan();
    for words in [
        "target/limited-role",
        "target/tuning-out-of-reach",
        "fsync, full_page_writes",
        "the role \"mover\" may not run ALTER SYSTEM",
        "own sessions SET maintenance_work_mem",
        "target/triggers-by-table",
    ] {
        assert!(plan.contains(words), "{words}:\n{plan}");
    }
    let before = limited
        .target
        .psql("postgres", "SELECT * FROM pg_file_settings");
    limited.project.run(&["run"]).expect_code(0);
    limited.assert_complete();
    let after = limited
        .target
        .psql("postgres", "SELECT * FROM pg_file_settings");
    assert_eq!(after, before);
}

#[test]
fn a_limited_role_completes_the_same_plan_on_18() {
    completes_without_any_grant(16, 18);
}

#[test]
fn a_limited_role_completes_the_same_plan_on_14() {
    completes_without_any_grant(14, 14);
}

/// Before 16 it joins roles of others, so that it can give them what they own.
#[test]
fn a_limited_role_says_which_roles_of_others_it_joins() {
    let limited = limited(14, 14, "CREATE ROLE app LOGIN");
    let told = "and for good of those of the source that are there: \"app\"";
    assert!(limited.plan().contains(told));
    limited.project.run(&["run"]).expect_code(0);
    let members = "SELECT roleid::regrole, member::regrole FROM pg_auth_members
        WHERE member = 'mover'::regrole";
    assert_eq!(limited.target.psql("postgres", members), "app|mover");
    assert!(!limited.plan().contains(told));
}

#[test]
fn a_granted_session_replication_role_is_used() {
    let limited = limited(
        14,
        15,
        "GRANT SET ON PARAMETER session_replication_role TO mover",
    );
    let plan = limited.plan();
    assert!(!plan.contains("target/triggers-by-table"), "{plan}");
    assert!(plan.contains("target/public-schema-owner"), "{plan}");
    limited.project.run(&["run"]).expect_code(0);
    limited.assert_complete();
}

#[test]
fn triggers_that_were_off_for_the_load_are_on_again_after_every_ending() {
    for ending in [
        "interrupted",
        "killed and reverted",
        "killed and resumed",
        "failed",
    ] {
        let limited = limited(16, 18, "");
        let proxy = Proxy::to(limited.target.port());
        let Limited {
            source,
            target,
            project,
        } = limited;
        let project = project.target("port", &proxy.port().to_string());
        let limited = Limited {
            source,
            target,
            project,
        };
        let point = match ending {
            "failed" => "journal step-done erp/verify synced:1",
            _ => "never:1",
        };
        let variables = [("PG_MIGRATE_FAILPOINT", point.as_ref())];
        let mut running = limited.project.start_with(&["run"], &variables);
        let journal = limited.project.state_directory().join("journal.jsonl");
        if ending == "failed" {
            assert_eq!(running.wait().signal, Some(9));
            let taken = "INSERT INTO events (id, customer, code) VALUES (17, 7, 'taken')";
            limited.target.psql("erp", taken);
            limited.project.run(&["run"]).expect_code(4);
            limited.assert_triggers();
            limited
                .target
                .psql("erp", "DELETE FROM events; DELETE FROM log");
            limited.project.run(&["run"]).expect_code(0);
            limited.assert_complete();
            continue;
        }
        // From here on there is time to see a trigger switched off.
        running.until("the regular phase", || {
            let text = fs::read_to_string(&journal).unwrap_or_default();
            text.contains("\"erp/verify\"")
        });
        proxy.set_delay(Duration::from_millis(100));
        running.until("the load", || {
            // The lock that ALTER TABLE … DISABLE TRIGGER takes, held until the end of the load.
            let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'events'::regclass
                         AND mode = 'ShareRowExclusiveLock' AND granted";
            limited.target.psql("erp", locks) != "0"
        });
        // No other session ever sees them off.
        limited.assert_triggers();
        match ending {
            "interrupted" => {
                running.interrupt();
                running.wait().expect_code(130);
            }
            _ => {
                running.kill9();
                running.wait();
            }
        }
        proxy.set_delay(Duration::ZERO);
        if ending == "killed and reverted" {
            limited.project.run(&["revert"]).expect_code(0);
        }
        limited.assert_triggers();
        if ending != "killed and reverted" {
            // A backend whose client is gone may take a moment to notice.
            limited.project.run(&["run"]).expect_code(0);
            limited.assert_complete();
        }
    }
}

/// Whoever owns the table after the restore, its policies apply: it could not be counted.
#[test]
fn a_table_that_forces_row_security_is_told_before() {
    let Limited {
        source,
        target,
        project,
    } = limited(16, 17, "");
    source.psql(
        "erp",
        "ALTER TABLE customers ENABLE ROW LEVEL SECURITY; ALTER TABLE customers FORCE ROW LEVEL SECURITY;
         ALTER TABLE log ENABLE ROW LEVEL SECURITY",
    );
    let told = project.run(&["run"]).expect_code(3);
    told.expect_words(&["target/row-security", "public.customers", "BYPASSRLS"]);
    target.psql("postgres", "ALTER ROLE mover BYPASSRLS");
    project.run(&["run"]).expect_code(0);
    compare::assert_same(&source, &target, "erp");
}
