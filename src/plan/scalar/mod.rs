//! Texts of the plan file that mean something: durations, sizes, globs, names.
//!
//! Each kind of text is one type that parses itself, and that says what it looks like to a JSON
//! Schema: `format` names it (our checker parses by that name), `pattern` describes it to an
//! editor.

mod compression;
mod parse;
mod patterns;
mod quantities;
mod words;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::model::{Compression, DelayPattern};
use super::protection::RequireAuth;
pub(super) use parse::{Invalid, Scalar};
pub(super) use patterns::Glob;
pub(super) use quantities::{Pause, Size, Timeout};
pub(super) use words::{Host, PlanName, SettingName, Text, Variable};

/// Parses a text by the `format` of its schema; `None`: not one of our formats.
pub(super) fn check(format: &str, text: &str) -> Option<Result<(), Invalid>> {
    SCALARS
        .iter()
        .find(|(name, _, _)| *name == format)
        .map(|(_, _, parse)| parse(text))
}

type Parse = fn(&str) -> Result<(), Invalid>;

/// Every kind of text: its format, its pattern and its parser.
const SCALARS: &[(&str, &str, Parse)] = &[
    entry::<Text>(),
    entry::<PlanName>(),
    entry::<Host>(),
    entry::<Variable>(),
    entry::<Timeout>(),
    entry::<Pause>(),
    entry::<Size>(),
    entry::<Compression>(),
    entry::<Glob>(),
    entry::<DelayPattern>(),
    entry::<SettingName>(),
    entry::<RequireAuth>(),
];

const fn entry<S: Scalar>() -> (&'static str, &'static str, Parse) {
    (S::FORMAT, S::PATTERN, |text| S::parse(text).map(drop))
}

/// The traits that serde and schemars want, from what [`Scalar`] and `Display` say.
macro_rules! scalar {
    ($($type:ty),* $(,)?) => { $(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<str>::deserialize(deserializer)?;
                <Self as Scalar>::parse(&text)
                    .map_err(|invalid| serde::de::Error::custom(invalid.message))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                <Self as Scalar>::FORMAT.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "format": <Self as Scalar>::FORMAT,
                    "pattern": <Self as Scalar>::PATTERN,
                })
            }
        }
    )* };
}

scalar!(
    Text,
    PlanName,
    Host,
    Variable,
    Timeout,
    Pause,
    Size,
    Compression,
    Glob,
    DelayPattern,
    SettingName,
    RequireAuth,
);

#[cfg(test)]
mod tests;
