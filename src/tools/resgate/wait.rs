//! Waiting: stand in line, look, sleep, look again. A signal ends it as it ends any program, and the kernel gives the
//! place in the line away.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::args::Waiting;
use super::show::Show;
use crate::gate::pace::{Steady, jittered};
use crate::gate::queue::{Queue, Watch};
use crate::gate::{Gate, Look, Verdict};

/// Looks until the gate is open, or no look can say so. `None`: the time was up first.
pub(super) fn until_open(gate: &Gate, how: &Waiting, limit: Option<Duration>, show: &mut Show) -> anyhow::Result<Option<Look>> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let queue = Queue::join(&gate.places, &gate.demand, gate.patience).context("cannot stand in line")?;
    let mut steady = Steady::new(how.steady.unwrap_or_default());
    let mut was_behind = false;
    loop {
        let mut pause = jittered(how.interval, random());
        let now = Instant::now();
        let watch = queue.watch();
        let ahead = queue.ahead().context("cannot see the line")?;
        if !ahead.is_empty() {
            was_behind = true;
            show.behind(&ahead);
        } else if was_behind && !gate.demand.claims() {
            // The one before made no claim that stands for what its fresh job doesn't use yet.
            was_behind = false;
            show.settling();
        } else {
            let ripe = steady.is_ripe(now);
            let look = gate.look(ripe).map_err(|why| anyhow!(why))?;
            match look.verdict {
                Verdict::Unknown | Verdict::Never => return Ok(Some(look)),
                Verdict::Open if ripe => return Ok(Some(look)),
                verdict => steady.saw(verdict == Verdict::Open, now),
            }
            show.waiting(&look);
            pause = steady.next(Instant::now(), how.interval).unwrap_or(pause);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            show.gave_up(limit.unwrap_or_default());
            return Ok(None);
        }
        let next = Instant::now() + pause;
        sleep((&queue, &watch), deadline.map_or(next, |deadline| deadline.min(next)), deadline, show)?;
    }
}

/// Sleeps until the next look, in naps where a line on a terminal shows the time left.
fn sleep((queue, watch): (&Queue, &Watch), until: Instant, deadline: Option<Instant>, show: &Show) -> anyhow::Result<()> {
    // The wait may be for days.
    crate::sys::give_back_memory();
    loop {
        show.draw(deadline);
        let nap = show.nap().map_or(until, |nap| until.min(Instant::now() + nap));
        let given_up = queue.sleep(watch, nap).context("cannot see the line")?;
        if given_up || Instant::now() >= until {
            return Ok(());
        }
    }
}

/// Any number; without the kernel's, the middle one.
fn random() -> u32 {
    let mut bytes = [0; 4];
    crate::sys::random(&mut bytes).map_or(u32::MAX / 2, |()| u32::from_ne_bytes(bytes))
}
