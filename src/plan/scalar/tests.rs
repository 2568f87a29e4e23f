//! What each kind of text accepts and refuses, and that schema and parser agree about it.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Each pattern as a JSON Schema validator understands it.
static VALIDATORS: LazyLock<HashMap<&str, jsonschema::Validator>> = LazyLock::new(|| {
    SCALARS
        .iter()
        .map(|(_, pattern, _)| {
            let schema = serde_json::json!({ "type": "string", "pattern": pattern });
            let validator = jsonschema::validator_for(&schema);
            (*pattern, validator.expect("it is a regular expression"))
        })
        .collect()
});

fn pattern_accepts(pattern: &str, text: &str) -> bool {
    VALIDATORS[pattern].is_valid(&serde_json::Value::from(text))
}

/// Texts for a format: accepted; refused by both; refused by the parser alone.
type Examples = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

const EXAMPLES: &[Examples] = &[
    (
        "authentication-methods",
        &[
            "scram-sha-256",
            "none",
            "scram-sha-256,gss",
            "!password,!md5",
        ],
        &["", "scram", "MD5", "md5,", "md5, gss", "!"],
        &["md5,md5", "md5,!gss"],
    ),
    ("text", &["a", " a b "], &["", " \t"], &[]),
    (
        "plan-name",
        &["a", "erp-10-to-18", "größe 2", "v1.2"],
        &[
            "", ".", "..", "a/b", "-x", " x", "x ", "a\nb", "a\\b", ".git",
        ],
        &[],
    ),
    (
        "host",
        &[
            "db",
            "10.0.0.1",
            "::1",
            "fe80::1%eth0",
            "/run/my dir",
            "größe.example",
        ],
        &[
            "",
            "a b",
            "db:5432",
            "a,b",
            "postgres://db/x",
            "me:pw@db",
            "@abstract",
            "host=db",
            "a/b",
        ],
        &[],
    ),
    (
        "environment-variable",
        &["PGPASSWORD", "_x1"],
        &["", "$X", "1X", "A-B", "A=B"],
        &[],
    ),
    (
        "timeout",
        &["10s", "500ms", "5m", "5min", "2 h", "010s", "2147483647ms"],
        &[
            "",
            "10",
            "s",
            "10 S",
            "1.5s",
            "-1s",
            "10  s",
            "0s",
            "1d",
            "10seconds",
        ],
        &["2147483648ms", "99999999999999999999s"],
    ),
    ("pause", &["0s", "1s"], &["0", "1 day"], &["1000h"]),
    (
        "size",
        &["64kB", "512MB", "4 GB", "1TB"],
        &["", "4", "4gb", "4GiB", "0MB", "-1GB", "4G", "1.5GB", "GB"],
        &["99999999TB", "99999999999999999999kB"],
    ),
    (
        "compression",
        &[
            "auto",
            "none",
            "gzip",
            "gzip:1",
            "gzip:9",
            "lz4",
            "lz4:0",
            "lz4:12",
            "zstd:0",
            "zstd",
            "zstd:22",
            "zstd:-5",
            "zstd:-131072",
            "zstd:05",
        ],
        &[
            "",
            "gzip:0",
            "gzip:10",
            "gzip:",
            "gzip:+1",
            "lz4:13",
            "zstd:23",
            "zstd:x",
            "zip",
            "none:0",
            "auto:1",
            "zstd:5:5",
            "ZSTD",
            "zstd:level=5",
            "zstd:-",
            "zstd:--5",
            "zstd:-1000000",
            "zstd:-0",
            "lz4:-0",
        ],
        &["zstd:-131073"],
    ),
    (
        "glob",
        &["*", "scratch_*", "[ab]", "{a,b}", "a\\[b"],
        &["", " "],
        &["[a", "{a", "[b-a]"],
    ),
    (
        "delay-pattern",
        &["a.b", "*.b", "a.s.t_*", "a?.{b,c}"],
        &["", "a", "a.", ".b", "a..b", "a.b.c.d"],
        &["a.[b", "{a.b}"],
    ),
    (
        "setting-name",
        &["work_mem", "auto_explain.log_min_duration", "Work_Mem"],
        &["", "work mem", "a.", ".a", "1a", "a-b"],
        &[],
    ),
];

