use super::*;

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

/// A journal with changes at these seconds, and a mark with this change.
fn standing(changes: &[i64], (number, second): (u64, i64)) -> Standing {
    let mut state = State::default();
    for (change, number) in changes.iter().zip(1..) {
        let at = at(*change);
        state.positions.push_back(Position { number, at });
    }
    let entry = Entry {
        plan: "erp".to_owned(),
        position: Position {
            number,
            at: at(second),
        },
        settings: Vec::new(),
    };
    compare(Some(&entry), &state)
}

#[test]
fn a_journal_may_be_ahead_of_its_mark_and_not_behind_it() {
    assert_eq!(standing(&[10, 20, 30], (3, 30)), Standing::Agrees);
    // Killed between the journal and the mark.
    assert_eq!(standing(&[10, 20, 30], (2, 20)), Standing::Agrees);
    assert_eq!(standing(&[10, 20], (3, 30)), Standing::JournalIsOlder);
    assert_eq!(standing(&[], (3, 30)), Standing::JournalIsOlder);
    // A copy went on by itself.
    assert_eq!(standing(&[10, 20, 31], (3, 30)), Standing::Diverged);
    // Taken, and nothing done yet.
    assert_eq!(standing(&[], (0, 0)), Standing::Agrees);
    assert_eq!(standing(&[10], (0, 0)), Standing::Agrees);
}

#[test]
fn a_mark_that_says_less_than_it_was_given_is_that_of_an_older_target() {
    let mut state = State::default();
    for number in 1..=3 {
        let at = at(10 * i64::try_from(number).unwrap());
        state.positions.push_back(Position { number, at });
    }
    let entry = |number: u64| Entry {
        plan: "erp".to_owned(),
        position: Position {
            number,
            at: at(10 * i64::try_from(number).unwrap()),
        },
        settings: Vec::new(),
    };
    assert_eq!(compare(None, &state), Standing::Agrees);
    state.confirmed = 2;
    assert_eq!(compare(Some(&entry(1)), &state), Standing::TargetIsOlder);
    // The last was not confirmed before a kill.
    assert_eq!(compare(Some(&entry(2)), &state), Standing::Agrees);
    assert_eq!(compare(Some(&entry(0)), &state), Standing::Gone);
    assert_eq!(compare(None, &state), Standing::Gone);
}
