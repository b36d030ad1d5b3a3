//! Hours, days, weeks and months of local time.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::super::scan::Nanos;

/// A stretch of civil time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// An hour of a day.
    Hour,
    /// A day.
    Day,
    /// A week that begins on Monday.
    Week,
    /// A month.
    Month,
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "its hour",
            Self::Day => "its day",
            Self::Week => "its week",
            Self::Month => "its month",
        })
    }
}

impl Period {
    /// A number that is the same for two times of the same period, and for no others.
    #[must_use]
    pub fn of(self, when: Nanos, zone: &TimeZone) -> i64 {
        let Ok(time) = Timestamp::from_nanosecond(when) else { return i64::MAX };
        let time = time.to_zoned(zone.clone());
        let date = time.date();
        let month = i64::from(date.year()) * 12 + i64::from(date.month());
        let day = month * 31 + i64::from(date.day());
        match self {
            // The offset tells the two hours apart that the clocks show twice in autumn.
            Self::Hour => time.timestamp().as_second().div_euclid(3600),
            Self::Day => day,
            Self::Week => {
                let week = date.iso_week_date();
                i64::from(week.year()) * 60 + i64::from(week.week())
            }
            Self::Month => month,
        }
    }
}

/// The moment that the digits `YYYYmmddHHMMSS` of a name mean in local time.
#[must_use]
pub fn moment(digits: u64, zone: &TimeZone) -> Option<Nanos> {
    let part = |divisor: u64, modulus: u64| i8::try_from(digits / divisor % modulus).ok();
    let year = i16::try_from(digits / 10_000_000_000).ok()?;
    let date = jiff::civil::DateTime::new(
        year,
        part(100_000_000, 100)?,
        part(1_000_000, 100)?,
        part(10_000, 100)?,
        part(100, 100)?,
        part(1, 100)?.min(59),
        0,
    );
    Some(date.ok()?.to_zoned(zone.clone()).ok()?.timestamp().as_nanosecond())
}
