//! The engine against a model that keeps everything.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::sequence::{Protocol, Step};

/// One source at one door, with an unlimited memory, written from the rules as the design states them.
#[derive(Clone, Default)]
struct Model {
    taken: Vec<(Step, u16)>,
    began: u64,
    /// When the last step was taken.
    last: u64,
    trap: Option<Step>,
    done: Option<Done>,
}

/// A completed attempt.
#[derive(Clone)]
struct Done {
    knocks: Vec<(Step, u16)>,
    began: u64,
    last: u64,
}

impl Model {
    fn judge(
        &mut self,
        sequence: &[Step],
        timeout: u64,
        trap: bool,
        now: u64,
        knock: (Step, u16),
    ) -> Option<(u8, Judged)> {
        if !self.taken.is_empty() && now >= self.began + timeout {
            self.taken.clear();
        }
        if self.done.as_ref().is_some_and(|done| now >= done.began + timeout) {
            self.done = None;
        }
        let stage = |model: &Self| u8::try_from(model.taken.len()).unwrap();
        if !sequence.contains(&knock.0) {
            if !trap || self.taken.is_empty() {
                return None;
            }
            if self.trap.get_or_insert(knock.0) == &knock.0 {
                return Some((stage(self), Judged::Forgiven));
            }
            self.taken.clear();
            return Some((0, Judged::Trap));
        }
        let same_frame = |last: u64| knock.0.protocol == Protocol::Tcp || now - last <= 1;
        if self.taken.contains(&knock) && same_frame(self.last)
            || self.done.as_ref().is_some_and(|done| done.knocks.contains(&knock) && same_frame(done.last))
        {
            return Some((stage(self), Judged::Retransmission));
        }
        if self.taken.is_empty() {
            if sequence[0] != knock.0 {
                return Some((0, Judged::NotBegun));
            }
            (self.began, self.trap) = (now, None);
        } else if sequence[self.taken.len()] != knock.0 {
            if !self.taken.iter().any(|(step, _)| *step == knock.0) {
                self.taken.clear();
                return Some((0, Judged::WrongStep));
            }
            if sequence[0] == knock.0 {
                self.began = now;
                // The table keeps one moment of an attempt that has taken one step.
                self.last = if self.taken.len() == 1 { now } else { self.last };
            }
            return Some((stage(self), Judged::Repeat));
        }
        self.taken.push(knock);
        self.last = now;
        if self.taken.len() == sequence.len() {
            let knocks = core::mem::take(&mut self.taken);
            let stage = u8::try_from(knocks.len()).unwrap();
            self.done = Some(Done { knocks, began: self.began, last: now });
            return Some((stage, Judged::Opened));
        }
        Some((stage(self), Judged::Advanced))
    }
}

const PORTS: [&str; 6] = ["7000", "8000", "9000", "7000:udp", "7001", "7002"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any knocks by a few sources at a few doors: the engine says what the model says.
    #[test]
    fn agrees_with_the_model(
        sequences in prop::collection::vec(prop::collection::vec(0..4_usize, 1..6), 1..4),
        knocks in prop::collection::vec((0..4_u8, 0..PORTS.len(), 0..6_u16, prop_oneof![0..3_u64, 0..3_000_u64]), 0..120),
    ) {
        let doors: Vec<_> = sequences
            .iter()
            .map(|steps| {
                let steps: Vec<_> = steps.iter().map(|at| PORTS[*at]).collect();
                DoorKnock { seq_timeout: Duration::from_secs(10), ..door(&steps) }
            })
            .collect();
        with_doors(&doors, |engine| {
            let mut models: HashMap<(u8, u8), Model> = HashMap::new();
            let mut now = 0;
            for (source, at, id, pause) in knocks {
                now += pause;
                let address = if source % 2 == 0 { format!("198.51.100.{source}") } else { format!("2001:db8::{source}") };
                let knocked = step(PORTS[at]);
                let named = doors.iter().any(|door| door.sequence.contains(&knocked));
                let trap = !named && engine.ports().is_trap(knocked.protocol, knocked.port.get());
                let judgement = engine.judge(Instant::from_millis(now), &probe(&address, PORTS[at], id));
                for (n, door) in (0..).zip(&doors) {
                    let said = models.entry((source, n)).or_default().judge(
                        &door.sequence, 10_000, trap, now, (knocked, id),
                    );
                    let verdict = judgement.verdicts.iter().find(|verdict| verdict.door == DoorId(n));
                    assert_eq!(verdict.map(|verdict| (verdict.stage, verdict.judged)), said);
                }
            }
        });
    }
}
