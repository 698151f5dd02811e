use bilevel_core::{
    AutodiffOracle, Data, Descent, Gd, JointSolver, LowerProblem, Objective, Oracle, Point, Rates,
    Sample, Sampler, Samples, Soba, Solver,
};
use bilevel_data::batches::{DenseBatches, SparseBatches, full_batch};
use bilevel_data::libsvm::{parse, read};
use bilevel_data::{Classified, TrainValidation};
use bilevel_problems::{ClassPenalties, ClassWeights, FeaturePenalties, LabelledRows, Values};
use bilevel_program::Vector;
use burn::tensor::Device;
use proptest::prelude::*;

use crate::libsvm::data_dir;

const LEVELS: [Objective; 2] = [Objective::Upper, Objective::Lower];

/// `rows` rows of three features that identify the row and its class.
fn numbered(rows: usize, offset: usize) -> Classified {
    let line = |row: usize| format!("{} 1:{} 3:1\n", row % 3, offset + row + 1);
    let text: String = (0..rows).map(line).collect();
    parse(text.as_bytes(), None).unwrap().classify(&[0.0, 1.0, 2.0]).unwrap()
}

fn parts(train: usize, validation: usize) -> TrainValidation {
    TrainValidation { train: numbered(train, 0), validation: numbered(validation, 9000) }
}

/// The inputs and classes of a batch.
fn read_out(batch: &LabelledRows) -> (Vec<f32>, Vec<i64>) {
    let classes = batch.classes.to_data().iter::<i64>().collect();
    (batch.inputs.to_data().try_to_vec().unwrap(), classes)
}

proptest! {
    #[test]
    fn a_split_is_disjoint_complete_and_fixed_by_its_seed(
        rows in 2_usize..60,
        validation in 1_usize..60,
        seed: u64,
    ) {
        let set = numbered(rows, 0);
        let Ok(parts) = set.split(validation, seed) else {
            prop_assert!(validation >= rows);
            return Ok(());
        };
        prop_assert_eq!(parts.validation.rows().rows(), validation);
        let of = |part: &Classified| -> Vec<_> {
            let number = |row| part.rows().row(row).1[0] as usize;
            (0..part.rows().rows()).map(|row| (number(row), part.classes()[row])).collect()
        };
        let mut all = [of(&parts.train), of(&parts.validation)].concat();
        all.sort_unstable();
        prop_assert!(all.into_iter().eq((0..rows).map(|row| (row + 1, row as u32 % 3))));
        prop_assert_eq!(set.split(validation, seed).unwrap(), parts);
    }

    #[test]
    fn batches_of_a_level_are_a_partition_of_its_rows(
        train in 1_usize..50,
        validation in 1_usize..50,
        size in 1_usize..60,
        seed: u64,
        turn in 0..u64::MAX / 100,
    ) {
        let parts = parts(train, validation);
        let dense = DenseBatches::new(&parts, size, seed, &Device::flex()).unwrap();
        let sparse = SparseBatches::new(parts, size, seed, Device::flex()).unwrap();
        for (objective, rows, offset) in [(Objective::Lower, train, 0), (Objective::Upper, validation, 9000)] {
            let batches = sparse.batches(objective);
            prop_assert_eq!(batches, rows.div_ceil(size));
            prop_assert_eq!(dense.batches(objective), batches);
            let mut seen = Vec::new();
            for i in 0..batches as u64 {
                let batch = sparse.batch(objective, Sample(i));
                let [n, features] = batch.inputs.dims();
                prop_assert_eq!(features, 3);
                prop_assert!(n == rows / batches || n == rows.div_ceil(batches));
                prop_assert!(n <= size);
                let (inputs, classes) = read_out(&batch);
                for (row, class) in inputs.chunks(3).zip(&classes) {
                    let number = row[0] as usize - 1 - offset;
                    prop_assert_eq!((&row[1..], *class), (&[0.0, 1.0][..], number as i64 % 3));
                    seen.push(number);
                }
                // The same handle, the same batch: of the other source, and any number of rounds later.
                prop_assert_eq!(&read_out(&dense.batch(objective, Sample(i))), &(inputs, classes));
                let later = Sample(i + turn / 50 * batches as u64);
                prop_assert_eq!(read_out(&sparse.batch(objective, later)), read_out(&batch));
            }
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..rows), "a row is missing or twice there");
        }
    }
}

