//! The disk under the journal fails, tears and flips: what is left is a run that continues, or is refused.
//!
//! Of all that a sample is tried here; everything in the nightly tests, which README names.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::Path;

use lockstep::account::Account;
use lockstep::journal::{Disk, FileJournal, History, JournalError, MemoryJournal, Record, decode};
use lockstep_tests::{Bench, Ended};

/// How the disk fails, once and for all.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It is full.
    Full,
    /// It is full in the middle of what is written.
    HalfFull,
    /// It is broken in the middle of what is written, and nothing can be cut any more.
    HalfBroken,
    /// What was written may not be there.
    Sync,
    /// The same, and nothing can be cut any more.
    SyncAndCut,
    /// None: it only writes a few bytes at a time.
    Slow,
}

const FAULTS: [Fault; 6] = [
    Fault::Full,
    Fault::HalfFull,
    Fault::HalfBroken,
    Fault::Sync,
    Fault::SyncAndCut,
    Fault::Slow,
];

/// A file on such a disk.
struct Faulty {
    file: File,
    fault: Fault,
    /// Appends until it fails.
    left: usize,
}

impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let failing = self.left == 0;
        match self.fault {
            Fault::Full if failing => Err(ErrorKind::StorageFull.into()),
            Fault::HalfFull | Fault::HalfBroken if failing => {
                // Whole lines and a part of one.
                self.file.write_all(&bytes[..bytes.len() * 2 / 3])?;
                Err(ErrorKind::StorageFull.into())
            }
            Fault::Slow => self.file.write(&bytes[..bytes.len().min(100)]),
            _ => self.file.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }
}

impl Disk for Faulty {
    fn sync(&mut self) -> Result<()> {
        if self.left == 0 && matches!(self.fault, Fault::Sync | Fault::SyncAndCut) {
            return Err(Error::other("the disk is broken"));
        }
        self.left = self.left.saturating_sub(1);
        Ok(())
    }

    fn bytes(&self) -> Result<u64> {
        self.file.bytes()
    }

    fn cut(&mut self, bytes: u64) -> Result<()> {
        match self.fault {
            Fault::HalfBroken | Fault::SyncAndCut => Err(Error::other("the disk is broken")),
            _ => self.file.cut(bytes),
        }
    }
}

/// An update whose disk fails at one of its appends, and that is resumed on a good one. Returns whether it failed there.
fn survives(folder: &Path, fault: Fault, at: usize) -> bool {
    let path = folder.join(format!("{fault:?}-{at}"));
    let file = File::options().append(true).create_new(true).open(&path);
    let faulty = Faulty {
        file: file.unwrap(),
        fault,
        left: at,
    };
    let mut bench = Bench::update(1);
    let ended = bench.run_on(Box::new(FileJournal::on(&path, faulty)));
    let failed = match Ended::from(ended) {
        Ended::Killed => true,
        // Nothing fails there, or the run had ended before.
        Ended::Finish(_) => false,
        Ended::Error(error) => panic!("{fault:?} at {at}: {error}"),
    };
    let text = fs::read_to_string(&path).unwrap();
    if failed {
        let (_, records) = FileJournal::open(&path).unwrap();
        bench.journal = MemoryJournal::with(&fs::read_to_string(&path).unwrap());
        assert_eq!(bench.records().len(), records.len());
        let ended = records
            .last()
            .is_some_and(|(_, last)| matches!(last, Record::End { .. }));
        if !ended {
            bench.resume().done();
        }
    } else {
        decode(text.as_bytes()).unwrap();
    }
    bench.assert_updated();
    failed
}

fn every_append(stride: usize) {
    let folder = tempfile::tempdir().unwrap();
    for fault in FAULTS {
        let mut failed = 0;
        for at in (0..).step_by(stride) {
            if !survives(folder.path(), fault, at) {
                break;
            }
            failed += 1;
        }
        assert_eq!(failed > 2, fault != Fault::Slow, "{fault:?}: {failed}");
    }
}

