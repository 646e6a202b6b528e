//! Texts: arbitrary ones, and texts that are nearly right.

use proptest::prelude::*;

/// One change to a text.
#[derive(Debug, Clone)]
enum Change {
    Replace(char),
    Insert(char),
    Remove,
    Cut,
    Double,
}

/// Characters with a meaning for a parser, and unusual characters.
fn character() -> impl Strategy<Value = char> {
    prop_oneof![
        4 => prop::sample::select("0123456789abcdefghimnorsuxyAFSU_-+., :;{}[]\"\\/".chars().collect::<Vec<_>>()),
        1 => prop::sample::select("\0\n\t\u{feff}\u{a0}\u{661}\u{ff11}µμäéß中🦀\u{301}".chars().collect::<Vec<_>>()),
        1 => any::<char>(),
    ]
}

fn change() -> impl Strategy<Value = (prop::sample::Index, Change)> {
    let change = prop_oneof![
        character().prop_map(Change::Replace),
        character().prop_map(Change::Insert),
        Just(Change::Remove),
        Just(Change::Cut),
        Just(Change::Double),
    ];
    (any::<prop::sample::Index>(), change)
}

fn changed(text: &str, at: prop::sample::Index, change: Change) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let place = at.index(characters.len() + 1);
    match change {
        Change::Insert(new) => characters.insert(place, new),
        Change::Cut => characters.truncate(place),
        Change::Double => characters.extend_from_within(place..),
        Change::Replace(new) => {
            if let Some(character) = characters.get_mut(place) {
                *character = new;
            }
        }
        Change::Remove => {
            if place < characters.len() {
                characters.remove(place);
            }
        }
    }
    characters.into_iter().collect()
}

/// Right texts with up to three changes.
pub(crate) fn nearly(right: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (right, prop::collection::vec(change(), 0..=3)).prop_map(|(text, changes)| {
        changes
            .into_iter()
            .fold(text, |text, (at, change)| changed(&text, at, change))
    })
}

/// Any text, also empty and long ones.
pub(crate) fn arbitrary() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<String>(),
        prop::collection::vec(character(), 0..40).prop_map(|characters| characters.into_iter().collect()),
        (character(), 1..20_000_usize).prop_map(|(character, times)| character.to_string().repeat(times)),
    ]
}

/// Numbers as texts: around limits of all sizes, and beyond all limits.
pub(crate) fn number() -> impl Strategy<Value = String> {
    let near = |limit: i128| (limit - 2..=limit + 2).prop_map(|number| number.to_string());
    prop_oneof![
        near(0),
        near(i128::from(i32::MAX)),
        near(i128::from(u32::MAX)),
        near(i128::from(i64::MAX)),
        near(i128::from(u64::MAX)),
        near(1 << 30),
        any::<u64>().prop_map(|number| number.to_string()),
        "[0-9]{1,60}",
        "[+-]?0{0,30}[0-9]{1,4}",
    ]
}

/// The texts of `arbitrary` and `nearly`.
pub(crate) fn arbitrary_or_nearly(right: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop_oneof![1 => arbitrary(), 3 => nearly(right)]
}