#[test]
fn another_seed_makes_other_batches_and_the_same_split_does_not_move() {
    let of = |seed| {
        let data = SparseBatches::new(parts(40, 40), 10, seed, Device::flex()).unwrap();
        LEVELS.map(|objective| read_out(&data.batch(objective, Sample(0))))
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let numbers = |seed| numbered(40, 0).split(10, seed).unwrap();
    assert_ne!(numbers(1), numbers(2));
}

#[test]
fn the_full_batch_is_all_rows_in_order() {
    let full = full_batch(&parts(4, 2), &Device::flex()).unwrap();
    let (inputs, classes) = read_out(&full.batch(Objective::Lower, Sample(7)));
    assert_eq!(inputs, [1.0, 0.0, 1.0, 2.0, 0.0, 1.0, 3.0, 0.0, 1.0, 4.0, 0.0, 1.0]);
    assert_eq!(classes, [0, 1, 2, 0]);
    assert_eq!(full.batch(Objective::Upper, Sample(0)).inputs.dims(), [2, 3]);
}

#[test]
fn refuses_with_cause_and_cure() {
    let refusal = |parts: TrainValidation, size| {
        let sparse = SparseBatches::new(parts.clone(), size, 0, Device::flex()).unwrap_err();
        let dense = DenseBatches::new(&parts, size, 0, &Device::flex()).unwrap_err();
        assert_eq!(sparse.to_string(), dense.to_string());
        sparse.to_string()
    };
    assert_eq!(
        refusal(parts(3, 3), 0),
        "batches of 0 rows, expected at least 1; ask for larger batches"
    );
    let none = TrainValidation { train: numbered(3, 0), validation: numbered(3, 0).select(&[]) };
    let text = "3 training and 0 validation rows of 3, expected at least 1 each; ask for another number of \
                validation rows";
    assert_eq!(refusal(none, 2), text);
    assert_eq!(numbered(3, 0).split(0, 0).unwrap_err().to_string(), text);
    assert!(numbered(3, 0).split(3, 0).unwrap_err().to_string().starts_with("0 training and 3"));
    let other = parse(&b"5 2:1"[..], None).unwrap().classify(&[5.0]).unwrap();
    assert_eq!(
        refusal(TrainValidation { train: numbered(3, 0), validation: other }, 2),
        "validation rows of 2 features and labels [5.0], training rows of 3 and [0.0, 1.0, 2.0]; read and \
         classify both files alike"
    );
}

/// One descent on one batch of each level: the sources fit the problems.
#[test]
fn problems_descend_on_batches() {
    let two = |seed| {
        let text: String =
            (1..30).map(|i| format!("{} 1:{} 2:1\n", i % 2, i as f32 / 30.0)).collect();
        let set = parse(text.as_bytes(), None).unwrap().classify(&[0.0, 1.0]).unwrap();
        SparseBatches::new(set.split(9, seed).unwrap(), 4, seed, Device::flex()).unwrap()
    };
    let x = Values::new(&[-2.0, -2.0], &Device::flex());
    let w = Values::new(&[0.0, 0.0], &Device::flex());
    let features = AutodiffOracle::new(FeaturePenalties, &x, &w, two(1)).unwrap();
    let weights = ClassWeights::zeros(2, 2, &Device::flex());
    let classes = AutodiffOracle::new(ClassPenalties, &x, &weights, two(1)).unwrap();
    descends(&features, &features.upper_start(), &features.lower_start());
    descends(&classes, &classes.upper_start(), &classes.lower_start());
}

fn descends(oracle: &dyn Oracle, x: &Vector, y: &Vector) {
    let samples = Samples { upper: Sample(3), lower: Sample(5), index: 0 };
    let problem = LowerProblem::new(oracle, x, samples);
    let descent = Descent::new(Gd::new(0.5).unwrap(), 20).unwrap();
    let end = descent.run(&problem, y).unwrap();
    let all_alike = std::f64::consts::LN_2;
    assert!(end.end_loss < end.start_loss && (end.start_loss - all_alike).abs() < 1e-6);
}

#[test]
fn real_ijcnn1() {
    let Some(dir) = data_dir("ijcnn1.gz in libsvm/") else {
        return;
    };
    let set = read(&dir.join("libsvm/ijcnn1.gz"), Some(22)).unwrap();
    let parts = set.classify(&[-1.0, 1.0]).unwrap().split(9990, 0).unwrap();
    let data = DenseBatches::new(&parts, 64, 0, &Device::flex()).unwrap();
    assert_eq!(LEVELS.map(|objective| data.batches(objective)), [157, 625]);
    assert_eq!(data.batch(Objective::Lower, Sample(0)).inputs.dims(), [64, 22]);

    // At w = 0 every loss is log 2, and at another w the mean over equal batches is that of the full batch.
    let full = full_batch(&parts, &Device::flex()).unwrap();
    let x = Values::new(&[0.0; 22], &Device::flex());
    let w = Values::new(&[0.1; 22], &Device::flex());
    let by_batch = AutodiffOracle::new(FeaturePenalties, &x, &w, data).unwrap();
    let whole = AutodiffOracle::new(FeaturePenalties, &x, &w, full).unwrap();
    let value = |oracle: &dyn Oracle, sample| {
        let at = Point { x: &whole.upper_start(), y: &whole.lower_start(), sample };
        oracle.value(Objective::Lower, at).read()
    };
    let mean = (0..625).map(|i| value(&by_batch, Sample(i))).sum::<f64>() / 625.0;
    let expected = value(&whole, Sample(0));
    assert!((mean - expected).abs() < 1e-5, "{mean} over batches, {expected} over rows");
}

/// One penalty for each of 20 classes of 11,314 documents over 130,107 words, by a single loop that uses 64 documents
/// per call and never holds more of them dense.
#[test]
fn real_newsgroups_are_learned_from_batches() {
    let Some(dir) = data_dir("train.counts.libsvm.gz in 20newsgroups/") else {
        return;
    };
    let set = read(&dir.join("20newsgroups/train.counts.libsvm.gz"), None).unwrap().unit_rows();
    let labels = set.distinct_labels();
    let parts = set.classify(&labels).unwrap().split(2000, 0).unwrap();
    let data = SparseBatches::new(parts, 64, 0, Device::flex()).unwrap();
    let [upper, lower] = LEVELS.map(|objective| data.batches(objective));
    assert_eq!([upper, lower], [32, 146]);
    // exp(-9): compared with the mean over documents a penalty of 1 would dominate.
    let x = Values::new(&[-9.0; 20], &Device::flex());
    let w = ClassWeights::zeros(130_107, 20, &Device::flex());
    let oracle = AutodiffOracle::new(ClassPenalties, &x, &w, data).unwrap();
    let rates = Rates::new(1.0, 20.0).unwrap();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let mut solver = JointSolver::new(&oracle, Soba::new(rates), x, y)
        .unwrap()
        .with_sampler(Sampler::epochs(upper, lower, 0).unwrap());
    let losses: Vec<f64> = (0..24).map(|k| solver.step(k).unwrap().upper_loss).collect();
    assert!((losses[0] - 20f64.ln()).abs() < 1e-4, "all classes alike at w = 0");
    let late = losses[20..].iter().sum::<f64>() / 4.0;
    println!("validation loss {:.3} to {late:.3}", losses[0]);
    assert!(late < 0.95 * losses[0], "{losses:?}");
    assert!(solver.x().to_vec().iter().any(|x| *x != -9.0), "penalties have moved");
}
