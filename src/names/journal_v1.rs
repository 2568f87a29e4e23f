//! Outputs as version 0.1.0 wrote them into its journal: one struct for all kinds.

use serde::Deserialize;

use super::{
    ArchiveSeal, Compared, Counts, DelayedDump, Dumped, Kind, Loaded, Output, Product, RegularDump,
    RestoreError, Restored, TableCount, TableName, TableResult,
};

/// What a step yielded, by 0.1.0.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OutputV1 {
    counts: Vec<TableCount>,
    estimated: bool,
    tables: Vec<TableResult>,
    #[serde(rename = "ledger")]
    restore_errors: Vec<RestoreError>,
    warnings: Vec<String>,
    archive: Option<ArchiveSeal>,
    /// Schema and name, joined by a dot.
    delayed: Vec<String>,
    snapshot: Option<String>,
    oldest_transaction: Option<i64>,
}

impl OutputV1 {
    /// The same for this program. What the old form does not tell for sure (an archive without a seal, or delayed tables
    /// with a dot in a part of their names, which could be other tables') is left out: it counts as not done.
    pub(crate) fn into_output(self, kind: Kind) -> Output {
        let OutputV1 {
            counts,
            estimated,
            tables,
            restore_errors,
            warnings,
            archive,
            delayed,
            snapshot,
            oldest_transaction,
        } = self;
        let dumped = || {
            Some(Dumped {
                archive: archive?,
                snapshot: snapshot.clone()?,
                oldest_transaction,
                source_read_only: false,
                database: None,
                source: None,
            })
        };
        let product = match kind {
            Kind::Dump => {
                let delayed: Result<Vec<TableName>, _> =
                    delayed.iter().map(|name| name.parse()).collect();
                let parts = dumped().zip(delayed.ok());
                parts.map(|(dump, delayed)| {
                    Product::Dump(RegularDump {
                        dump,
                        delayed,
                        sequences: Vec::new(),
                        meanings: Vec::new(),
                    })
                })
            }
            Kind::DelayedDump => dumped().map(|dump| {
                Product::DelayedDump(DelayedDump {
                    newer: Vec::new(),
                    dump,
                    counts,
                    large_objects: None,
                    sequences: None,
                    columns: Vec::new(),
                })
            }),
            Kind::SourceCounts | Kind::TargetCounts => Some(Product::Counts(Counts {
                tables: counts,
                estimated,
                snapshot,
                source_read_only: false,
                large_objects: None,
                large_objects_before: None,
            })),
            Kind::Restore => Some(Product::Restore(Restored {
                errors: restore_errors,
                ..Restored::default()
            })),
            Kind::Verify | Kind::DelayedVerify => Some(Product::Comparison(Compared { tables })),
            Kind::DelayedRestore => Some(Product::DelayedLoad(Loaded {
                counts,
                set_back: Vec::new(),
            })),
            Kind::TuneTarget
            | Kind::Globals
            | Kind::Create
            | Kind::DropIndexes
            | Kind::RecreateIndexes
            | Kind::RestoreSettings => None,
        };
        Output {
            warnings,
            product: product.unwrap_or_default(),
        }
    }
}
