//! The day that templates see.

/// What `strftime_now` tells: the same on every host and day, or else no run could be replayed.
pub(super) const DATE: Date = Date { year: 2026, month: 1, day: 1, weekday: 4 };

/// A day, for `strftime_now`.
pub(super) struct Date {
    year: u32,
    month: usize,
    day: u32,
    /// Days since Sunday.
    weekday: usize,
}

impl Date {
    /// Midnight of the day in a format of C's `strftime`; what it does not know stays as written.
    pub(super) fn format(&self, format: &str) -> String {
        const MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        const DAYS: [&str; 7] =
            ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
        let month = MONTHS[self.month - 1];
        let weekday = DAYS[self.weekday];
        let mut text = String::new();
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                text.push(character);
                continue;
            }
            match characters.next() {
                Some('Y') => text.push_str(&self.year.to_string()),
                Some('y') => text.push_str(&format!("{:02}", self.year % 100)),
                Some('m') => text.push_str(&format!("{:02}", self.month)),
                Some('d') => text.push_str(&format!("{:02}", self.day)),
                Some('e') => text.push_str(&format!("{:2}", self.day)),
                Some('B') => text.push_str(month),
                Some('b' | 'h') => text.push_str(&month[..3]),
                Some('A') => text.push_str(weekday),
                Some('a') => text.push_str(&weekday[..3]),
                Some('F') => text.push_str(&format!("{}-{:02}-{:02}", self.year, self.month, self.day)),
                Some('H' | 'M' | 'S') => text.push_str("00"),
                Some('I') => text.push_str("12"),
                Some('p') => text.push_str("AM"),
                Some('T') => text.push_str("00:00:00"),
                Some('%') => text.push('%'),
                Some(other) => text.extend(['%', other]),
                None => text.push('%'),
            }
        }
        text
    }
}
