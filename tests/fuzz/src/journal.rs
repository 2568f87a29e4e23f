//! The journal: whatever the file holds, replay takes it, or says which line is damaged.
//!
//! Of outputs that later lines replaced, replay looks no closer than that they are JSON. Without those later lines
//! it may find damage there.

use pg_migrate::fuzzing::journal::{DamagedLine, Record, Replay, VERSION, is_record, replay};

/// The journal of a real run that was killed, resumed and completed.
const REAL: &[u8] = include_bytes!("../corpus/journal/killed-and-resumed");

/// The input as a journal, and a real journal changed as the input says.
pub fn check(data: &[u8]) {
    holds(data);
    holds(&edited(data));
}

fn holds(text: &[u8]) {
    match replay(text) {
        Ok(whole) => {
            assert!(whole.whole <= text.len() as u64);
            let (kept, torn) = text.split_at(whole.whole as usize);
            assert!(
                torn.strip_suffix(b"\n")
                    .unwrap_or(torn)
                    .iter()
                    .all(|byte| *byte != b'\n')
            );
            assert_eq!(
                kept.iter().filter(|byte| **byte == b'\n').count() as u64,
                whole.records
            );
            means_the_same_written_again(kept, &whole);
            for cut in cuts(text) {
                let part = match replay(&text[..cut]) {
                    Ok(part) => part,
                    Err(damage) => {
                        assert!(!is_whole(text, damage.line), "what a crash leaves replays");
                        continue;
                    }
                };
                assert!(part.records <= whole.records && part.whole <= cut as u64);
                let lost = cut as u64 - part.whole;
                assert!(part.records == whole.records || lost <= longest_line(text));
            }
        }
        Err(DamagedLine { line, why }) => {
            let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
            let line = usize::try_from(line).unwrap();
            assert!((1..=lines.len()).contains(&line));
            assert!(!why.to_string().is_empty());
            // Up to that line it is a journal.
            let before = lines[..line - 1].concat();
            match replay(&before) {
                Ok(replayed) => assert_eq!(replayed.whole, before.len() as u64),
                Err(earlier) => assert!(!is_whole(text, earlier.line), "the first is reported"),
            }
        }
    }
}

fn means_the_same_written_again(kept: &[u8], whole: &Replay) {
    let mut written = Vec::new();
    for line in kept.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Record>(line) {
            // An older format is read, not written.
            Ok(record) if record.v == VERSION => {
                serde_json::to_writer(&mut written, &record).expect("a record can be written");
                written.push(b'\n');
            }
            _ => written.extend(line),
        }
    }
    let again = replay(&written).expect("what the program writes replays");
    assert_eq!(again.records, whole.records);
    assert_eq!(again.state, whole.state);
}

/// Whether the line, 1 for the first, holds a record with all its parts.
fn is_whole(text: &[u8], line: u64) -> bool {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let line = lines.nth(usize::try_from(line).unwrap() - 1);
    line.is_some_and(is_record)
}

/// Where a crash may have torn the text: some places all over it.
fn cuts(text: &[u8]) -> impl Iterator<Item = usize> {
    let step = text.len() / 7 + 1;
    (0..=text.len())
        .step_by(step)
        .chain([text.len().saturating_sub(1)])
}

fn longest_line(text: &[u8]) -> u64 {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.map(<[u8]>::len).max().unwrap_or(0) as u64
}

/// Each three bytes of the script are a change to a line.
fn edited(script: &[u8]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = REAL
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    for change in script.chunks_exact(3) {
        let [what, line, value] = [change[0], change[1], change[2]];
        if lines.is_empty() {
            break;
        }
        let (line, value) = (usize::from(line) % lines.len(), usize::from(value));
        let other = value % lines.len();
        let place = value * lines[line].len() / 256;
        match what % 7 {
            0 => drop(lines.remove(line)),
            1 => lines.insert(other, lines[line].clone()),
            2 => lines.swap(line, other),
            3 => lines[line].truncate(place),
            4 => lines[line]
                .iter_mut()
                .skip(place)
                .take(1)
                .for_each(|byte| *byte ^= 1 << (what >> 5)),
            5 => lines[line].insert(place, what),
            _ => lines.truncate(line + 1),
        }
    }
    lines.concat()
}
