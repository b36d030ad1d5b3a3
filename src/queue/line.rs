//! A queue as it stands now, for whoever asks: nothing is changed by the look.

use super::{Queue, Seen, Ticket};
use crate::process::Here;
use crate::record::Unreadable;
use crate::state_dir::StateDir;

/// Who holds the slots and who waits for one.
#[derive(Debug)]
pub struct Line {
    name: String,
    slots: Result<u32, Unreadable>,
    holders: Vec<String>,
    waiting: Vec<String>,
}

impl Line {
    /// Looks at a queue; `None` where there is none of that name, or none that can be read.
    #[must_use]
    pub fn look(dir: &StateDir, name: &str, here: &Here) -> Option<Self> {
        let queue = Queue::open(dir, name).ok()??;
        let (mut holders, mut waiting) = (Vec::new(), Vec::new());
        for Ticket { granted, id, .. } in queue.tickets().ok()? {
            if !matches!(queue.seen(&id, here), Seen::Over | Seen::Elsewhere) {
                if granted { &mut holders } else { &mut waiting }.push(id);
            }
        }
        Some(Self { name: name.to_owned(), slots: queue.slots(), holders, waiting })
    }

    /// How many are served before job `id` and itself: 1 is the next. `None` where it doesn't wait here.
    #[must_use]
    pub fn position(&self, id: &str) -> Option<usize> {
        Some(self.waiting.iter().position(|other| other == id)? + 1)
    }

    /// What job `id` waits for, in a line for people.
    #[must_use]
    pub fn outlook(&self, id: &str) -> Option<String> {
        let position = self.position(id)?;
        let slots = match &self.slots {
            Ok(1) => "1 slot".to_owned(),
            Ok(slots) => format!("{slots} slots"),
            Err(why) => format!("1 slot, {}", trouble(why)),
        };
        let behind = match (position.checked_sub(2), &self.holders[..]) {
            (Some(before), _) => format!(": behind {}", self.waiting[before]),
            (None, []) => String::new(),
            (None, [one]) => format!(": behind {one}, which runs"),
            (None, [one, others @ ..]) => format!(": behind {one} and {} more, which run", others.len()),
        };
        Some(format!("{} in queue {} ({slots}){behind}", ordinal(position), self.name))
    }
}

/// What is to be said of a number of slots that can't be read.
pub(super) fn trouble(why: &Unreadable) -> String {
    format!("since its file can't be read: {why}")
}

fn ordinal(n: usize) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_said_as_people_do() {
        let said: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal).into();
        assert_eq!(said, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]);
        let line = |holders: &[&str], waiting: &[&str], slots| Line {
            name: "gpu".into(),
            slots,
            holders: holders.iter().map(|id| (*id).into()).collect(),
            waiting: waiting.iter().map(|id| (*id).into()).collect(),
        };
        let two = line(&["a", "b"], &["c", "d"], Ok(2));
        assert_eq!(two.outlook("c").unwrap(), "1st in queue gpu (2 slots): behind a and 1 more, which run");
        assert_eq!(two.outlook("d").unwrap(), "2nd in queue gpu (2 slots): behind c");
        assert_eq!(two.outlook("a"), None);
        let damaged = line(&["a"], &["c"], Err(Unreadable::Damaged("empty".into())));
        assert_eq!(
            damaged.outlook("c").unwrap(),
            "1st in queue gpu (1 slot, since its file can't be read: damaged: empty): behind a, which runs"
        );
    }
}
