//! Limits: they take what rules would keep, oldest first, down to the floor and no further.

use super::{Action, Candidate, Decision, Plan, Policy};

/// The good ones of a series, newest first, and how many of them stay in any case.
pub(super) struct Series {
    pub(super) good: Vec<usize>,
    pub(super) floor: usize,
}

/// Marks what the limits take besides, by a forecast from sizes, and says what can't be reached.
pub(super) fn apply(stock: &[impl Candidate], policy: &Policy, available: u64, series: &[Series], plan: &mut Plan) {
    if policy.max_size.is_none() && policy.min_free.is_none() {
        return;
    }
    let size = |at: &usize| stock[*at].facts().size;
    let freed: u64 = plan.removals().map(|at| size(&at)).sum();
    let mut taken: u64 = stock.iter().map(|one| one.facts().size).sum::<u64>() - freed;
    let mut free = available.saturating_add(freed);
    let over =
        |taken: u64, free: u64| policy.max_size.is_some_and(|max| taken > max) || policy.min_free.is_some_and(|min| free < min);
    // In each series the oldest stands last; the floor is never among them.
    let mut queues: Vec<Vec<usize>> = series
        .iter()
        .map(|series| series.good[series.floor..].iter().copied().filter(|at| may_go(stock, policy, plan, *at)).collect())
        .collect();
    while over(taken, free) {
        let oldest = queues
            .iter_mut()
            .filter(|queue| !queue.is_empty())
            .min_by_key(|queue| queue.last().map(|at| stock[*at].facts().when));
        let Some(at) = oldest.and_then(Vec::pop) else { break };
        taken -= size(&at);
        free = free.saturating_add(size(&at));
        let limit = if policy.max_size.is_some_and(|max| taken + size(&at) > max) { "--max-size" } else { "--min-free" };
        plan.decisions[at] = Decision {
            action: Action::Remove,
            reasons: vec![format!("the oldest, and over {limit}").into()].into(),
            by_limit: true,
        };
    }
    if let Some(max) = policy.max_size.filter(|max| taken > *max) {
        plan.short.push(format!("--max-size can't be reached: {taken} bytes stay, {max} are allowed"));
    }
    if let Some(min) = policy.min_free.filter(|min| free < *min) {
        plan.short.push(format!("--min-free can't be reached: {free} bytes will be free, {min} are wanted"));
    }
}

/// A limit takes neither what is protected or in use, nor what is among the best.
fn may_go(stock: &[impl Candidate], policy: &Policy, plan: &Plan, at: usize) -> bool {
    let best = policy.best.is_some() && plan.decisions[at].reasons.iter().any(|reason| reason.starts_with("among the best"));
    plan.decisions[at].action == Action::Keep
        && stock[at].facts().protected.is_none()
        && stock[at].facts().busy.is_none()
        && !best
}
