use bilevel_bench::data::noise::corrupt_labels;
use bilevel_bench::data::{Purpose, stream};
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
