//! Times that a file has as numbers, as the text that pandas writes of them to CSV.

const DAY: i128 = 86_400_000_000_000;

/// What a number of a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// A day since 1970-01-01.
    Date,
    /// The time since midnight, in units of so many nanoseconds.
    Time(i128),
    /// The time since 1970-01-01, in units of so many nanoseconds.
    Stamp {
        /// The nanoseconds.
        unit: i128,
        /// Whether it is universal time, and not that of no particular place.
        utc: bool,
    },
}

impl Clock {
    /// The texts of a column; empty where a number is missing.
    ///
    /// All stamps of a column have the same digits: the fewest of none, 3, 6 and 9 that lose nothing; without a time of
    /// day if all are at midnight, unless in universal time. Times of day have none, 6 or 9 digits each.
    pub fn texts(self, numbers: &[Option<i64>]) -> Vec<String> {
        let unit = match self {
            Self::Date => DAY,
            Self::Time(unit) | Self::Stamp { unit, .. } => unit,
        };
        let all: Vec<Option<i128>> =
            numbers.iter().map(|number| number.map(|number| i128::from(number) * unit)).collect();
        let whole_days = all.iter().flatten().all(|of| of.rem_euclid(DAY) == 0);
        let same = all.iter().flatten().copied().map(digits).max().unwrap_or(0);
        let text = |nanos: i128| match self {
            Self::Date => date(nanos),
            Self::Time(_) => time(nanos, if digits(nanos) == 3 { 6 } else { digits(nanos) }),
            Self::Stamp { utc: false, .. } if whole_days => date(nanos),
            Self::Stamp { utc, .. } => {
                let zone = if utc { "+00:00" } else { "" };
                format!("{} {}{zone}", date(nanos), time(nanos, same))
            }
        };
        all.into_iter().map(|nanos| nanos.map_or(String::new(), text)).collect()
    }
}

/// The digits of the fraction of a second: 0, 3, 6 or 9.
fn digits(nanos: i128) -> usize {
    let lost = [1_000_000_000, 1_000_000, 1_000].map(|unit| nanos.rem_euclid(unit) != 0);
    3 * lost.into_iter().filter(|lost| *lost).count()
}

/// The time of day, with so many digits of the fraction of a second.
fn time(nanos: i128, digits: usize) -> String {
    let of_day = nanos.rem_euclid(DAY);
    let (seconds, fraction) = (of_day / 1_000_000_000, of_day % 1_000_000_000);
    let [hour, minute, second] = [seconds / 3600, seconds / 60 % 60, seconds % 60];
    let fraction = format!(".{fraction:09}");
    let fraction = if digits == 0 { "" } else { &fraction[..=digits] };
    format!("{hour:02}:{minute:02}:{second:02}{fraction}")
}

/// The day of the Gregorian calendar, by years that begin in March: 400 of them have 146,097 days.
fn date(nanos: i128) -> String {
    let day = nanos.div_euclid(DAY) + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, after) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", 400 * era + year + after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let (mut year, mut month, mut day) = (1600, 1, 1);
        // From 370 years before 1970-01-01, 89 of them leap years.
        for at in -(370 * 365 + 90)..1_000_000 {
            assert_eq!(date(at * DAY), format!("{year}-{month:02}-{day:02}"), "day {at}");
            assert_eq!(date(at * DAY + DAY - 1), date(at * DAY));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = [31, 28 + i32::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            day += 1;
            if day > days[month - 1] {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }

    #[test]
    fn stamps_of_a_column_have_the_fewest_digits_that_lose_nothing() {
        let of = |unit, numbers: &[i64]| {
            let numbers: Vec<_> = numbers.iter().map(|number| Some(*number)).collect();
            Clock::Stamp { unit, utc: false }.texts(&numbers).join(" ")
        };
        assert_eq!(of(1_000_000, &[0, 86_400_000]), "1970-01-01 1970-01-02");
        assert_eq!(of(1_000_000, &[0, -1000]), "1970-01-01 00:00:00 1969-12-31 23:59:59");
        assert_eq!(of(1_000_000, &[0, 1]), "1970-01-01 00:00:00.000 1970-01-01 00:00:00.001");
        assert_eq!(of(1000, &[0, 1000]), "1970-01-01 00:00:00.000 1970-01-01 00:00:00.001");
        assert_eq!(of(1000, &[1]), "1970-01-01 00:00:00.000001");
        assert_eq!(of(1, &[1]), "1970-01-01 00:00:00.000000001");
        // The least and the largest number end nothing.
        for unit in [1, 1000, 1_000_000] {
            assert!(of(unit, &[i64::MIN, i64::MAX]).len() < 2 * 48);
        }
    }
}
