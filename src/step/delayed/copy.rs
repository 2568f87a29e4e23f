//! One table's rows out of an archive: `pg_restore` writes them as a script, whose COPY is carried out in a
//! own session, so that the server says how many rows it took, and one transaction holds it all.

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt;
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_postgres::CopyInSink;

/// How much is read and sent at a time.
const CHUNK: usize = 256 << 10;

/// A statement of pg_dump's is not longer: 1,600 columns with the longest names.
const LONGEST_STATEMENT: usize = 1 << 20;

/// The line that ends the rows.
const END: &[u8] = b"\n\\.\n";

/// Why the rows could not be read or sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error("cannot read the rows from pg_restore: {0}")]
    Read(#[from] std::io::Error),
    #[error("pg_restore's script holds no COPY statement")]
    NoStatement,
    #[error("pg_restore's script does not say in which encoding its rows are")]
    NoEncoding,
    #[error("pg_restore's script ends in the middle of the rows")]
    CutOff,
    #[error(transparent)]
    Server(#[from] tokio_postgres::Error),
}

/// A script of pg_restore, read up to its rows.
pub(super) struct Script<R> {
    input: R,
    /// `COPY … FROM stdin`, as the archive has it, in the archive's encoding.
    pub statement: Vec<u8>,
    /// Of the statement and the rows, by its name in PostgreSQL.
    pub encoding: String,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Script<R> {
    /// Reads up to the rows. `None`: the script has no rows.
    pub(super) async fn open(mut input: R) -> Result<Option<Self>, CopyError> {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        loop {
            if let Some((statement, rows)) = find_statement(&buffer) {
                let encoding = find_encoding(&buffer[..rows]).ok_or(CopyError::NoEncoding)?;
                // What comes before the first row ends a line, so that an empty table's end is found like any.
                let _ = buffer.split_to(rows - 1);
                return Ok(Some(Script {
                    input,
                    statement,
                    encoding,
                    buffer,
                }));
            }
            if buffer.len() > LONGEST_STATEMENT {
                return Err(CopyError::NoStatement);
            }
            if input.read_buf(&mut buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Sends the rows, and reads the script to its end. Returns the bytes sent.
    pub(super) async fn send(
        mut self,
        mut sink: std::pin::Pin<&mut CopyInSink<Bytes>>,
        mut on_bytes: impl FnMut(u64),
    ) -> Result<u64, CopyError> {
        let mut sent = 0;
        // The line feed before the first row belongs to the statement.
        let mut skip = 1;
        loop {
            if let Some(end) = memmem::find(&self.buffer, END) {
                let mut rows = self.buffer.split_to(end + 1);
                let rows = rows.split_off(skip.min(rows.len()));
                sent += rows.len() as u64;
                on_bytes(rows.len() as u64);
                if !rows.is_empty() {
                    sink.feed(rows.freeze()).await?;
                }
                sink.flush().await?;
                // A child whose output is not read would wait for ever.
                tokio::io::copy(&mut self.input, &mut tokio::io::sink()).await?;
                return Ok(sent);
            }
            // The last bytes may begin the end.
            let ready = self.buffer.len().saturating_sub(END.len() - 1);
            if ready > skip {
                let mut rows = self.buffer.split_to(ready);
                let rows = rows.split_off(skip);
                skip = 0;
                sent += rows.len() as u64;
                on_bytes(rows.len() as u64);
                sink.feed(rows.freeze()).await?;
            }
            self.buffer.reserve(CHUNK);
            if self.input.read_buf(&mut self.buffer).await? == 0 {
                return Err(CopyError::CutOff);
            }
        }
    }
}

/// What pg_restore sets before anything else.
fn find_encoding(script: &[u8]) -> Option<String> {
    let setting = b"\nSET client_encoding = '";
    let start = memmem::find(script, setting)? + setting.len();
    let end = start + memmem::find(&script[start..], b"';\n")?;
    String::from_utf8(script[start..end].to_vec()).ok()
}

/// The COPY statement without its semicolon, and where its rows begin.
fn find_statement(script: &[u8]) -> Option<(Vec<u8>, usize)> {
    let start = if script.starts_with(b"COPY ") {
        0
    } else {
        memmem::find(script, b"\nCOPY ")? + 1
    };
    let ending = b" FROM stdin;\n";
    let end = start + memmem::find(&script[start..], ending)?;
    let statement = [&script[start..end], b" FROM stdin"].concat();
    Some((statement, end + ending.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET a = 1;\nSET client_encoding = 'LATIN1';\n\
         COPY \"public\".\"t\" (\"a\") FROM stdin;\n1\n\\\\.\n2\n\\.\n\n-- done\n\\unrestrict abc\n";

    #[tokio::test]
    async fn the_statement_is_found_however_the_script_comes() {
        for size in [1, 2, 7, 64, 4096] {
            let (mut writer, reader) = tokio::io::duplex(size);
            let write = tokio::spawn(async move {
                use tokio::io::AsyncWriteExt;
                // The reader may be gone before the end.
                let _ = writer.write_all(SCRIPT.as_bytes()).await;
            });
            let script = Script::open(reader).await.unwrap().unwrap();
            assert_eq!(
                script.statement,
                b"COPY \"public\".\"t\" (\"a\") FROM stdin"
            );
            assert_eq!(script.encoding, "LATIN1");
            drop(script);
            write.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_script_without_rows_is_none() {
        let script = b"--\n-- dump complete\n--\n";
        assert!(Script::open(&script[..]).await.unwrap().is_none());
    }

    #[test]
    fn a_name_may_hold_a_line_feed() {
        let (statement, _) = find_statement(b"\nCOPY \"a\nb\".\"t\" FROM stdin;\n").unwrap();
        assert_eq!(statement, b"COPY \"a\nb\".\"t\" FROM stdin");
    }
}
