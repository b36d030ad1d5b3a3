//! Random stocks, random damage, random policies, the real program: what must always hold of the directory afterwards.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::make::{age, everything, names, rotate, tensors};
use crate::support::scratch;

/// Forms of names: two series of directories, one of files, and names that are nobody's.
const FORMS: [&str; 5] = ["checkpoint-N", "step_N", "model_N.safetensors", "checkpoint-N-old", "notes-N.txt"];

#[derive(Clone, Debug)]
struct Made {
    form: usize,
    number: u64,
    age: u64,
    damage: u8,
}

fn any_made() -> impl Strategy<Value = Made> {
    let damage = prop_oneof![3 => Just(0_u8), 1 => 1..4_u8];
    (0..5_usize, 1..30_u64, 1..2000_u64, damage).prop_map(|(form, number, age, damage)| Made {
        form,
        number,
        age: age * 10,
        damage,
    })
}

fn any_options() -> impl Strategy<Value = Vec<String>> {
    let rules = [
        (1..4_u64).prop_map(|n| format!("--keep={n}")).boxed(),
        (1..6_u64).prop_map(|n| format!("--keep-every={n}")).boxed(),
        (1..20_000_u64).prop_map(|n| format!("--keep-within={n}s")).boxed(),
        (1..60_000_u64).prop_map(|n| format!("--max-size={n}")).boxed(),
        Just("--keep-hourly=2".to_owned()).boxed(),
    ];
    let switch = |name: &str| proptest::option::weighted(0.4, Just(name.to_owned()));
    let rules = proptest::collection::vec(proptest::strategy::Union::new(rules), 1..3);
    (
        rules,
        switch("--drop-broken"),
        prop_oneof![Just(None), Just(Some("--order=number".to_owned())), Just(Some("--order=time".to_owned()))],
    )
        .prop_map(|(mut rules, drop, order)| {
            // One option of a kind.
            rules.sort_by_key(|rule| rule.split('=').next().map(str::to_owned));
            rules.dedup_by_key(|rule| rule.split('=').next().map(str::to_owned));
            rules.into_iter().chain(drop).chain(order).collect()
        })
}

fn make(dir: &Path, made: &Made) -> String {
    let name = FORMS[made.form].replace('N', &made.number.to_string());
    let whole = tensors(2000, 5);
    let content = match made.damage {
        0 => whole,
        1 => whole[..whole.len() - 1].to_vec(),
        2 => Vec::new(),
        _ => b"<!DOCTYPE html><html></html>".to_vec(),
    };
    let path = dir.join(&name);
    let file = if FORMS[made.form].contains('.') {
        path.clone()
    } else {
        fs::create_dir(&path).unwrap();
        path.join("model.safetensors")
    };
    fs::write(&file, content).unwrap();
    age(&file, made.age);
    age(&path, made.age);
    name
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rules 2, 3, 4, 9 and 10.
    #[test]
    fn no_policy_breaks_the_rules(made in proptest::collection::vec(any_made(), 0..14), options in any_options()) {
        let scratch = scratch();
        let dir = scratch.path();
        let mut stock: Vec<(String, Made)> = Vec::new();
        for made in made {
            if !stock.iter().any(|(_, other)| (other.form, other.number) == (made.form, made.number)) {
                stock.push((make(dir, &made), made));
            }
        }
        let before = everything(dir);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let ran = rotate(dir, &options).run();
        prop_assert!(matches!(ran.code, Some(0 | 1)), "{:?}", ran);
        let left = names(dir);
        let stands = |name: &String| left.contains(name);
        let has = |option: &str| options.contains(&option);
        let wanted = options.iter().find_map(|option| option.strip_prefix("--keep=")?.parse().ok()).unwrap_or(1_usize);
        for form in 0..3 {
            let mut good: Vec<&(String, Made)> = stock.iter().filter(|(_, made)| made.form == form && made.damage == 0).collect();
            // Newest first, by what was asked for.
            good.sort_by_key(|(_, made)| if has("--order=time") { (made.age, u64::MAX - made.number) } else { (u64::MAX - made.number, 0) });
            prop_assert!(good.iter().take(wanted).all(|(name, _)| stands(name)), "{:?}: {:?} of {:?}", options, left, stock);
            for (place, (name, made)) in good.iter().enumerate().filter(|(_, (name, _))| !stands(name)) {
                let newer_by_number = good.iter().filter(|(_, other)| other.number > made.number);
                let contradicted = newer_by_number.clone().any(|(_, other)| other.age > made.age);
                prop_assert!(place >= wanted);
                prop_assert!(!contradicted || has("--order=number") || has("--order=time"), "{} went against the clock", name);
            }
            for (name, made) in stock.iter().filter(|(name, made)| made.form == form && made.damage > 0 && !stands(name)) {
                let covered = good.iter().any(|(newer, other)| stands(newer) && if has("--order=time") { other.age <= made.age } else { other.number > made.number });
                prop_assert!(has("--drop-broken") && covered, "{} was broken and went", name);
            }
        }
        prop_assert!(stock.iter().filter(|(_, made)| made.form >= 3).all(|(name, _)| stands(name)), "a name that is nobody's went");
        // What stands is byte for byte what it was.
        let own = |path: &Path| path.components().any(|part| part.as_os_str().to_string_lossy().starts_with(".ckpt-rotate."));
        prop_assert!(everything(dir).iter().filter(|(path, _)| !own(path)).all(|entry| before.contains(entry)));
        // Wrong values after all that still touch nothing.
        rotate(dir, &["--keep=0"]).fails(2, &[]);
        prop_assert_eq!(names(dir), left);
    }
}
