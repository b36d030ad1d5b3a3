//! Names and ids: what may stand in a file name, and what a file name says.

use std::ffi::OsStr;

use crate::text::shown;

/// The longest name, in bytes: with stamp, suffix and extension it stays below the 255 of a file name.
pub const MAX_NAME: usize = 200;

fn allowed(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Checks a job's, a queue's or a tag's name: 1 to 200 bytes of letters and digits of any script, `.`, `_` and `-`,
/// not starting with `.` or `-`.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("'{}' is no job name: {why}", shown(name)));
    match name.chars().next() {
        None => wrong("it is empty"),
        Some('.' | '-') => wrong("it starts with '.' or '-'"),
        _ if name.len() > MAX_NAME => wrong("it is longer than 200 bytes"),
        _ if !name.chars().all(allowed) => wrong("only letters, digits, '.', '_' and '-' may stand in it"),
        _ => Ok(()),
    }
}

/// The name of a job whose user gave none: its command's base name, made to fit.
#[must_use]
pub fn base_name(command: &OsStr) -> String {
    let base = command.to_string_lossy();
    resembling(base.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default())
}

/// The name that resembles this text most.
#[must_use]
pub fn resembling(text: &str) -> String {
    let mut name: String = text.trim_start_matches(['.', '-']).chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    while name.len() > MAX_NAME {
        name.pop();
    }
    if name.is_empty() { "job".into() } else { name }
}

/// Splits an id into its name, its stamp and its suffix (1 where it has none); `None` for what is no id.
#[must_use]
pub fn parse_id(id: &str) -> Option<(&str, &str, u32)> {
    let (head, last) = id.rsplit_once('_')?;
    if let Some(name) = stamped(id) {
        return Some((name, &id[name.len() + 1..], 1));
    }
    let suffix: u32 = last.parse().ok().filter(|n| *n > 1 && !last.starts_with(['0', '+']))?;
    let name = stamped(head)?;
    Some((name, &head[name.len() + 1..], suffix))
}

/// The name before `_YYYYmmdd_HHMMSS`.
fn stamped(id: &str) -> Option<&str> {
    const STAMP: usize = "_YYYYmmdd_HHMMSS".len();
    let at = id.len().checked_sub(STAMP)?;
    let (name, stamp) = id.split_at_checked(at)?;
    let fits = stamp.bytes().enumerate().all(|(i, b)| if i == 0 || i == 9 { b == b'_' } else { b.is_ascii_digit() });
    (fits && check_name(name).is_ok()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_leave_the_directory_or_harm_a_terminal_are_refused() {
        for bad in
            ["", ".", "..", "../x", "-rf", "a/b", "a\nb", "a\u{1b}[31mb", "a b", ".hidden", &"x".repeat(201), "a\u{202e}b", "a*"]
        {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in ["train", "学習", "a.b-c_d", "7", &"x".repeat(200)] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn an_id_says_its_name_stamp_and_suffix() {
        assert_eq!(parse_id("train_20251129_120300"), Some(("train", "20251129_120300", 1)));
        assert_eq!(parse_id("a_b_20251129_120300_12"), Some(("a_b", "20251129_120300", 12)));
        assert_eq!(parse_id("x_20251129_120300_20251129_120301"), Some(("x_20251129_120300", "20251129_120301", 1)));
        for none in
            ["train", "_20251129_120300", "train_20251129_12030", "train_20251129_120300_1", "train_20251129_120300_02", "é"]
        {
            assert_eq!(parse_id(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_command_has_a_name(command in "\\PC{0,300}") {
            prop_assert!(check_name(&base_name(OsStr::new(&command))).is_ok());
        }

        #[test]
        fn an_id_reads_back(name in "[a-zé][a-z0-9._-]{0,20}", suffix in 1u32..1000) {
            prop_assume!(parse_id(&name).is_none());
            let id = if suffix == 1 { format!("{name}_20251129_120300") } else { format!("{name}_20251129_120300_{suffix}") };
            prop_assert_eq!(parse_id(&id), Some((name.as_str(), "20251129_120300", suffix)));
        }
    }
}
