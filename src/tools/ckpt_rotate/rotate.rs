//! Rotation: judge, plan, take away, and only then unlink.

use std::collections::BTreeSet;
use std::mem::ManuallyDrop;

use anyhow::Context as _;

use super::args::Level;
use super::open::{Work, say};
use super::report;
use crate::checkpoint::digest::Cache;
use crate::checkpoint::held;
use crate::checkpoint::plan::{self, Action, Plan, Policy};
use crate::checkpoint::remove::{self, Left, Watch};
use crate::checkpoint::stock::{self, Look, Stock};
use crate::checkpoint::trash::{self, Batch};
use crate::checkpoint::verdict::Verdict;
use crate::entry::Out;
use crate::exit::{Exit, Failure};
use crate::text::shown;

/// How a rotation tells what it does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// Only what was left alone or went wrong, on standard error.
    Trouble,
    /// The plan too, on standard output.
    All,
    /// The plan on standard error, since standard output has another use.
    Aside,
}

/// Rotates by the options' policy. The caller holds the directory's lock.
pub(super) fn run(work: &Work<'_>, policy: &Policy, tell: Tell, out: &mut Out) -> anyhow::Result<Exit> {
    if work.args.level == Level::Off {
        return Err(Failure::new(Exit::Usage, "--level off proves nothing, so nothing may be removed on it")
            .hint("it goes with --dry-run only")
            .into());
    }
    trash::finish_groups(&work.dir).with_context(|| cannot(work, "finish the last run in"))?;
    let cache = Cache::load(&work.dir);
    let read = |bytes| work.read(bytes);
    let look = work.look(&read, Some(&cache));
    let mut exit = Exit::Done;
    let mut said = BTreeSet::new();
    // Only a removal limit needs more than one round: it is measured anew after each removal that it asked for.
    for round in 0_u32.. {
        let stock = stock::take(&work.dir, &work.patterns, &look).with_context(|| cannot(work, "read"))?;
        work.quiet();
        if round == 0 {
            trash::sweep(&work.dir, &stock.scan.own).with_context(|| cannot(work, "clean up in"))?;
        }
        let plan = planned(work, &stock, policy)?;
        if round == 0 {
            tell_plan(work, &stock, &plan, tell, out)?;
        }
        let (removed, again, ended) = act(work, &stock, &plan, &look, round, &mut said)?;
        if ended != Exit::Done {
            exit = ended;
        }
        if !work.args.defer {
            let until = work.args.trash_for.is_some().then(|| seconds(work));
            exit = purge(work, until.or_else(|| Some(seconds(work))), exit)?;
        }
        if !again || removed == 0 {
            for short in &plan.short {
                say(short);
                exit = Exit::No;
            }
            break;
        }
    }
    // What the digests cost was spent; that they can't be remembered is no failure.
    let _ = cache.store(&work.dir);
    Ok(exit)
}

fn cannot(work: &Work<'_>, what: &str) -> String {
    format!("cannot {what} '{}'", shown(&work.dir.path))
}

fn seconds(work: &Work<'_>) -> u64 {
    u64::try_from(work.now.div_euclid(1_000_000_000)).unwrap_or(0)
}

/// Makes the plan of the stock as it is.
pub(super) fn planned(work: &Work<'_>, stock: &Stock, policy: &Policy) -> anyhow::Result<Plan> {
    let available = work.dir.available().with_context(|| cannot(work, "ask for the free space of"))?;
    Ok(plan::plan(&stock.known, policy, &work.zone, available))
}

/// Says what is kept and what isn't, and names what wasn't counted.
pub(super) fn tell_plan(work: &Work<'_>, stock: &Stock, plan: &Plan, tell: Tell, out: &mut Out) -> anyhow::Result<()> {
    // Most lines are short, and a text of thousands shouldn't move while it grows.
    let mut lines = String::with_capacity(stock.known.len() * 64);
    for (known, decision) in stock.known.iter().zip(&plan.decisions) {
        if work.args.json && tell != Tell::Aside {
            lines.push_str(&report::Row::new(known, Some(decision)).line()?);
        } else if tell != Tell::Trouble {
            report::decision(&mut lines, known, decision);
        } else if known.judgement.verdict != Verdict::Good && !work.args.quiet {
            say(&format!("left alone: {}: {}", work.shown(&known.unit.name), decision.reasons.join("; ")));
        }
    }
    if tell == Tell::Aside {
        lines.lines().for_each(say);
    } else {
        std::io::Write::write_all(out, lines.as_bytes())?;
    }
    Ok(())
}

