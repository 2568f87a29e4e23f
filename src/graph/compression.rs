//! Which compression pg_dump will use.

use crate::catalog::ClientFacts;
use crate::plan::Compression;

/// What the plan wants, if this pg_dump was built with it; otherwise, and for `auto`, the best that it can do.
pub(super) fn available(wanted: &Compression, client: &ClientFacts) -> Compression {
    let can = |compression: &Compression| match compression {
        Compression::Auto => false,
        Compression::None => true,
        Compression::Gzip(_) => client.gzip,
        Compression::Lz4(_) => client.lz4,
        Compression::Zstd(_) => client.zstd,
    };
    let best_first = [
        wanted.clone(),
        Compression::Zstd(Some(5)),
        Compression::Lz4(None),
        Compression::Gzip(Some(1)),
    ];
    let mut known = best_first.into_iter().filter(can);
    known.next().unwrap_or(Compression::None)
}
