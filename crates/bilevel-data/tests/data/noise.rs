use bilevel_data::noise::{Flips, corrupt_labels, flip, human, uniform};
use bilevel_data::{Purpose, stream};
use proptest::prelude::*;
use rand::Rng;

proptest! {
    #[test]
    fn is_exact_different_in_range_and_fixed_by_its_seed(
        labels in prop::collection::vec(0_u32..7, 0..200),
        fraction in 0.0..=1.0,
        seed: u64,
    ) {
        let noisy = corrupt_labels(&labels, 7, fraction, &mut stream(seed, Purpose::Noise)).unwrap();
        let amount = (fraction * labels.len() as f64).round() as usize;
        prop_assert_eq!(noisy.wrong.iter().filter(|&&wrong| wrong).count(), amount);
        prop_assert_eq!((noisy.labels.len(), noisy.wrong.len()), (labels.len(), labels.len()));
        for ((&noisy, &label), &wrong) in noisy.labels.iter().zip(&labels).zip(&noisy.wrong) {
            prop_assert!(noisy < 7);
            prop_assert_eq!(noisy != label, wrong);
        }
        let again = corrupt_labels(&labels, 7, fraction, &mut stream(seed, Purpose::Noise)).unwrap();
        prop_assert_eq!(again, noisy);
    }
}

/// 20,000 labels of each of 10 classes, those of class c first to last.
fn even() -> Vec<u32> {
    (0..200_000).map(|i| i / 20_000).collect()
}

/// `share[i * 10 + j]`: how often a label of class j has become i.
fn shares(noisy: &[u32], right: &[u32]) -> Vec<f64> {
    let mut shares = vec![0.0; 100];
    for (&noisy, &right) in noisy.iter().zip(right) {
        shares[(noisy * 10 + right) as usize] += 1.0 / 20_000.0;
    }
    shares
}

/// Five standard deviations of a share of 20,000 are below 0.018.
fn assert_near(found: &[f64], expected: &[f64]) {
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let text = format!("class {} to {}: {found}, expected {expected}", at % 10, at / 10);
        assert!((found - expected).abs() < 0.018, "{text}");
    }
}

#[test]
fn uniform_noise_draws_among_all_classes() {
    let right = even();
    let noisy = uniform(&right, 10, 0.4, &mut stream(0, Purpose::Noise)).unwrap();
    let expected: Vec<f64> =
        (0..100).map(|at| 0.04 + if at / 10 == at % 10 { 0.6 } else { 0.0 }).collect();
    assert_near(&shares(&noisy.labels, &right), &expected);
    for ((noisy, right), wrong) in noisy.labels.iter().zip(&right).zip(&noisy.wrong) {
        assert_eq!(noisy != right, *wrong);
    }
    assert_eq!(uniform(&right, 10, 0.4, &mut stream(0, Purpose::Noise)).unwrap(), noisy);
    assert_ne!(uniform(&right, 10, 0.4, &mut stream(1, Purpose::Noise)).unwrap(), noisy);
}

#[test]
fn flips_go_to_the_classes_that_a_class_is_confused_with() {
    let right = even();
    for targets in [1, 2, 9] {
        let rng = &mut stream(targets as u64, Purpose::Noise);
        let flips = Flips::new(10, targets, rng).unwrap();
        for class in 0..10 {
            let mut of = flips.of(class).to_vec();
            of.sort_unstable();
            of.dedup();
            assert_eq!(of.len(), targets);
            assert!(!of.contains(&(class as u32)) && of.iter().all(|&other| other < 10));
        }
        let noisy = flip(&right, &flips, 0.4, rng).unwrap();
        let expected = flips.transition(0.4);
        assert_near(&shares(&noisy.labels, &right), &expected);
        for class in 0..10 {
            let column: f64 = (0..10).map(|to| expected[to * 10 + class]).sum();
            assert!((column - 1.0).abs() < 1e-12);
        }
        let wrong = noisy.wrong.iter().filter(|&&wrong| wrong).count();
        assert!(wrong.abs_diff(80_000) < 1100, "each flip is wrong: {wrong}");
    }
}

#[test]
fn human_labels_are_found_by_their_origin() {
    let noisy = human(&[0, 1, 2, 2, 0], &[3, 0, 4], &[2, 1, 0], 3).unwrap();
    assert_eq!((noisy.labels, noisy.wrong), (vec![2, 0, 0], vec![false, true, false]));
}

#[test]
fn refuses_with_cause_and_cure() {
    let rng = &mut stream(0, Purpose::Noise);
    assert!(uniform(&[0], 2, 1.5, rng).unwrap_err().to_string().starts_with("1.5 of the labels"));
    assert!(uniform(&[0], 1, 0.5, rng).unwrap_err().to_string().starts_with("1 classes"));
    assert!(uniform(&[2], 2, 0.5, rng).unwrap_err().to_string().starts_with("label 2 of sample 0"));
    let text = |targets, rng: &mut _| Flips::new(10, targets, rng).unwrap_err().to_string();
    assert_eq!(text(0, rng), "flips to 0 other classes, expected 1 to 9; two are common");
    assert_eq!(text(10, rng), "flips to 10 other classes, expected 1 to 9; two are common");
    let flips = Flips::new(2, 1, rng).unwrap();
    assert!(
        flip(&[0], &flips, -0.1, rng).unwrap_err().to_string().starts_with("-0.1 of the labels")
    );
    assert_eq!(
        human(&[0, 1], &[2], &[0], 2).unwrap_err().to_string(),
        "2 human labels, none for image 2 (from 0); take those of the whole training set"
    );
    assert!(
        human(&[0, 3], &[0], &[0], 2).unwrap_err().to_string().starts_with("label 3 of sample 1")
    );
}

#[test]
fn wrong_labels_are_uniform_over_the_other_classes() {
    let n = 90_000;
    let noisy = corrupt_labels(&vec![4; n], 10, 1.0, &mut stream(0, Purpose::Noise)).unwrap();
    let mut counts = [0_usize; 10];
    noisy.labels.iter().for_each(|&label| counts[label as usize] += 1);
    assert_eq!(counts[4], 0);
    // Each other class: mean 10000, standard deviation 94.
    let far = |count: &usize| count.abs_diff(10_000) > 5 * 94;
    assert_eq!(counts.iter().filter(|&&count| count > 0).filter(|count| far(count)).count(), 0);
}

#[test]
fn purposes_draw_from_separate_streams() {
    let first = |purpose| stream(3, purpose).random::<u64>();
    assert_ne!(first(Purpose::Split), first(Purpose::Noise));
}
