//! Whether the target's machine went down while its server did not wait for the disk.

use std::collections::BTreeMap;

use crate::journal::{Started, TunedSetting};
use crate::plan::Endpoint;
use crate::postgres::{Connection, Error};

use super::durable;

/// Which start of the server and of its machine this is.
pub(super) async fn read(connection: &Connection, endpoint: &Endpoint) -> Result<Started, Error> {
    let row = connection
        .query_one(
            "SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text",
            &[],
        )
        .await
        .map_err(connection.failed("ask when the server was started"))?;
    // Before 11 no function reads outside the data directory; a role may lack the right, a machine the file.
    let boot = "SELECT pg_catalog.pg_read_file('/proc/sys/kernel/random/boot_id', 0, 64, true)";
    let machine = connection.query_one(boot, &[]).await;
    Ok(Started {
        server: row.get(0),
        machine: machine
            .ok()
            .and_then(|row| row.get::<_, Option<String>>(0))
            .map(|boot| boot.trim().to_owned()),
        seen: endpoint.watch.latest(),
    })
}

/// What a user of the cluster has to know where it may be damaged without a sign. `tuned`: the settings that one plan changed.
///
/// # Errors
///
/// A server that cannot be reached.
pub(crate) async fn crash_warning(
    connection: &Connection,
    endpoint: &Endpoint,
    tuned: &BTreeMap<String, TunedSetting>,
) -> Result<Option<String>, Error> {
    let Some(setting) = durable::unsafe_setting(tuned) else {
        return Ok(None);
    };
    Ok(damage_warning(
        &setting.since,
        &read(connection, endpoint).await?,
    ))
}

/// A restart of the server alone loses nothing that a step was called done for: the operating system still has
/// all that was written, and steps end when their commits are.
fn damage_warning(then: &Started, now: &Started) -> Option<String> {
    let what = match (&then.machine, &now.machine) {
        (Some(then), Some(now)) if then == now => return None,
        (Some(_), Some(_)) => "the target's machine was started again",
        _ if then.server == now.server => return None,
        _ => "the target was started again, its machine perhaps as well,",
    };
    Some(format!(
        "{what} while fsync or full_page_writes was off for the load: unless it was shut down in order, the whole \
         cluster may be damaged without a sign, and counts that match do not show it. Create the cluster again \
         (initdb), and begin again under another name in the plan"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_machine_that_went_down_is_in_doubt() {
        let at = |server: &str, machine: Option<&str>| Started {
            server: server.to_owned(),
            machine: machine.map(str::to_owned),
            seen: None,
        };
        let first = at("1", Some("a"));
        assert_eq!(damage_warning(&first, &first), None);
        assert_eq!(damage_warning(&first, &at("2", Some("a"))), None);
        assert_eq!(damage_warning(&at("1", None), &at("1", None)), None);
        let sure = damage_warning(&first, &at("2", Some("b"))).unwrap();
        assert!(
            sure.starts_with("the target's machine was started again while"),
            "{sure}"
        );
        let perhaps = damage_warning(&at("1", None), &at("2", None)).unwrap();
        assert!(perhaps.contains("perhaps as well"), "{perhaps}");
    }
}
