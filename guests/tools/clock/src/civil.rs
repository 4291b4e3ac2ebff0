//! Calendar arithmetic in the proleptic Gregorian calendar.

use std::fmt;

const DAY: i64 = 86_400;
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// The largest offset from UTC in use, in minutes (Line Islands, +14:00).
const MAXIMUM_OFFSET: i32 = 14 * 60;

/// A date and a time of day. Displayed as `2026-11-21 02:10:20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// The year; 0 is 1 BC.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 86,399.
    pub second_of_day: u32,
    /// Days since 1970-01-01.
    pub days: i64,
}

impl DateTime {
    /// The date and time `seconds` after 1970-01-01 00:00:00, leap seconds not counted.
    ///
    /// The date is Howard Hinnant's `civil_from_days` ("chrono-Compatible Low-Level Date Algorithms", 2013): years
    /// begin in March, so that the leap day is their last day, and 400 of them, an era, have 146,097 days.
    pub fn from_unix_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(DAY);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u8,
            day: day as u8,
            second_of_day: seconds.rem_euclid(DAY) as u32,
            days,
        }
    }

    /// The English name of the weekday.
    pub fn weekday(&self) -> &'static str {
        // 1970-01-01 was a Thursday.
        WEEKDAYS[self.days.rem_euclid(7) as usize]
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.second_of_day;
        write!(
            f,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            self.year,
            self.month,
            self.day,
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    }
}

/// Minutes east of UTC of an offset written `+HH:MM`, `-HH:MM`, `Z` or `UTC`.
pub fn offset_minutes(text: &str) -> Option<i32> {
    if matches!(text, "Z" | "UTC") {
        return Some(0);
    }
    let &[sign, h1, h2, b':', m1, m2] = text.as_bytes() else { return None };
    let number = |tens: u8, ones: u8| {
        (tens.is_ascii_digit() && ones.is_ascii_digit())
            .then(|| i32::from(tens - b'0') * 10 + i32::from(ones - b'0'))
    };
    let (hours, minutes) = (number(h1, h2)?, number(m1, m2)?);
    let total = hours * 60 + minutes;
    if minutes > 59 || total > MAXIMUM_OFFSET {
        return None;
    }
    match sign {
        b'+' => Some(total),
        b'-' => Some(-total),
        _ => None,
    }
}
