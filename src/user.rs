//! Users by name, from `/etc/passwd`: the C library's look-up would load plug-ins into a static program.

use std::fs;

/// The user's name, or the number where the file has none.
#[must_use]
pub fn name(uid: u32) -> String {
    let passwd = fs::read("/etc/passwd").unwrap_or_default();
    named(&String::from_utf8_lossy(&passwd), uid).unwrap_or_else(|| uid.to_string())
}

fn named(passwd: &str, uid: u32) -> Option<String> {
    let number = uid.to_string();
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&number.as_str()))
        .map(|fields| fields[0].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_name_stays_a_number() {
        assert_eq!(named("root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/:\n", 1000).as_deref(), Some("u"));
        assert_eq!(named("+\nbroken", 0), None);
    }
}
