//! The date: the PC's real-time clock (MC146818), which QEMU keeps in UTC.

use core::time::Duration;
use x86_64::instructions::port::Port;

/// Registers of the clock.
const SECONDS: u8 = 0;
const MINUTES: u8 = 2;
const HOURS: u8 = 4;
const DAY: u8 = 7;
const MONTH: u8 = 8;
const YEAR: u8 = 9;
const STATUS_A: u8 = 10;
const STATUS_B: u8 = 11;
const STATUS_D: u8 = 13;
/// By convention, not by the chip.
const CENTURY: u8 = 0x32;

/// Status A: the time is about to change.
const UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// Status B: hours count to 23.
const HOURS_24: u8 = 1 << 1;
/// Status B: numbers are binary, not BCD.
const BINARY: u8 = 1 << 2;
/// Hours, when they count to 12.
const AFTERNOON: u8 = 1 << 7;

/// What the registers say, before any interpretation.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Registers {
    seconds: u8,
    minutes: u8,
    hours: u8,
    day: u8,
    month: u8,
    year: u8,
    century: u8,
}

/// The time since 1970-01-01 00:00 UTC, in whole seconds. None if there is no such clock, or it shows no date.
pub(crate) fn read() -> Option<Duration> {
    // Valid RAM and time is 0x80 exactly; a missing port reads as 0xff.
    if register(STATUS_D) != 0x80 {
        return None;
    }
    let status_b = register(STATUS_B);
    // An update takes 2 ms. Two equal readings between updates are consistent.
    let mut previous = None;
    for _ in 0..1_000_000 {
        if register(STATUS_A) & UPDATE_IN_PROGRESS != 0 {
            continue;
        }
        let registers = Registers {
            seconds: register(SECONDS),
            minutes: register(MINUTES),
            hours: register(HOURS),
            day: register(DAY),
            month: register(MONTH),
            year: register(YEAR),
            century: register(CENTURY),
        };
        if previous == Some(registers) {
            return since_1970(registers, status_b);
        }
        previous = Some(registers);
    }
    None
}

fn register(index: u8) -> u8 {
    // SAFETY: the clock's ports, or nothing. Reading these registers changes nothing. The upper bit of the index
    // disables NMIs while it is set: it is not set.
    unsafe {
        Port::<u8>::new(0x70).write(index);
        Port::<u8>::new(0x71).read()
    }
}

fn since_1970(registers: Registers, status_b: u8) -> Option<Duration> {
    let number = |value: u8| u64::from(if status_b & BINARY == 0 { (value >> 4) * 10 + (value & 15) } else { value });
    let hours = if status_b & HOURS_24 != 0 {
        number(registers.hours)
    } else {
        number(registers.hours & !AFTERNOON) % 12 + if registers.hours & AFTERNOON == 0 { 0 } else { 12 }
    };
    let century = match number(registers.century) {
        century @ 19..=99 => century,
        _ => 20,
    };
    let (year, month, day) = (century * 100 + number(registers.year), number(registers.month), number(registers.day));
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_since_1970(year, month, day);
    Some(Duration::from_secs(((days * 24 + hours) * 60 + number(registers.minutes)) * 60 + number(registers.seconds)))
}

/// Days of the Gregorian calendar, for years from 1970 on.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    const BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_years_until = |year: u64| year / 4 - year / 100 + year / 400;
    // Leap days of this year's February count from March on.
    let whole_years = if month > 2 { year } else { year - 1 };
    (year - 1970) * 365
        + (leap_years_until(whole_years) - leap_years_until(1969))
        + BEFORE_MONTH[(month - 1) as usize]
        + (day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bcd(date: [u8; 7]) -> Registers {
        let [century, year, month, day, hours, minutes, seconds] = date;
        Registers { seconds, minutes, hours, day, month, year, century }
    }

    #[test]
    fn days_are_counted_across_leap_years() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(1970, 12, 31), 364);
        assert_eq!(days_since_1970(2000, 2, 29), 11_016);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(days_since_1970(2024, 12, 31), 20_088);
        assert_eq!(days_since_1970(2100, 3, 1), 47_541);
    }

    #[test]
    fn bcd_with_24_hours_is_what_qemu_gives() {
        let registers = bcd([0x20, 0x26, 0x01, 0x02, 0x23, 0x59, 0x58]);
        assert_eq!(since_1970(registers, HOURS_24), Some(Duration::from_secs(1_767_398_398)));
    }

    #[test]
    fn noon_and_midnight_of_a_12_hour_clock_are_12() {
        let hour = |hours| since_1970(bcd([0x19, 0x70, 1, 1, hours, 0, 0]), 0);
        assert_eq!(hour(0x12), Some(Duration::from_secs(0)));
        assert_eq!(hour(0x12 | AFTERNOON), Some(Duration::from_secs(12 * 3600)));
        assert_eq!(hour(0x11 | AFTERNOON), Some(Duration::from_secs(23 * 3600)));
    }

    #[test]
    fn a_month_or_day_that_does_not_exist_is_no_date() {
        assert_eq!(since_1970(bcd([0x20, 0x26, 0x13, 1, 0, 0, 0]), HOURS_24), None);
        assert_eq!(since_1970(bcd([0x20, 0x26, 0, 1, 0, 0, 0]), HOURS_24), None);
        assert_eq!(since_1970(bcd([0x20, 0x26, 1, 0, 0, 0, 0]), HOURS_24), None);
    }

    #[test]
    fn without_a_century_it_is_the_21st() {
        let registers = bcd([0, 0x26, 0x01, 0x02, 0x23, 0x59, 0x58]);
        assert_eq!(since_1970(registers, HOURS_24), Some(Duration::from_secs(1_767_398_398)));
    }
}