#[test]
fn every_format_has_examples_and_its_pattern_agrees_with_its_parser() {
    for (format, pattern, parse) in SCALARS {
        let (_, accepted, refused, by_parser_alone) = EXAMPLES
            .iter()
            .find(|(name, ..)| name == format)
            .unwrap_or_else(|| panic!("{format} has no examples"));
        for text in *accepted {
            assert_eq!(parse(text), Ok(()), "{format}: {text:?}");
            assert!(pattern_accepts(pattern, text), "{format}: {text:?}");
        }
        for text in *refused {
            assert!(parse(text).is_err(), "{format}: {text:?}");
            assert!(!pattern_accepts(pattern, text), "{format}: {text:?}");
        }
        for text in *by_parser_alone {
            assert!(parse(text).is_err(), "{format}: {text:?}");
            assert!(pattern_accepts(pattern, text), "{format}: {text:?}");
        }
    }
}

#[test]
fn durations_and_sizes_have_postgresqls_units() {
    assert_eq!(Timeout::parse("5m").unwrap().0, Duration::from_secs(300));
    assert_eq!(Timeout::parse("2h").unwrap().0, Duration::from_secs(7200));
    assert_eq!(Pause::parse("1500ms").unwrap().to_string(), "1500ms");
    assert_eq!(Size::parse("1kB").unwrap().0, 1024);
    assert_eq!(Size::parse("4GB").unwrap().0, 4 << 30);
    assert_eq!(Size::parse("1536MB").unwrap().to_string(), "1536MB");
}

#[test]
fn a_size_in_other_units_is_translated() {
    insta::assert_snapshot!(Size::parse("4GiB").unwrap_err().help, @r#"did you mean "4GB"? Units are PostgreSQL's"#);
}

#[test]
fn delay_patterns_match_by_their_parts() {
    let any_schema = DelayPattern::parse("warehouse.fact_*").unwrap();
    assert!(any_schema.matches("warehouse", "public", "fact_sales"));
    assert!(any_schema.matches("warehouse", "audit", "fact_"));
    assert!(!any_schema.matches("warehouse2", "public", "fact_sales"));

    // globset's `?` is a byte, and this letter has two in UTF-8. The schema says so to the user.
    let umlaut = DelayPattern::parse("gr??n.t").unwrap();
    assert!(umlaut.matches("grün", "public", "t"));

    let one_schema = DelayPattern::parse("*.crm.events_20??").unwrap();
    assert!(one_schema.matches("any", "crm", "events_2024"));
    assert!(!one_schema.matches("any", "public", "events_2024"));
}

proptest! {
    /// Whatever parses is spelled by `Display` so that it parses to the same again.
    #[test]
    fn spelling_and_parsing_agree(millis in 0u64..=2_147_483_647, kilobytes in 1u64..1 << 40) {
        let pause = Pause(Duration::from_millis(millis));
        prop_assert_eq!(Pause::parse(&pause.to_string()), Ok(pause));
        let size = Size(kilobytes << 10);
        prop_assert_eq!(Size::parse(&size.to_string()), Ok(size));
    }

    /// What a parser accepts, an editor accepts as well.
    #[test]
    fn no_pattern_refuses_what_its_parser_accepts(
        text in "[ a-zA-Z0-9_.:/*?{}\\[\\],\\\\-]{0,12}|(zstd|gzip|lz4):-?[0-9]{0,3}|[0-9]{1,3} ?[a-zA-Z]{1,3}"
    ) {
        for (format, pattern, parse) in SCALARS {
            if parse(&text).is_ok() {
                prop_assert!(pattern_accepts(pattern, &text), "{} refuses {:?}", format, text);
            }
        }
    }
}
