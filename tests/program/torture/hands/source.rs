//! What is done on the source.

use super::hand::Hand;
use super::people::People;
use super::watch::has_delayed;
use crate::support::server::{identifier, random_word};
use crate::torture::chance::Chance;
use crate::torture::run_takes;

impl People<'_> {
    /// Whether the hand is one of these.
    pub fn on_source(&mut self, hand: Hand, database: &str, chance: &mut Chance) -> bool {
        if self.changes_rows(hand, database, chance) {
            return true;
        }
        let quoted = identifier(database);
        match hand {
            Hand::SourceSetting => {
                let number = self.number();
                self.source_now(format!("ALTER DATABASE {quoted} SET my.hand = '{number}'"));
            }
            Hand::Password => {
                let password = random_word("changed");
                self.source_now(format!("ALTER ROLE app_rw PASSWORD '{password}'"));
            }
            Hand::NewDatabase => {
                let name = format!("hand_db_{}", self.number());
                self.source_now(format!("CREATE DATABASE {name} OWNER app_rw"));
                self.made.push(name.clone());
                let sql =
                    "CREATE TABLE t AS SELECT generate_series(1, 500) AS i; CREATE INDEX ON t (i)";
                let made = self.source.try_psql(&name, sql);
                self.tell(format!("source: tables in {name}: {made:?}"));
            }
            Hand::Analyze => {
                self.tell(format!("source {database:?}: ANALYZE"));
                self.send(false, database, "VACUUM ANALYZE;".to_owned(), None);
            }
            Hand::LockTable => {
                self.tell(format!("source {database:?}: a table is locked for 0.7 s"));
                let sql = "BEGIN; LOCK TABLE public.hand_rows IN ACCESS EXCLUSIVE MODE;
                           SELECT pg_sleep(0.7); ROLLBACK;";
                self.send(true, database, sql.to_owned(), None);
            }
            _ => return false,
        }
        true
    }

    fn source_now(&mut self, sql: String) {
        let done = self.source.try_psql("postgres", &sql);
        self.tell(format!("source: {sql}: {done:?}"));
    }

    fn changes_rows(&mut self, hand: Hand, database: &str, chance: &mut Chance) -> bool {
        let is_delayed = matches!(
            hand,
            Hand::WriteDelayed | Hand::WriteLate | Hand::ReloadDelayed | Hand::ParentAndChild
        );
        let database = match is_delayed && !has_delayed(database) {
            true => "events",
            false => database,
        };
        // What is of two snapshots is in no state of the source.
        if is_delayed && self.keys.is_split(database) {
            return false;
        }
        let mut one = self.transaction(database);
        let n = one.number;
        // What a program reloads at night or changes by hand is one thing after the other.
        let mut batch = true;
        let mut open = 0.0;
        match hand {
            Hand::Write => {
                batch = false;
                one.regular = format!(
                    "INSERT INTO public.hand_rows VALUES ({}, 'new {n}');
                     UPDATE public.hand_rows SET word = 'changed {n}' WHERE id = {};
                     DELETE FROM public.hand_rows WHERE id = {};",
                    10_000 + n,
                    n * 7,
                    n * 7 + 3
                );
                one.regular.push_str(&of_the_application(database, n));
            }
            Hand::WriteDelayed | Hand::WriteLate => {
                batch = false;
                one.delayed = format!("DELETE FROM public.later_children WHERE id = {n};");
                one.delayed.push_str(&of_delayed(database, n));
            }
            Hand::Reload | Hand::ReloadOpen | Hand::LongReload => {
                one.regular = reload("public.hand_reload", n);
                open = match hand {
                    Hand::ReloadOpen => 0.6,
                    // Until well after the snapshot of a run that begins now. pg_dump waits no longer than ten seconds.
                    Hand::LongReload => {
                        let part = (500 + chance.below(300)) as f64 / 1000.0;
                        (run_takes().as_secs_f64() * part).min(8.0)
                    }
                    _ => 0.0,
                };
            }
            Hand::ReloadDelayed => {
                one.delayed = reload("public.later_reload", n);
                open = if chance.percent(50) { 0.5 } else { 0.0 };
            }
            Hand::Rewrite => {
                one.regular = format!(
                    "ALTER TABLE public.hand_rewrite ALTER COLUMN word TYPE text USING word || ' {n}';"
                );
                open = if chance.percent(50) { 0.5 } else { 0.0 };
            }
            Hand::NewTable => {
                one.regular = format!(
                    "CREATE TABLE public.hand_new_{n} AS SELECT generate_series(1, {n}) AS i;
                     CREATE INDEX ON public.hand_new_{n} (i);"
                );
            }
            Hand::NewDelayedTable => {
                one.regular = format!(
                    "CREATE TABLE public.later_new_{n} AS SELECT generate_series(1, {n}) AS i;"
                );
            }
            Hand::AddColumn => {
                one.regular =
                    format!("ALTER TABLE public.hand_ddl ADD COLUMN c{n} int DEFAULT {n};");
            }
            Hand::AddIndex => {
                one.regular = format!("CREATE INDEX hand_ddl_{n} ON public.hand_ddl ((id + {n}));");
            }
            Hand::ParentAndChild => {
                let parent = 10_000 + n;
                one.regular = format!("INSERT INTO public.hand_parents VALUES ({parent});");
                one.delayed =
                    format!("INSERT INTO public.later_children VALUES ({parent}, {parent});");
            }
            Hand::NewRole => {
                one.globals = format!(
                    "CREATE ROLE hand_role_{n} LOGIN PASSWORD 'p{n}'; GRANT app_ro TO hand_role_{n};"
                );
                one.regular = format!(
                    "CREATE TABLE public.hand_owned_{n} AS SELECT 1 AS i;
                     ALTER TABLE public.hand_owned_{n} OWNER TO hand_role_{n};"
                );
            }
            _ => return false,
        }
        self.wrote_meanwhile |= self.under_snapshot.contains(database);
        self.transact(batch, one, &format!("{hand:?}"), open);
        true
    }
}

/// Rows of the tables that were not made for this campaign, each number its own.
fn of_the_application(database: &str, n: u32) -> String {
    match database {
        "events" => format!(
            "UPDATE public.large SET word = 'changed {n}' WHERE id = {};
             INSERT INTO public.customers VALUES ({});",
            n * 11,
            1000 + n
        ),
        "shop" => format!(
            "UPDATE sales.orders SET state = 'sent', price = {n}.5 WHERE id = {};
             DELETE FROM sales.followed WHERE false;
             INSERT INTO sales.cats VALUES ('cat {n}', 4, {n});
             SELECT lo_create({});",
            n * 20,
            80_000 + n
        ),
        _ => String::new(),
    }
}

fn of_delayed(database: &str, n: u32) -> String {
    match database {
        "events" => format!(
            "UPDATE public.events SET body = 'changed {n}' WHERE id = {};
             DELETE FROM public.events WHERE id = {};
             INSERT INTO public.parts VALUES ({}, {});",
            n * 3,
            n * 3 + 1,
            5000 + n,
            1 + n % 19
        ),
        _ => format!("INSERT INTO sales.payments VALUES ('2023-01-01', 'r{n}', {n});"),
    }
}

fn reload(table: &str, n: u32) -> String {
    format!(
        "TRUNCATE {table};
         INSERT INTO {table} SELECT i, 'load {n} ' || i FROM generate_series(1, {}) i;",
        1500 + n
    )
}
