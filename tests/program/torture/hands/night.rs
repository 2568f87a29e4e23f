//! What happens around runs at night: other servers at an address, full disks, closed terminals, changed passwords.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::thread::sleep;
use std::time::Duration;

use jiff::Timestamp;

use super::hand::Hand;
use super::people::People;
use super::script::Script;
use super::watch;
use crate::support::project::Outlet;
use crate::support::proxy::Proxy;
use crate::support::server::{Mode, Server};
use crate::torture::chance::Chance;
use crate::torture::check::Configuration;
use crate::torture::faults::{Side, SmallDisk};
use crate::torture::stage::DATABASES;

/// How long both servers are away.
const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(90);

/// What the hands of the night have ready, as far as a trial needs it, and what they remember.
pub struct Night {
    source: Address,
    target: Address,
    pub dump_root: Option<SmallDisk>,
    pub state: Option<SmallDisk>,
    /// One of the disks has little room.
    pub is_tight: bool,
    pub directories: super::directories::Directories,
    /// Roles and databases that the source lost when it failed over.
    pub lost_names: BTreeSet<String>,
    /// Where sequences stood on the source that is gone.
    pub last_values: BTreeMap<(String, String), i64>,
    /// Databases on the promoted target that have all that the server before it had.
    pub whole: BTreeSet<String>,
    /// The target that is gone still has the settings for the load in its file.
    pub left_unsafe: bool,
    /// What some run said, nobody could read.
    pub is_unheard: bool,
}

/// Where a server is reached, and what else may come to answer there.
struct Address {
    proxy: Proxy,
    standby: Option<Server>,
    clone: Option<Other>,
}

/// An older copy of a server.
struct Other {
    server: Server,
    is_running: bool,
    /// It answers, and has to stay as it was then.
    print: Option<String>,
}

impl Address {
    fn of(server: &mut Server, script: &Script, [fails_over, is_cloned]: [Hand; 2]) -> Address {
        let standby = script.pick_of(fails_over).map(|_| server.standby());
        let clone = script.pick_of(is_cloned).map(|pick| {
            server.stop(Mode::Fast);
            let mut copy = server.copied();
            server.start_again();
            let is_beside = pick & 1 == 1;
            if is_beside {
                copy.start_again();
                // It is ahead of the other.
                copy.psql(
                    "postgres",
                    "CREATE TABLE more AS SELECT generate_series(1, 300000) AS n; DROP TABLE more",
                );
            }
            Other {
                server: copy,
                is_running: is_beside,
                print: None,
            }
        });
        Address {
            proxy: Proxy::to(server.port()),
            standby,
            clone,
        }
    }
}

impl Night {
    pub fn of(script: &Script, source: &mut Server, target: &mut Server) -> Night {
        Night {
            source: Address::of(source, script, [Hand::FailOverSource, Hand::CloneSource]),
            target: Address::of(target, script, [Hand::FailOverTarget, Hand::CloneTarget]),
            dump_root: None,
            state: None,
            is_tight: false,
            directories: super::directories::Directories::default(),
            lost_names: BTreeSet::new(),
            last_values: BTreeMap::new(),
            whole: BTreeSet::new(),
            left_unsafe: false,
            is_unheard: false,
        }
    }

    /// What the plan has as ports.
    pub fn ports(&self) -> [u16; 2] {
        [self.source.proxy.port(), self.target.proxy.port()]
    }

    fn address(&mut self, side: Side) -> &mut Address {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }
}