#[test]
fn a_disk_that_fails_at_any_append_costs_nothing_but_time() {
    every_append(29);
}

#[test]
#[ignore = "takes long: nightly"]
fn a_disk_that_fails_at_every_append_costs_nothing_but_time() {
    every_append(1);
}

/// The journals of a few reads and of a whole update.
fn journals() -> [(Bench, String); 2] {
    let body = r#"
        local seen = parallel(cluster.members, function(m)
            return snap.info { member = m, snap = "microceph" }.revision
        end)
        return seen
    "#;
    [Bench::playing(body, 2), Bench::update(1)].map(|mut bench| {
        let fresh = bench.fresh_copy();
        bench.run().done();
        let text = bench.journal.text();
        (fresh, text)
    })
}

/// A journal that ends anywhere is one of a run that was killed: nothing of it is damaged, and nothing is made up.
fn cut_at(text: &str, at: usize) -> usize {
    let whole = decode(text.as_bytes()).unwrap().records;
    let cut = &text.as_bytes()[..at];
    let decoded = decode(cut).unwrap_or_else(|e| panic!("cut at {at}: {e}"));
    assert!(decoded.whole <= at);
    assert_eq!(
        decoded.records,
        whole[..decoded.records.len()],
        "cut at {at}"
    );
    let groups = decoded.records.len();
    match History::of(decoded.records) {
        Ok(_) => assert!(groups > 0),
        Err(JournalError::Empty) => assert_eq!(groups, 0, "cut at {at}"),
        Err(error) => panic!("cut at {at}: {error}"),
    }
    // Whoever only looks is shown as much.
    let shown = Account::of("x-1", Ok(cut), Ok(b""), false);
    assert_eq!(shown.sound, groups > 0, "cut at {at}: {:?}", shown.troubles);
    groups
}

#[test]
fn a_cut_journal_is_that_of_a_run_killed_there() {
    let [(fresh, small), (_, large)] = journals();
    let result = {
        let mut bench = fresh.fresh_copy();
        bench.run().done()
    };
    let mut resumed = 0;
    for at in 0..=small.len() {
        let before = at.checked_sub(1).map(|before| cut_at(&small, before));
        if Some(cut_at(&small, at)) == before || at == small.len() {
            continue;
        }
        let mut bench = fresh.fresh_copy();
        bench.journal = MemoryJournal::with(&small[..at]);
        if bench
            .records()
            .last()
            .is_none_or(|last| !matches!(last, Record::End { .. }))
        {
            assert_eq!(bench.resume().done(), result, "cut at {at}");
            resumed += 1;
        }
    }
    assert!(resumed >= 4, "{resumed}");
    let ends = large.match_indices('\n').flat_map(|(at, _)| [at, at + 1]);
    for at in (0..large.len()).step_by(997).chain(ends.step_by(7)) {
        cut_at(&large, at);
    }
}

/// A flipped bit is noticed, wherever it is.
fn flipped(text: &str, bit: usize) {
    let mut bytes = text.as_bytes().to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    let refused = matches!(decode(&bytes), Err(JournalError::Damaged { .. }));
    assert!(refused, "bit {} of byte {}", bit % 8, bit / 8);
}

#[test]
fn a_flipped_bit_is_refused_wherever_it_is() {
    let [(_, small), (_, large)] = journals();
    (0..small.len() * 8)
        .step_by(5)
        .for_each(|bit| flipped(&small, bit));
    (0..8).for_each(|bit| flipped(&small, (small.len() - 1) * 8 + bit));
    (0..large.len() * 8)
        .step_by(8_009)
        .for_each(|bit| flipped(&large, bit));
}

#[test]
#[ignore = "takes long: nightly"]
fn every_cut_and_every_97th_flip_of_a_whole_update_is_noticed() {
    let [_, (_, large)] = journals();
    for at in (0..=large.len()).step_by(13) {
        cut_at(&large, at);
    }
    (0..large.len() * 8)
        .step_by(97)
        .for_each(|bit| flipped(&large, bit));
}