/// Carries the plan out: gives how many went, whether a limit asks for another round, and how it ended.
fn act(
    work: &Work<'_>,
    stock: &Stock,
    plan: &Plan,
    look: &Look<'_>,
    round: u32,
    said: &mut BTreeSet<String>,
) -> anyhow::Result<(usize, bool, Exit)> {
    for conflict in &plan.conflicts {
        say(&format!("{conflict}: a restart, or a copy; nothing is removed"));
    }
    if !plan.conflicts.is_empty() {
        say("--order number or --order time decides");
        return Ok((0, false, Exit::No));
    }
    let mut victims: Vec<usize> = plan.removals().filter(|at| !plan.decisions[*at].by_limit).collect();
    let limited = plan.removals().filter(|at| plan.decisions[*at].by_limit).min_by_key(|at| stock.known[*at].when);
    victims.extend(limited);
    let again = limited.is_some() && round < 100_000;
    if victims.is_empty() {
        return Ok((0, false, Exit::Done));
    }
    victims.sort_by_key(|at| stock.known[*at].when);
    let (removed, exit) = take_away(work, stock, &victims, look, said)?;
    Ok((removed, again, exit))
}

/// Moves the victims into the trash, durably; names what stays and why.
pub(super) fn take_away(
    work: &Work<'_>,
    stock: &Stock,
    victims: &[usize],
    look: &Look<'_>,
    said: &mut BTreeSet<String>,
) -> anyhow::Result<(usize, Exit)> {
    let until = seconds(work).saturating_add(work.args.trash_for.map_or(0, |span| span.as_secs()));
    let mut batch = Batch::new(&work.dir, until).with_context(|| cannot(work, "make a trash in"))?;
    let listed = crate::checkpoint::scan::scan(&work.dir, &work.patterns).with_context(|| cannot(work, "read"))?;
    let mut watch = Watch::new(&work.dir, listed).with_context(|| cannot(work, "read the pointers of"))?;
    let mut removed = 0;
    let mut exit = Exit::Done;
    for at in victims {
        let known = &stock.known[*at];
        let name = work.shown(&known.unit.name);
        match remove::take(&work.dir, &mut batch, known, look, &mut watch) {
            Ok(()) => removed += 1,
            Err(Left::InUse(why)) => {
                if said.insert(name.clone()) && !work.args.quiet {
                    say(&format!("left alone: {name}: {why}"));
                }
            }
            Err(Left::Failed(why)) => {
                if said.insert(name.clone()) {
                    say(&format!("cannot remove '{name}': {why}"));
                }
                exit = Exit::No;
            }
        }
    }
    batch.seal(&work.dir).with_context(|| cannot(work, "make the removals durable in"))?;
    Ok((removed, exit))
}

/// Empties the trash of what is due.
pub(super) fn purge(work: &Work<'_>, now: Option<u64>, exit: Exit) -> anyhow::Result<Exit> {
    let emptied = trash::empty(&work.dir, now).with_context(|| cannot(work, "empty the trash of"))?;
    for failure in &emptied.failed {
        say(&format!("cannot unlink '{}'", work.shown(failure)));
    }
    Ok(if emptied.failed.is_empty() { exit } else { Exit::No })
}

/// Shows the plan and does nothing: the very same code up to the first rename.
pub(super) fn dry(work: &Work<'_>, policy: &Policy, out: &mut Out) -> anyhow::Result<Exit> {
    let read = |bytes| work.read(bytes);
    let look = work.look(&read, None);
    // The program ends after this, and to give ten thousand of them back one by one takes as long as to print them.
    let stock = stock::take(&work.dir, &work.patterns, &look).with_context(|| cannot(work, "read"))?;
    let stock = ManuallyDrop::new(stock);
    work.quiet();
    let mut plan = ManuallyDrop::new(planned(work, &stock, policy)?);
    if look.checks.is_some() {
        leave_what_is_used(work, &stock, &mut plan, &look)?;
    }
    tell_plan(work, &stock, &plan, Tell::All, out)?;
    for line in plan.conflicts.iter().chain(&plan.short) {
        say(line);
    }
    Ok(if plan.conflicts.is_empty() && plan.short.is_empty() { Exit::Done } else { Exit::No })
}

fn leave_what_is_used(work: &Work<'_>, stock: &Stock, plan: &mut Plan, look: &Look<'_>) -> anyhow::Result<()> {
    let locked = held::locked(&work.dir).with_context(|| cannot(work, "ask who holds what in"))?;
    for at in plan.removals().collect::<Vec<_>>() {
        if let Some(Left::InUse(why) | Left::Failed(why)) = remove::in_use(&work.dir, &stock.known[at], look, &locked) {
            let decision = &mut plan.decisions[at];
            decision.action = Action::Leave;
            decision.reasons = vec![why.into()].into();
        }
    }
    Ok(())
}