impl People<'_> {
    /// Whether the hand is one of these.
    pub fn at_night(&mut self, hand: Hand, chance: &mut Chance) -> bool {
        match hand {
            Hand::SourceLags => self.lag(Side::Source),
            Hand::TargetLags => self.lag(Side::Target),
            Hand::FailOverSource => self.fail_over(Side::Source),
            Hand::FailOverTarget => self.fail_over(Side::Target),
            Hand::CloneSource => self.clone_answers(Side::Source),
            Hand::CloneTarget => self.clone_answers(Side::Target),
            Hand::FullDumpRoot => {
                let room = 4 + chance.below(2_000) as u64;
                self.tell(format!("dump.root has room for {room} KiB"));
                self.night.dump_root.as_ref().expect("mounted").leave(room);
                self.night.is_tight = true;
                self.struck.insert(hand);
            }
            Hand::FullState => {
                let room = 4 + chance.below(120) as u64;
                self.tell(format!("the state directory has room for {room} KiB"));
                self.night.state.as_ref().expect("mounted").leave(room);
                self.night.is_tight = true;
                self.struck.insert(hand);
            }
            Hand::ClosedOutput => {
                let outlet = *chance.pick(&[Outlet::GonePipe, Outlet::FullDisk]);
                self.tell(format!("output goes to {outlet:?}"));
                self.project.print_to(outlet);
                self.night.is_unheard = true;
                self.struck.insert(hand);
            }
            Hand::NewPassword => self.new_password(*chance.pick(&[Side::Source, Side::Target])),
            Hand::Away | Hand::AwayLong => {
                let how_long = if hand == Hand::Away { SHORT } else { LONG };
                if self.is_running {
                    self.struck.insert(hand);
                }
                self.away(how_long, chance);
            }
            _ => return self.with_directories(hand, chance),
        }
        true
    }

    fn server(&mut self, side: Side) -> &mut Server {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }

    fn lag(&mut self, side: Side) {
        if let Some(standby) = &self.night.address(side).standby {
            standby.stop_following();
            self.tell(format!("{side:?}: its standby gets nothing more"));
        }
    }

    /// The standby takes over, as it is, and the address leads to it.
    fn fail_over(&mut self, side: Side) {
        let Some(standby) = self.night.address(side).standby.take() else {
            return;
        };
        self.settle_clients();
        self.end_sessions();
        let before = match side {
            Side::Source => {
                self.remember_sequences();
                names_on(&self.source)
            }
            Side::Target => self.contents().into_iter().collect(),
        };
        if side == Side::Target {
            let file = self.target.data_directory().join("postgresql.auto.conf");
            let text = std::fs::read_to_string(file).unwrap();
            self.night.left_unsafe |= text.contains("fsync = 'off'");
        }
        self.server(side).stop(Mode::Immediate);
        standby.promote();
        self.night.address(side).proxy.lead_to(standby.port());
        *self.server(side) = standby;
        match side {
            Side::Source => self.the_source_is_another(&before),
            Side::Target => self.the_target_is_another(&before),
        }
        self.struck.insert(match side {
            Side::Source => Hand::FailOverSource,
            Side::Target => Hand::FailOverTarget,
        });
    }

    fn remember_sequences(&mut self) {
        for database in DATABASES {
            for (name, value) in super::outcome::last_values(&self.source, database) {
                self.night
                    .last_values
                    .insert((database.to_owned(), name), value);
            }
        }
    }

    /// What it lost, nobody finds on it. On the target it may be, where it was verified before.
    fn the_source_is_another(&mut self, before: &BTreeSet<String>) {
        let now = Timestamp::now();
        let names = names_on(&self.source);
        self.night
            .lost_names
            .extend(before.difference(&names).cloned());
        self.made.retain(|name| names.contains(name));
        self.under_snapshot.clear();
        let mut lost = Vec::new();
        for database in DATABASES {
            let rows = self.source.psql(database, "SELECT n FROM public.hand_log");
            let there: BTreeSet<u32> = rows.lines().map(|row| row.parse().unwrap()).collect();
            let mut log = self.log.lock().unwrap();
            for one in log.iter_mut().filter(|one| one.database == database) {
                if !there.contains(&one.number) && one.lost.is_none() {
                    one.lost = Some(now);
                    lost.push(one.number);
                }
            }
        }
        self.tell(format!(
            "the source fails over; lost are {lost:?} {:?}",
            self.night.lost_names
        ));
    }

    /// What clients wrote to the server before, and did not come to this one, is gone by the fail-over.
    fn the_target_is_another(&mut self, before: &BTreeSet<String>) {
        let is_there = |target: &Server, (database, table, number): &(String, &str, u32)| {
            let sql = format!("SELECT 1 FROM public.{table} WHERE n = {number}");
            target.try_psql(database, &sql).as_deref() == Ok("1")
        };
        let target = &self.target;
        self.client_rows.retain(|row| is_there(target, row));
        self.settings.clear();
        self.before = Configuration::of(&self.target);
        self.foreign_roles.retain(|role| {
            let sql = format!("SELECT 1 FROM pg_roles WHERE rolname = '{role}'");
            target.psql("postgres", &sql) == "1"
        });
        let foreign: Vec<String> = self.foreign.keys().cloned().collect();
        for database in foreign {
            // A database of ours that was renamed, or dropped and made by hand, has its name again.
            let is_by_hand = self
                .target
                .try_psql(&database, "SELECT 1 FROM public.by_hand LIMIT 1");
            let is_away = database.starts_with("away_") && self.oid(&database).is_some();
            if is_away || is_by_hand.as_deref() == Ok("1") {
                let print = self.print_of(&database);
                self.foreign.insert(database, print);
            } else {
                self.foreign.remove(&database);
            }
        }
        let now: BTreeSet<String> = self.contents().into_iter().collect();
        self.night.whole = DATABASES
            .into_iter()
            .filter(|database| {
                let of = |all: &BTreeSet<String>| {
                    let start = format!("{database}: ");
                    all.iter().find(|line| line.starts_with(&start)).cloned()
                };
                of(before).is_some() && of(before) == of(&now)
            })
            .map(str::to_owned)
            .collect();
        self.tell(format!(
            "the target fails over; whole are {:?}, clients have {:?}",
            self.night.whole, self.client_rows
        ));
    }

    /// How much is in each of our databases of the target, a line each.
    fn contents(&self) -> Vec<String> {
        let sql = "SELECT string_agg(format('%s %s %s', oid::regclass, relkind, CASE WHEN relkind IN ('r', 'm') THEN
                     (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM %s', oid::regclass), false, true, '')))[1]::text
                   END), ',' ORDER BY oid)
                   FROM pg_class WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace,
                     'information_schema'::regnamespace)";
        DATABASES
            .iter()
            .filter_map(|database| {
                let contents = self.target.try_psql(database, sql).ok()?;
                Some(format!("{database}: {contents}"))
            })
            .collect()
    }

    /// Whether what a run did stands on this server's being the same.
    fn has_at_stake(&self, side: Side) -> bool {
        let kind = match side {
            Side::Source => "/dump",
            Side::Target => "/create",
        };
        watch::done(&self.project)
            .keys()
            .any(|step| step.ends_with(kind))
    }

    /// An older copy has the address, until somebody leads it back.
    fn clone_answers(&mut self, side: Side) {
        if !self.has_at_stake(side) {
            return;
        }
        let Address { proxy, clone, .. } = self.night.address(side);
        let clone = clone.as_mut().expect("it was made before the first run");
        if clone.print.is_some() {
            return;
        }
        if !mem::replace(&mut clone.is_running, true) {
            clone.server.start_again();
        }
        clone.print = Some(print_of_clone(&clone.server));
        proxy.lead_to(clone.server.port());
        self.tell(format!("{side:?}: a clone has the address"));
        self.struck.insert(match side {
            Side::Source => Hand::CloneSource,
            Side::Target => Hand::CloneTarget,
        });
    }

    /// The addresses lead where they belong. Whether one did not.
    pub fn lead_back(&mut self) -> bool {
        let sides = [Side::Source, Side::Target];
        sides.map(|side| self.lead_back_one(side)).contains(&true)
    }

    fn lead_back_one(&mut self, side: Side) -> bool {
        let port = self.server(side).port();
        let Address { proxy, clone, .. } = self.night.address(side);
        let Some((clone, print)) = clone
            .as_mut()
            .and_then(|clone| Some((&clone.server, clone.print.take()?)))
        else {
            return false;
        };
        let now = print_of_clone(clone);
        proxy.lead_to(port);
        self.tell(format!("{side:?}: the address leads back"));
        if now != print {
            self.wrong(format!(
                "{side:?}: the clone was changed: before {print}, now {now}"
            ));
        }
        true
    }

    /// Where nothing is on record of the server that had the address, a clone is as good: nobody leads it there then.
    pub fn mind_clones(&mut self) {
        for side in [Side::Source, Side::Target] {
            if !self.has_at_stake(side) {
                self.lead_back_one(side);
            }
        }
    }

    fn new_password(&mut self, side: Side) {
        let address = self.night.address(side);
        // Their copies would have the one before.
        if address.standby.is_some() || address.clone.is_some() {
            return;
        }
        self.settle_clients();
        self.server(side).change_password();
        self.tell(format!("{side:?}: our role's password is changed"));
        self.struck.insert(Hand::NewPassword);
    }

    fn away(&mut self, how_long: Duration, chance: &mut Chance) {
        self.settle_clients();
        let mode = *chance.pick(&[Mode::Fast, Mode::Immediate]);
        self.tell(format!("both servers are away for {how_long:?} ({mode:?})"));
        self.source.stop(mode);
        self.target.stop(mode);
        sleep(how_long);
        self.source.start_again();
        self.target.start_again();
        self.tell("both servers are back");
    }

    /// Disks get room, and output is seen again: whether something was in the way.
    pub fn make_room(&mut self) -> bool {
        let disks = [&self.night.dump_root, &self.night.state];
        for disk in disks.into_iter().flatten() {
            disk.grow();
        }
        mem::take(&mut self.night.is_tight)
    }
}

fn names_on(server: &Server) -> BTreeSet<String> {
    let sql = "SELECT rolname FROM pg_roles UNION SELECT datname FROM pg_database";
    let names = server.psql("postgres", sql);
    names.lines().map(str::to_owned).collect()
}

/// What nobody may change on a server that is none of the plan's.
fn print_of_clone(server: &Server) -> String {
    let file = server.data_directory().join("postgresql.auto.conf");
    let names: Vec<String> = names_on(server).into_iter().collect();
    format!(
        "{} {}",
        names.join(" "),
        std::fs::read_to_string(file).unwrap()
    )
}
