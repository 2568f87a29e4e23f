//! Named points at which the crash tests kill this process.
//!
//! Only in a build with debug assertions: a release program holds neither the points nor their names.
//! Two variables of the environment steer them:
//!
//! - `PG_MIGRATE_FAILPOINTS_SEEN=FILE`: every point that is reached is appended to the file, a line each,
//!   as `NAME:COUNT`. COUNT is 1 for the first time that a point of this name is reached.
//! - `PG_MIGRATE_FAILPOINT=NAME:COUNT` or `NAME:COUNT+MILLISECONDS`: when this point is reached, the process
//!   gets SIGKILL, at once or so much later.

/// Says that the process has come to a point, named as by `format!`.
#[cfg(debug_assertions)]
macro_rules! reach {
    ($($name:tt)+) => {
        $crate::failpoint::reached(format_args!($($name)+))
    };
}

/// Nothing, in a program that people run.
#[cfg(not(debug_assertions))]
macro_rules! reach {
    ($($name:tt)+) => {
        ()
    };
}

pub(crate) use reach;

#[cfg(debug_assertions)]
pub(crate) use armed::reached;

#[cfg(debug_assertions)]
mod armed {
    use std::collections::HashMap;
    use std::fmt;
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::sync::{LazyLock, Mutex};
    use std::thread::sleep;
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::getpid;

    static REACHED: LazyLock<Mutex<HashMap<String, u32>>> = LazyLock::new(Mutex::default);
    static KILL_AT: LazyLock<Option<(String, Duration)>> = LazyLock::new(|| {
        let wanted = std::env::var("PG_MIGRATE_FAILPOINT").ok()?;
        Some(parse(&wanted).expect("PG_MIGRATE_FAILPOINT is NAME:COUNT or NAME:COUNT+MILLISECONDS"))
    });

    /// The process has come to this point.
    ///
    /// # Panics
    ///
    /// Where the variables say something that makes no sense.
    pub(crate) fn reached(point: fmt::Arguments<'_>) {
        let seen = std::env::var_os("PG_MIGRATE_FAILPOINTS_SEEN");
        if seen.is_none() && KILL_AT.is_none() {
            return;
        }
        // A name of a database may hold anything, and a line is a point.
        let name = point.to_string().escape_debug().to_string();
        let mut reached = REACHED.lock().expect("nothing panics with it");
        let count = reached.entry(name.clone()).or_default();
        *count += 1;
        let point = format!("{name}:{count}");
        if let Some(file) = seen {
            let mut file = OpenOptions::new().create(true).append(true).open(file);
            let written = file
                .as_mut()
                .map(|file| file.write_all(format!("{point}\n").as_bytes()));
            assert!(matches!(written, Ok(Ok(()))), "{written:?}");
        }
        if let Some((_, delay)) = KILL_AT.as_ref().filter(|(wanted, _)| *wanted == point) {
            if delay.is_zero() {
                die();
            }
            std::thread::spawn(|| {
                sleep(*delay);
                die();
            });
        }
    }

    /// Like `kill -9` from outside: nothing is cleaned up, no destructor runs.
    fn die() -> ! {
        kill(getpid(), Signal::SIGKILL).expect("a process may kill itself");
        loop {
            sleep(Duration::from_secs(1));
        }
    }

    fn parse(wanted: &str) -> Option<(String, Duration)> {
        let (name, count) = wanted.rsplit_once(':')?;
        let (count, delay) = count.split_once('+').unwrap_or((count, "0"));
        let count: u32 = count.parse().ok()?;
        let delay = delay.parse().ok()?;
        Some((format!("{name}:{count}"), Duration::from_millis(delay)))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_point_is_a_name_a_count_and_a_delay() {
            let at = |point: &str, delay| Some((point.to_owned(), Duration::from_millis(delay)));
            assert_eq!(parse("a b/dump start:2"), at("a b/dump start:2", 0));
            assert_eq!(parse("a:b:c:1+40"), at("a:b:c:1", 40));
            assert_eq!(parse("a"), None);
            assert_eq!(parse("a:first"), None);
            assert_eq!(parse("a:1+soon"), None);
        }
    }
}
