//! The monotonic clock: the CPU's time stamp counter (TSC).
//!
//! Its frequency is what the CPU or the hypervisor says by CPUID, else it is measured against the interval timer (PIT).

use core::arch::x86_64::{__cpuid, _rdtsc};
use core::time::Duration;
use spin::Once;
use x86_64::instructions::port::Port;

/// The frequency of the interval timer.
const PIT_HZ: u64 = 1_193_182;
/// How long a measurement takes: 10 ms, of the 55 ms that the timer's 16 bits count.
const MEASURED_PIT_TICKS: u16 = (PIT_HZ / 100) as u16;

struct Clock {
    /// The counter when the clock was at 0.
    start: u64,
    /// Nanoseconds per tick, times 2^32.
    scale: u64,
}

static CLOCK: Once<Clock> = Once::new();

/// The time since [`init`]; 0 before.
pub(crate) fn since_boot() -> Duration {
    let Some(clock) = CLOCK.get() else {
        return Duration::ZERO;
    };
    let ticks = ticks().wrapping_sub(clock.start);
    Duration::from_nanos(((u128::from(ticks) * u128::from(clock.scale)) >> 32) as u64)
}

/// Starts the clock.
///
/// # Panics
///
/// If nothing tells the frequency of the counter.
pub(crate) fn init() {
    let start = ticks();
    let (hz, source) = cpuid_hz()
        .map(|hz| (hz, "CPUID"))
        .or_else(|| Some((measure_hz()?, "the interval timer")))
        .expect("no clock: neither CPUID nor an interval timer (on microvm: pit=on) tells the frequency of the TSC");
    let scale = ((1_000_000_000_u128 << 32) / u128::from(hz)) as u64;
    CLOCK.call_once(|| Clock { start, scale });
    log::info!("time stamp counter: {hz} Hz by {source}");
}

fn ticks() -> u64 {
    // SAFETY: every x86_64 CPU has the instruction, and the kernel runs in ring 0, where it is always allowed.
    unsafe { _rdtsc() }
}

/// The frequency, from the CPU (leaf 0x15) or from the hypervisor (leaf 0x40000010, VMware's and KVM's).
fn cpuid_hz() -> Option<u64> {
    if __cpuid(0).eax >= 0x15 {
        let leaf = __cpuid(0x15);
        if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
            return Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax));
        }
    }
    // Bit 31 of ecx: there is a hypervisor, and the leaves from 0x40000000 on are its own.
    if __cpuid(1).ecx & (1 << 31) != 0 && (0x4000_0010..0x4100_0000).contains(&__cpuid(0x4000_0000).eax) {
        let kilohertz = __cpuid(0x4000_0010).eax;
        return (kilohertz != 0).then(|| u64::from(kilohertz) * 1000);
    }
    None
}

/// Measures the frequency, until two measurements agree within 1 %.
///
/// When the host takes the CPU away for long during a measurement, the timer goes round unseen, and the measured
/// frequency is too high: so the lowest counts.
fn measure_hz() -> Option<u64> {
    let mut timer = IntervalTimer::start()?;
    let mut lowest = timer.measure_hz();
    for _ in 0..20 {
        let next = timer.measure_hz();
        let agreed = next.abs_diff(lowest) <= lowest / 100;
        lowest = lowest.min(next);
        if agreed {
            break;
        }
    }
    Some(lowest)
}

/// Channel 0 of the interval timer. Channel 2, which other kernels take, has its gate in a port that microvm lacks.
struct IntervalTimer {
    command: Port<u8>,
    counter: Port<u8>,
}

impl IntervalTimer {
    /// Lets the timer count down from 65536 again and again. None if there is no timer.
    fn start() -> Option<Self> {
        let mut timer = Self { command: Port::new(0x43), counter: Port::new(0x40) };
        // SAFETY: the timer's ports, or nothing. Its interrupt is not delivered: interrupts are off.
        unsafe {
            // Channel 0, low then high byte, mode 2 (rate generator), binary.
            timer.command.write(0b0011_0100);
            timer.counter.write(0);
            timer.counter.write(0);
        }
        // A missing port reads as all ones; a counter leaves that value within a microsecond.
        (0..1000).any(|_| timer.count() != u16::MAX).then_some(timer)
    }

    fn count(&mut self) -> u16 {
        // SAFETY: as in `start`; this latches the counter and reads it, low byte first.
        unsafe {
            self.command.write(0);
            u16::from_le_bytes([self.counter.read(), self.counter.read()])
        }
    }

    /// A value of the timer and the value of the TSC at the same time: the closest of some tries.
    fn sample(&mut self) -> (u16, u64) {
        let tries = (0..8).map(|_| {
            let before = ticks();
            let count = self.count();
            let after = ticks();
            (after.wrapping_sub(before), count, before)
        });
        let (_, count, before) = tries.min_by_key(|(width, ..)| *width).expect("there are 8 tries");
        (count, before)
    }

    fn measure_hz(&mut self) -> u64 {
        let (first_count, first_ticks) = self.sample();
        while first_count.wrapping_sub(self.count()) < MEASURED_PIT_TICKS {}
        let (last_count, last_ticks) = self.sample();
        let pit_ticks = u64::from(first_count.wrapping_sub(last_count)).max(1);
        last_ticks.wrapping_sub(first_ticks).saturating_mul(PIT_HZ) / pit_ticks
    }
}
