//! A ticket: a file whose name says it all, so that a look at the folder is a look at the line.
//!
//! `queued.ARRIVAL.PRIORITY.ID` waits for a slot, `granted.ARRIVAL.PRIORITY.ID` has one. The one becomes the other by a
//! rename.

use std::cmp::Reverse;

use crate::record::parse_id;

/// A job's place in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// It has its slot.
    pub(super) granted: bool,
    /// Its number among those that came to this queue.
    pub(super) arrival: u32,
    /// Higher ones are served first.
    pub(super) priority: i32,
    /// Whose it is.
    pub(super) id: String,
}

impl Ticket {
    /// The file's name.
    pub(super) fn name(&self) -> String {
        let standing = if self.granted { "granted" } else { "queued" };
        format!("{standing}.{}.{}.{}", self.arrival, self.priority, self.id)
    }

    /// What a name in the folder says; `None` for any other file.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.splitn(4, '.');
        let granted = match parts.next()? {
            "granted" => true,
            "queued" => false,
            _ => return None,
        };
        let (arrival, priority, id) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        parse_id(id)?;
        let ticket = Self { granted, arrival, priority, id: id.to_owned() };
        (ticket.name() == name).then_some(ticket)
    }

    /// Who has a slot stands before all who want one; those by priority, then by arrival.
    pub(super) fn rank(&self) -> (bool, Reverse<i32>, u32, &str) {
        (!self.granted, Reverse(self.priority), self.arrival, &self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_nothing_else_is_a_ticket() {
        for name in ["queued.1.0.a_20251129_120300", "granted.4294967295.-1000.a.b-c_20251129_120300_2"] {
            assert_eq!(Ticket::parse(name).unwrap().name(), name);
        }
        for other in [
            "slots.json",
            ".slots.json.17",
            "queued.1.0.",
            "queued.1.0.../../a_20251129_120300",
            "queued.01.0.a_20251129_120300",
            "queued.4294967296.0.a_20251129_120300",
            "queued.1.a_20251129_120300",
            "Queued.1.0.a_20251129_120300",
        ] {
            assert_eq!(Ticket::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_longest_name_of_a_job_makes_a_file_name() {
        let id = format!("{}_20251129_120300_100000", "x".repeat(crate::record::MAX_NAME));
        let ticket = Ticket { granted: true, arrival: u32::MAX, priority: -1000, id };
        assert!(ticket.name().len() <= 255);
    }

    #[test]
    fn holders_come_first_then_priority_then_arrival() {
        let names = ["queued.2.0.a", "queued.1.-1.b", "granted.9.-5.c", "queued.3.7.d", "queued.1.0.e"];
        let mut tickets: Vec<Ticket> =
            names.iter().map(|name| Ticket::parse(&format!("{name}_20251129_120300")).unwrap()).collect();
        tickets.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let order: Vec<&str> = tickets.iter().map(|ticket| &ticket.id[..1]).collect();
        assert_eq!(order, ["c", "d", "e", "a", "b"]);
    }
}
