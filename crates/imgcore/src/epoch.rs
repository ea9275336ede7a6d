//! The one instant that reaches bytes.

use std::fmt;

/// Seconds since 1970-01-01T00:00:00Z. Time enters a build once, as this value; nothing below asks a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// A calendar date and time of day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CivilTime {
    /// Year, 1970 and later.
    pub year: u64,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
}

impl Epoch {
    /// The instant as calendar fields in UTC (proleptic Gregorian calendar).
    pub fn civil(self) -> CivilTime {
        let (mut days, seconds) = (self.0 / 86_400, self.0 % 86_400);
        // Whole 400-year cycles have 146097 days; the rest is walked, at most 400 years.
        let mut year = 1970_u64.saturating_add((days / 146_097).saturating_mul(400));
        days %= 146_097;
        let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        loop {
            let length = if leap(year) { 366 } else { 365 };
            if days < length {
                break;
            }
            days -= length;
            year = year.saturating_add(1);
        }
        let february = if leap(year) { 29 } else { 28 };
        let mut month = 1_u8;
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let small = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
        CivilTime {
            year,
            month,
            day: small(days + 1),
            hour: small(seconds / 3600),
            minute: small(seconds / 60 % 60),
            second: small(seconds % 60),
        }
    }
}

/// RFC 3339 with second precision and `Z`.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CivilTime { year, month, day, hour, minute, second } = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Epoch(seconds).to_string(), text);
        }
        assert!(Epoch(u64::MAX).civil().year > 500_000_000_000);
    }
}
