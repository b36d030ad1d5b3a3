//! `todo --claim`: candidates are leased before they are printed, so that several workers share one list.

use std::io::Write;

use anyhow::{Context, Result};

use super::Global;
use super::todo::{Args, Block, Candidates, caller};
use crate::done_set::Loaded;
use crate::entry::Out;
use crate::exit::{Exit, Failure};
use crate::journal::{Place, Writer, now};
use crate::leases::{Holder, Leases};
use crate::process::{Here, Identity};

/// How many candidates are looked at under one lock.
const AT_ONCE: usize = 4096;

pub(super) fn run(global: &Global, args: &Args, place: &Place, out: &mut Out) -> Result<Exit> {
    let here = Here::look();
    let pid = caller(args)?;
    let identity =
        Identity::of(pid).ok_or_else(|| Failure::new(Exit::Broken, format!("there is no process {pid} to hold a lease")))?;
    let mut claiming = Claiming {
        writer: global.writer(place)?,
        place,
        loaded: global.load(place)?,
        holder: Holder::of(identity, &here),
        here,
        claim_s: args.claim.unwrap_or_default().as_secs_f64(),
        left: args.limit.unwrap_or(u64::MAX),
    };
    claiming.loaded.keep();
    let keys = args.input.keys(&claiming.loaded.reading.header, global.fields.as_deref())?;
    let mut candidates = Candidates::new(true)?;
    while claiming.left > 0
        && !out.is_closed()
        && let Some(Block { first, lines }) = candidates.next()?
    {
        let mut batch: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for (line, number) in lines.split_inclusive(|byte| *byte == b'\n').zip(first..) {
            let mut key = Vec::new();
            let taken = keys.take(line.strip_suffix(b"\n").unwrap_or(line), &mut key);
            if let Err(wrong) = taken {
                claiming.hand_out(&batch, out)?;
                return Err(wrong.failure(&format!("line {number} of standard input")));
            }
            batch.push((line, key));
            if batch.len() == AT_ONCE {
                claiming.hand_out(&batch, out)?;
                batch.clear();
            }
        }
        claiming.hand_out(&batch, out)?;
    }
    Ok(Exit::Done)
}

struct Claiming<'a> {
    writer: Writer,
    place: &'a Place,
    loaded: Loaded,
    holder: Holder,
    here: Here,
    claim_s: f64,
    left: u64,
}

impl Claiming<'_> {
    /// Leases what of the batch is to do and nobody's, then prints it.
    fn hand_out(&mut self, batch: &[(&[u8], Vec<u8>)], out: &mut Out) -> Result<()> {
        let Self { writer, place, loaded, holder, here, claim_s, left } = self;
        let mut printed = Vec::new();
        let mut taken: Vec<Vec<u8>> = Vec::new();
        writer.locked(|| {
            loaded.refresh()?;
            let mut leases = Leases::read(&place.claims(), here)?;
            let now = now();
            let mut own = std::collections::HashSet::new();
            for (line, key) in batch {
                if taken.len() as u64 == *left {
                    break;
                }
                // A candidate that stands there twice is handed out once.
                if !loaded.set.contains(key) && leases.holder(key, now).is_none() && own.insert(key) {
                    printed.extend_from_slice(line);
                    taken.push(key.clone());
                }
            }
            if taken.is_empty() { Ok(()) } else { leases.take(&taken, holder, Some(now + *claim_s), now) }
        })?;
        *left -= taken.len() as u64;
        let written = out.write_all(&printed).and_then(|()| out.flush());
        if let Err(error) = written {
            // What nobody received is nobody's.
            writer.locked(|| Leases::read(&place.claims(), here)?.give_back(&taken, holder))?;
            if !out.is_closed() {
                return Err(error).context("cannot write to standard output");
            }
        }
        Ok(())
    }
}
