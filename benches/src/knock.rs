//! Sends right knocks, and measures how long each took to open its door.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::Result;
use crate::arguments::Arguments;
use crate::frame::{Packet, Protocol};
use crate::observer::Observer;
use crate::sender::Sender;
use crate::socket::{self, now};

/// How long after its last knock a door may open.
const PATIENCE: u64 = 1_000_000_000;

/// `load knock sender=NETNS device= router=NETNS first=ADDRESS to= steps=P,P,P count= gap_ms= every_ms=`
///
/// The knocker with number i has the address `first` + i, and begins i times `every_ms` after the first. The steps are
/// `gap_ms` apart. The time runs from just before the call that sends the last step until the kernel's message has been
/// read that the address is in a set. One process reads both times from one clock.
pub fn run(arguments: &Arguments) -> Result<String> {
    let (first, to): (Ipv4Addr, Ipv4Addr) = (arguments.get("first")?, arguments.get("to")?);
    let steps: Vec<u16> = arguments
        .text("steps")
        .unwrap_or_default()
        .split(',')
        .map(|step| step.parse().map_err(|_| format!("{step:?} is no port")))
        .collect::<std::result::Result<_, _>>()?;
    let count: u32 = arguments.get("count")?;
    let ms = |name| arguments.get::<u64>(name).map(|ms| ms * 1_000_000);
    let (gap, every) = (ms("gap_ms")?, ms("every_ms")?);

    socket::sleep_exactly();
    socket::enter(arguments.text("router").ok_or("router= is missing")?)?;
    let mut observer = Observer::open()?;
    socket::enter(arguments.text("sender").ok_or("sender= is missing")?)?;
    let mut sender = Sender::open(arguments.text("device").ok_or("device= is missing")?)?;

    // (when, who, step), in order of time.
    let start = now() + 10_000_000;
    let mut plan: Vec<(u64, u32, usize)> = (0..count)
        .flat_map(|who| (0..steps.len()).map(move |step| (who, step)))
        .map(|(who, step)| (start + u64::from(who) * every + step as u64 * gap, who, step))
        .collect();
    plan.sort_unstable();
    let end = plan.last().ok_or("no knocks")?.0 + PATIENCE;

    let mut sent = vec![None; count as usize];
    let mut opened: Vec<Option<u64>> = vec![None; count as usize];
    let mut frame = vec![Vec::new()];
    let mut plan = plan.into_iter().peekable();
    loop {
        let due = plan.peek().map_or(end, |next| next.0);
        match due.saturating_sub(now()) {
            0 => {
                let Some((_, who, step)) = plan.next() else { break };
                Packet {
                    source: Ipv4Addr::from_bits(first.to_bits() + who).into(),
                    source_port: 30_000 + u16::try_from(step)?,
                    destination: to.into(),
                    port: steps[step],
                    sequence_number: who << 8 | u32::try_from(step)?,
                    protocol: Protocol::Syn,
                    payload: &[],
                }
                .write(&mut frame[0]);
                if step + 1 == steps.len() {
                    sent[who as usize] = Some(now());
                }
                sender.send(&frame)?;
            }
            ns => observer.wait(Duration::from_nanos(ns), first, count, |who, when| {
                opened[who as usize].get_or_insert(when);
            })?,
        }
        if plan.peek().is_none() && opened.iter().all(Option::is_some) {
            break;
        }
    }

    let mut latencies = Vec::new();
    let mut early = 0;
    for (sent, opened) in sent.iter().zip(&opened) {
        match (sent, opened) {
            (Some(sent), Some(opened)) if opened < sent => early += 1,
            (Some(sent), Some(opened)) if opened - sent <= PATIENCE => latencies.push((opened - sent) / 1000),
            _ => {}
        }
    }
    if early > 0 {
        return Err(format!("{early} doors opened before the last step").into());
    }
    Ok(format!(r#"{{"knocks": {count}, "opened": {}, "microseconds": {latencies:?}}}"#, latencies.len()))
}
