//! Users by name, and their homes, from `/etc/passwd`: the C library's look-up would load plug-ins into a static program.

use std::fs;
use std::path::PathBuf;

/// The user's name, or the number where the file has none.
#[must_use]
pub fn name(uid: u32) -> String {
    field(&passwd(), uid, 0).unwrap_or_else(|| uid.to_string())
}

/// The user's home directory, where the file names one.
#[must_use]
pub fn home(uid: u32) -> Option<PathBuf> {
    field(&passwd(), uid, 5).map(PathBuf::from).filter(|home| home.is_absolute())
}

fn passwd() -> String {
    String::from_utf8_lossy(&fs::read("/etc/passwd").unwrap_or_default()).into_owned()
}

fn field(passwd: &str, uid: u32, index: usize) -> Option<String> {
    let number = uid.to_string();
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&number.as_str()))
        .and_then(|fields| fields.get(index).map(|&field| field.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_name_stays_a_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:\n";
        assert_eq!((field(passwd, 1000, 0).as_deref(), field(passwd, 1000, 5).as_deref()), (Some("u"), Some("/home/u")));
        assert_eq!(field("+\nbroken", 0, 0), None);
    }
}
