//! Points in time as people write them, without a calendar library.
//!
//! Accepts milliseconds since 1970, `2026-08-01`, `2026-08-01T12:30:00Z` (or with an offset, or a blank for the
//! `T`; without a zone it is UTC) and spans back from now such as `90s`, `15m`, `6h`, `7d`.

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970-01-01 UTC that `text` stands for, seen from `now_ms`.
pub(crate) fn parse(text: &str, now_ms: i64) -> Result<i64, String> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(now_ms);
    }
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    if let Some(span_ms) = parse_span(text) {
        return Ok(now_ms.saturating_sub(span_ms));
    }
    parse_date_time(text).ok_or_else(|| {
        format!(
            "`{text}` is not a time: expected 2026-08-01T12:30:00Z, 2026-08-01, milliseconds since 1970, \
             or how long ago, such as 15m, 6h or 7d"
        )
    })
}

/// The length of `90s`, `15m`, `6h`, `7d`, `500ms`, in milliseconds.
pub(crate) fn parse_span(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_MS,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit_ms)
}

/// `2026-08-01T12:30:00.250Z`.
pub(crate) fn format(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = date_of(days);
    let (seconds, milli) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

fn parse_date_time(text: &str) -> Option<i64> {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(place) => (text.get(..place)?, text.get(place + 1..)?),
        None => (text, ""),
    };
    let mut parts = date.splitn(3, '-');
    let year = parts.next().filter(|year| year.len() == 4)?.parse::<i64>().ok()?;
    let month = in_range(parts.next()?, 1, 12)?;
    let day = in_range(parts.next()?, 1, 31)?;
    let days = days_of(year, month, day);
    // 31 June and 29 February of a common year come back as another date.
    if date_of(days) != (year, month, day) {
        return None;
    }
    let (clock, offset_ms) = split_zone(time)?;
    Some(days * DAY_MS + clock_ms(clock)? - offset_ms)
}

/// The clock part, and what the zone is ahead of UTC in milliseconds.
fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(place) = time.find(['+', '-']) else { return Some((time, 0)) };
    let (clock, zone) = time.split_at_checked(place)?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) = match digits.len() {
        2 => (digits.as_str(), "0"),
        4 => digits.split_at_checked(2)?,
        _ => return None,
    };
    let ahead = in_range(hours, 0, 23)? * 60 + in_range(minutes, 0, 59)?;
    Some((clock, sign * ahead * 60_000))
}

/// Milliseconds since midnight of `12:30`, `12:30:05` or `12:30:05.25`.
fn clock_ms(clock: &str) -> Option<i64> {
    if clock.is_empty() {
        return Some(0);
    }
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = whole.split(':');
    let hour = in_range(parts.next()?, 0, 23)?;
    let minute = in_range(parts.next()?, 0, 59)?;
    let second = parts.next().map_or(Some(0), |second| in_range(second, 0, 59))?;
    if parts.next().is_some() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let milli: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(((hour * 60 + minute) * 60 + second) * 1000 + milli)
}

fn in_range(text: &str, low: i64, high: i64) -> Option<i64> {
    text.parse().ok().filter(|number| (low..=high).contains(number))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. Years start in March here, so that the leap day
/// is the last of its year.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day, `days` after 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let ms = parse(text, 1_785_585_600_000).unwrap();
        assert_eq!(format(ms), expected, "{text}");
    }

    #[test]
    fn times_as_people_write_them() {
        check("2026-08-01T12:30:00Z", "2026-08-01T12:30:00.000Z");
        check("2026-08-01 12:30", "2026-08-01T12:30:00.000Z");
        check("2026-08-01T12:30:05.25+02:00", "2026-08-01T10:30:05.250Z");
        check("2024-02-29", "2024-02-29T00:00:00.000Z");
        check("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z");
        check("1785585600001", "2026-08-01T12:00:00.001Z");
        check("now", "2026-08-01T12:00:00.000Z");
        check("15m", "2026-08-01T11:45:00.000Z");
        check("7d", "2026-07-25T12:00:00.000Z");
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in ["", "soon", "2026-13-01", "2023-02-29", "2026-08-01T25:00", "12x", "2026-08"] {
            assert!(parse(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for days in -200_000..200_000 {
            let (year, month, day) = date_of(days);
            assert_eq!(days_of(year, month, day), days);
        }
    }
}
