//! What `pg_dump --compress` takes.

use super::parse::{Invalid, Scalar, invalid};
use crate::plan::model::Compression;
use crate::spelling::did_you_mean;

impl Scalar for Compression {
    const FORMAT: &'static str = "compression";
    const PATTERN: &'static str = "^(auto|none|gzip(:0*[1-9])?|lz4(:0*([0-9]|1[0-2]))?|\
                                   zstd(:0*([0-9]|1[0-9]|2[0-2])|:-0*[1-9][0-9]{0,5})?)$";

    /// The levels are those of `validate_compress_specification` in PostgreSQL's
    /// `src/common/compression.c`.
    fn parse(text: &str) -> Result<Self, Invalid> {
        let (method, level) = match text.split_once(':') {
            Some((method, level)) => (method, Some(level)),
            None => (text, None),
        };
        let (lowest, highest) = match method {
            "auto" | "none" if level.is_some() => {
                return invalid(
                    &format!("gives a level to `{method}`"),
                    format!("`{method}` has no levels: write \"{method}\""),
                );
            }
            "auto" => return Ok(Compression::Auto),
            "none" => return Ok(Compression::None),
            "gzip" => (1, 9),
            "lz4" => (0, 12),
            "zstd" => (-131_072, 22),
            _ => {
                let methods = ["zstd", "gzip", "lz4", "none", "auto"];
                let meant = did_you_mean(method, methods)
                    .map(|meant| format!("did you mean `{meant}`? "))
                    .unwrap_or_default();
                return invalid(
                    "names no compression method that pg_dump has",
                    format!("{meant}Write \"zstd:5\", \"gzip:6\", \"lz4\", \"none\" or \"auto\""),
                );
            }
        };
        let number = match level {
            None => None,
            Some(level) => {
                let (sign, plain) = match level.strip_prefix('-') {
                    Some(plain) => (-1, plain),
                    None => (1, level),
                };
                let number = level
                    .parse::<i32>()
                    .ok()
                    .filter(|_| plain.bytes().all(|byte| byte.is_ascii_digit()))
                    .filter(|number| sign == 1 || *number < 0)
                    .filter(|number| (lowest..=highest).contains(number));
                if number.is_none() {
                    return invalid(
                        &format!("has a level that {method} has not"),
                        match method {
                            "gzip" if level == "0" => {
                                "`gzip` has levels 1 to 9; without compression it is \"none\""
                                    .to_owned()
                            }
                            _ => format!("`{method}` has levels {lowest} to {highest}"),
                        },
                    );
                }
                number
            }
        };
        let small = number.and_then(|number| u8::try_from(number).ok());
        Ok(match method {
            "gzip" => Compression::Gzip(small),
            "lz4" => Compression::Lz4(small),
            _ => Compression::Zstd(number),
        })
    }
}
