use bilevel_data::long_tail::long_tail;
use bilevel_data::split::hold_out;
use bilevel_data::{Images, Purpose, stream};
use proptest::prelude::*;

/// Images of one pixel.
fn of(labels: Vec<u32>, classes: usize) -> Images {
    Images::from_bytes("points", vec![0; labels.len()], labels, [1, 1, 1], classes).unwrap()
}

proptest! {
    #[test]
    fn a_class_keeps_what_the_formula_says(
        sizes in prop::collection::vec(0_usize..300, 1..12),
        factor in 1.0..1000.0,
        seed: u64,
    ) {
        prop_assume!(sizes.iter().sum::<usize>() > 0);
        let labels = sizes.iter().zip(0..).flat_map(|(&n, class)| vec![class; n]).collect();
        let set = of(labels, sizes.len());
        let kept = long_tail(&set, factor, &mut stream(seed, Purpose::LongTail)).unwrap();
        prop_assert!(kept.is_sorted_by(|a, b| a < b) && kept.iter().all(|&i| i < set.len()));
        let counts = set.select(&kept).unwrap().class_counts();
        let mu = factor.powf(-1.0 / (sizes.len() as f64 - 1.0).max(1.0));
        for (class, (&count, &n)) in counts.iter().zip(&sizes).enumerate() {
            let exact = n as f64 * mu.powi(class as i32);
            // Not next to a half, where the last bit of the power decides.
            let expected = if exact < 1.0 { n.min(1) as f64 } else { exact };
            prop_assert!((count as f64 - expected).abs() <= 0.5 + 1e-9, "class {class}: {count} of {exact}");
        }
        prop_assert_eq!(long_tail(&set, factor, &mut stream(seed, Purpose::LongTail)).unwrap(), kept);
    }

    #[test]
    fn what_is_held_out_is_balanced_and_the_rest_is_the_rest(
        more in prop::collection::vec(0_usize..20, 1..8),
        per_class in 1_usize..10,
        seed: u64,
    ) {
        prop_assume!(more.iter().sum::<usize>() > 0);
        let labels: Vec<u32> =
            more.iter().zip(0..).flat_map(|(&n, class)| vec![class; n + per_class]).collect();
        let set = of(labels, more.len());
        let (chosen, others) = hold_out(&set, per_class, &mut stream(seed, Purpose::Split)).unwrap();
        prop_assert_eq!(set.select(&chosen).unwrap().class_counts(), vec![per_class; more.len()]);
        let mut all = [chosen, others.clone()].concat();
        all.sort_unstable();
        prop_assert!(all.into_iter().eq(0..set.len()) && others.is_sorted());
    }
}

#[test]
fn the_long_tail_of_cifar() {
    let set = of((0..50_000).map(|i| i % 10).collect(), 10);
    let kept = long_tail(&set, 100.0, &mut stream(0, Purpose::LongTail)).unwrap();
    // 5000, then each 100^(-1/9) = 0.5995 of the one before.
    let counts = [5000, 2997, 1797, 1077, 646, 387, 232, 139, 83, 50];
    assert_eq!(set.select(&kept).unwrap().class_counts(), counts);
    assert_ne!(long_tail(&set, 100.0, &mut stream(1, Purpose::LongTail)).unwrap(), kept);
    let all: Vec<usize> = (0..50_000).collect();
    assert_eq!(long_tail(&set, 1.0, &mut stream(0, Purpose::LongTail)).unwrap(), all);
}

#[test]
fn refuses_with_cause_and_cure() {
    let set = of(vec![0, 0, 0, 1, 1], 2);
    let rng = &mut stream(0, Purpose::Split);
    for (factor, found) in [(0.5, "0.5"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        assert_eq!(
            long_tail(&set, factor, rng).unwrap_err().to_string(),
            format!(
                "an imbalance factor of {found}, expected a finite number of at least 1; 100 is common"
            )
        );
    }
    let text = hold_out(&set, 3, rng).unwrap_err().to_string();
    assert!(
        text.starts_with("class 1 has 2 samples") && text.ends_with("; ask for smaller parts"),
        "{text}"
    );
    assert!(
        hold_out(&set, 0, rng).unwrap_err().to_string().starts_with("5 training, 0 validation")
    );
    let even = of(vec![0, 1], 2);
    assert!(
        hold_out(&even, 1, rng).unwrap_err().to_string().starts_with("0 training, 2 validation")
    );
}
