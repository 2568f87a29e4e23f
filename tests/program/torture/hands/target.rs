//! What is done on the target.

use super::hand::Hand;
use super::people::{CLIENTS, People};
use super::watch::{self, has_delayed};
use crate::support::server::{identifier, literal};
use crate::torture::chance::Chance;

impl People<'_> {
    /// Whether the hand is one of these.
    pub fn on_target(&mut self, hand: Hand, database: &str, chance: &mut Chance) -> bool {
        let exists = self.oid(database).is_some();
        let is_ours = exists && !self.foreign.contains_key(database);
        let is_verified = self.is_done(&format!("{database}/verify"));
        match hand {
            Hand::FillBefore if !exists && !self.is_running => {
                self.make_filled(database);
            }
            Hand::DropUnverified if is_ours && !is_verified => self.drop_ours(database),
            Hand::DropVerified if is_ours && is_verified => self.drop_ours(database),
            Hand::RecreateEmpty if is_ours => {
                self.drop_ours(database);
                let sql = format!(
                    "CREATE DATABASE {} TEMPLATE template0",
                    identifier(database)
                );
                self.target_now(&sql);
            }
            Hand::RecreateFilled if is_ours => {
                self.drop_ours(database);
                self.make_filled(database);
            }
            Hand::Supplant if is_ours => {
                self.supplant(database);
            }
            Hand::Rename if is_ours => self.rename(database),
            Hand::FillOurs if is_ours => self.fill_ours(database, is_verified),
            Hand::OtherSetting => {
                let seconds = 70 + chance.below(20);
                self.set(
                    "log_min_duration_statement",
                    &format!("{seconds}s"),
                    seconds * 1000,
                );
            }
            Hand::TunedSetting => {
                let minutes = 6 + chance.below(20);
                self.set("checkpoint_timeout", &format!("{minutes}min"), minutes * 60);
            }
            Hand::OpenSession if exists => {
                self.tell(format!("target {database:?}: another user's session"));
                self.open_session(database);
            }
            Hand::ClientWrites if is_ours && watch::is_open(&self.project, database) => {
                self.client_writes(database);
            }
            Hand::Stranger if self.oid("not_ours").is_none() => self.stranger(),
            Hand::FillBefore
            | Hand::DropUnverified
            | Hand::DropVerified
            | Hand::RecreateEmpty
            | Hand::RecreateFilled
            | Hand::Supplant
            | Hand::Rename
            | Hand::FillOurs
            | Hand::OpenSession
            | Hand::ClientWrites
            | Hand::Stranger => {}
            _ => return false,
        }
        true
    }

    pub fn target_now(&mut self, sql: &str) -> bool {
        let done = self.target.try_psql("postgres", sql);
        self.tell(format!("target: {sql}: {done:?}"));
        done.is_ok()
    }

    fn make_filled(&mut self, database: &str) {
        let quoted = identifier(database);
        if !self.target_now(&format!("CREATE DATABASE {quoted} TEMPLATE template0")) {
            return;
        }
        let sql = "CREATE TABLE public.by_hand AS SELECT 7 AS n";
        let filled = self.target.try_psql(database, sql);
        self.tell(format!("target {database:?}: filled by hand: {filled:?}"));
        let print = self.print_of(database);
        self.foreign.insert(database.to_owned(), print);
    }

    /// One that was made and filled under another name is put into the place of ours. Nobody else may connect: by that it is not to be
    /// told from one that a run has just made.
    fn supplant(&mut self, database: &str) {
        let instead = format!("instead_{}", self.number());
        if !self.target_now(&format!("CREATE DATABASE {instead} TEMPLATE template0")) {
            return;
        }
        self.target_now(&format!("REVOKE CONNECT ON DATABASE {instead} FROM PUBLIC"));
        let sql = "CREATE TABLE public.by_hand AS SELECT 7 AS n";
        let filled = self.target.try_psql(&instead, sql);
        self.tell(format!("target {instead:?}: filled by hand: {filled:?}"));
        let print = self.print_of(&instead);
        self.drop_ours(database);
        let quoted = identifier(database);
        if self.target_now(&format!("ALTER DATABASE {instead} RENAME TO {quoted}")) {
            self.foreign.insert(database.to_owned(), print);
            self.struck.insert(Hand::Supplant);
        } else {
            self.target_now(&format!("DROP DATABASE {instead}"));
        }
    }

    fn drop_ours(&mut self, database: &str) {
        self.disturbed.insert(database.to_owned());
        self.forget_clients(database);
        self.target_now(&format!(
            "DROP DATABASE {} WITH (FORCE)",
            identifier(database)
        ));
    }

    /// Whoever drops a database means it.
    pub fn forget_clients(&mut self, database: &str) {
        self.client_rows.retain(|(of, _, _)| of != database);
    }

    fn rename(&mut self, database: &str) {
        let away = format!("away_{}", self.number());
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}",
            literal(database)
        );
        self.target.try_psql("postgres", &sql).ok();
        let sql = format!("ALTER DATABASE {} RENAME TO {away}", identifier(database));
        if self.target_now(&sql) {
            self.disturbed.insert(database.to_owned());
            self.forget_clients(database);
            let print = self.print_of(&away);
            self.foreign.insert(away, print);
        }
    }

    fn fill_ours(&mut self, database: &str, is_verified: bool) {
        let sql = "SET default_transaction_read_only = off;
                   CREATE TABLE IF NOT EXISTS public.by_hand AS SELECT 7 AS n";
        let done = self.target.try_psql(database, sql);
        self.tell(format!("target {database:?}: a table by_hand: {done:?}"));
        if done.is_ok() {
            match is_verified {
                true => _ = self.client_rows.insert((database.to_owned(), "by_hand", 7)),
                false => _ = self.disturbed.insert(database.to_owned()),
            }
        }
    }

    fn set(&mut self, name: &str, value: &str, in_force: usize) {
        if self.target_now(&format!("ALTER SYSTEM SET {name} = '{value}'")) {
            self.target_now("SELECT pg_reload_conf()");
            let made = (value.to_owned(), in_force.to_string());
            self.settings.insert(name.to_owned(), made);
        }
    }

    /// Clients insert as soon as the database is open to them, also into delayed tables.
    pub fn client_writes(&mut self, database: &str) {
        let number = CLIENTS + self.number();
        let mut tables = vec!["hand_log"];
        if has_delayed(database) {
            tables.push("later_hand");
        }
        for table in tables {
            let values = match table {
                "hand_log" => format!("(n, what) VALUES ({number}, 'client')"),
                _ => format!("(id, n) VALUES ({}, {number})", number + 1000 * CLIENTS),
            };
            let sql = format!(
                "SET default_transaction_read_only = off; INSERT INTO public.{table} {values}"
            );
            let done = self.target.try_psql(database, &sql);
            self.tell(format!(
                "target {database:?}: a client inserts {number} into {table}: {done:?}"
            ));
            if done.is_ok() {
                let row = (database.to_owned(), table, number);
                self.client_rows.insert(row);
            }
        }
    }

    fn stranger(&mut self) {
        if self.target_now("CREATE ROLE stranger")
            && self.target_now("CREATE DATABASE not_ours OWNER stranger")
        {
            let sql = "CREATE TABLE public.by_hand AS SELECT generate_series(1, 10) AS n";
            self.target.try_psql("not_ours", sql).ok();
            self.foreign_roles.insert("stranger".to_owned());
            let print = self.print_of("not_ours");
            self.foreign.insert("not_ours".to_owned(), print);
        }
    }

    /// What must stay as it is.
    pub fn print_of(&self, database: &str) -> String {
        let outside = self.target.psql(
            "postgres",
            &format!(
                "SELECT oid, datdba::regrole, datconnlimit, datallowconn, datacl FROM pg_database WHERE datname = {}",
                literal(database)
            ),
        );
        let inside = self.target.try_psql(
            database,
            "SELECT string_agg(format('%s%s', relname, relkind), ' ' ORDER BY relname) FROM pg_class
             WHERE relnamespace = 'public'::regnamespace;
             SELECT count(*) FROM public.by_hand",
        );
        // One that was renamed holds whatever had come into it.
        let inside = inside.unwrap_or_default();
        format!("{outside} {inside}")
    }

    /// What is not as another user left it.
    pub fn changes_of_foreign(&self) -> Vec<String> {
        self.foreign
            .iter()
            .filter_map(|(database, before)| {
                let now = self.print_of(database);
                (now != *before).then(|| {
                    format!("{database:?} is not ours and was changed: before {before}, now {now}")
                })
            })
            .collect()
    }
}
