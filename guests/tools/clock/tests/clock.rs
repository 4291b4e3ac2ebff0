//! Known dates, every day of eight centuries, and the tool.

use clock::{
    TOOLS,
    civil::{DateTime, offset_minutes},
    get_time,
};
use glasshouse_guest::{
    ErrorData,
    protocol::{Request, ToolDescription},
    testing,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn run(arguments: Value, unix_milliseconds: i64) -> Result<Value, ErrorData> {
    testing::call(get_time, &arguments, |request| match request {
        Request::ReadClock {} => Ok(json!({ "unix_milliseconds": unix_milliseconds })),
        other => panic!("{other:?}"),
    })
}

#[test]
fn known_moments() {
    for (milliseconds, text) in [
        (0, "1970-01-01 00:00:00 UTC, Thursday"),
        (1_795_227_020_000, "2026-11-21 02:10:20 UTC, Saturday"),
        (951_782_400_000, "2000-02-29 00:00:00 UTC, Tuesday"),
        (4_107_542_399_999, "2100-02-28 23:59:59 UTC, Sunday"),
        (4_107_542_400_000, "2100-03-01 00:00:00 UTC, Monday"),
        (-1, "1969-12-31 23:59:59 UTC, Wednesday"),
        (253_402_300_799_000, "9999-12-31 23:59:59 UTC, Friday"),
    ] {
        assert_eq!(run(json!({}), milliseconds), Ok(json!(text)));
    }
}

#[test]
fn an_offset_moves_the_clock_and_is_named() {
    let now = 1_795_227_020_000;
    for (offset, text) in [
        ("+02:00", "2026-11-21 04:10:20 +02:00, Saturday"),
        ("-05:30", "2026-11-20 20:40:20 -05:30, Friday"),
        ("+14:00", "2026-11-21 16:10:20 +14:00, Saturday"),
        ("+00:00", "2026-11-21 02:10:20 UTC, Saturday"),
        ("UTC", "2026-11-21 02:10:20 UTC, Saturday"),
    ] {
        assert_eq!(run(json!({ "utc_offset": offset }), now), Ok(json!(text)));
    }
    for offset in
        ["", "2", "02:00", "+2:00", "+02:60", "+14:01", "+99:99", "+0a:00", "Europe/Berlin", "+02:00 "]
    {
        assert_eq!(run(json!({ "utc_offset": offset }), now).unwrap_err().code, "invalid_offset", "{offset}");
    }
    assert_eq!(offset_minutes("-12:00"), Some(-720));
}

#[test]
fn every_day_of_eight_centuries_follows_the_one_before() {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut month, mut day) = (1600_i64, 1_u8, 1_u8);
    for days in -135_140..157_054 {
        let date = DateTime::from_unix_seconds(days * 86_400);
        assert_eq!((date.year, date.month, date.day), (year, month, day), "{days}");
        let length = match month {
            2 if leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        day += 1;
        if day > length {
            (day, month) = (1, month + 1);
        }
        if month > 12 {
            (month, year) = (1, year + 1);
        }
    }
    assert_eq!((year, month, day), (2400, 1, 1));
}

#[test]
fn the_tool_describes_itself() {
    let tools: Vec<ToolDescription> = serde_json::from_str(TOOLS).unwrap();
    assert_eq!((tools[0].name.as_str(), tools[0].services.join(" ")), ("get_time", "clock".to_owned()));
}

proptest! {
    #[test]
    fn no_clock_panics(milliseconds in any::<i64>(), offset in "[+-][0-9]{2}:[0-9]{2}") {
        let _ = run(json!({ "utc_offset": offset }), milliseconds);
        let result = run(json!({}), milliseconds);
        prop_assert!(result.is_ok(), "{result:?}");
    }
}
