use bilevel_data::split::{SplitError, SplitSizes, at_most, split};
use bilevel_data::{DataError, Dataset, Purpose, digits, stream};
use proptest::prelude::*;

fn labelled(labels: Vec<u32>, classes: usize) -> Dataset {
    Dataset::new("labels", vec![0.0; labels.len()], labels, [1, 1, 1], classes).unwrap()
}

fn refusal(labels: &[u32], classes: usize, train: usize, validation: usize) -> String {
    let set = labelled(labels.to_vec(), classes);
    split(&set, SplitSizes { train, validation }, 0).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn is_disjoint_complete_balanced_and_fixed_by_its_seed(
        labels in prop::collection::vec(0_u32..5, 1..200),
        train in 1_usize..40,
        validation in 1_usize..40,
        seed: u64,
    ) {
        let set = labelled(labels, 5);
        let sizes = SplitSizes { train, validation };
        let counts = set.class_counts();
        let share = |size: usize, class: usize| size / 5 + usize::from(class < size % 5);
        let enough = (0..5).all(|class| counts[class] >= share(train, class) + share(validation, class));
        match split(&set, sizes, seed) {
            Ok(parts) => {
                prop_assert!(enough);
                prop_assert_eq!((parts.train.len(), parts.validation.len()), (train, validation));
                let mut all = [&parts.train[..], &parts.validation, &parts.test].concat();
                all.sort_unstable();
                prop_assert!(all.into_iter().eq(0..set.len()), "a sample is missing or twice there");
                for (part, size) in [(&parts.train, train), (&parts.validation, validation)] {
                    let balance = set.select(part).unwrap().class_counts();
                    prop_assert!((0..5).all(|class| balance[class] == share(size, class)));
                }
                prop_assert_eq!(split(&set, sizes, seed).unwrap(), parts);
            }
            Err(SplitError::Class { .. }) => prop_assert!(!enough),
            Err(_) => prop_assert!(train + validation >= set.len()),
        }
    }
}

#[test]
fn of_the_digits_never_changes() {
    let set = digits::load().unwrap();
    let parts = split(&set, SplitSizes::DIGITS, 0).unwrap();
    // Written down once: another version of a random crate must not silently change every published run.
    assert_eq!(parts.train[..5], [239, 1024, 767, 1226, 1229]);
    assert_ne!(parts, split(&set, SplitSizes::DIGITS, 1).unwrap());
    let parts = parts.apply(&set).unwrap();
    assert_eq!(parts.train.class_counts(), [50; 10]);
    assert_eq!(parts.validation.class_counts(), [50; 10]);
    assert_eq!(parts.test.len(), 797);
}

#[test]
fn a_part_is_drawn_without_repetition() {
    let all: Vec<f32> = (0..40_u8).map(f32::from).collect();
    let pixels = all.iter().map(|number| number / 64.0).collect();
    let set = Dataset::new("numbered", pixels, vec![0; 40], [1, 1, 1], 1).unwrap();
    let draw = |most, seed| at_most(set.clone(), most, &mut stream(seed, Purpose::Split));
    let drawn = |most, seed| draw(most, seed).unwrap();
    assert_eq!((drawn(40, 3), drawn(41, 3)), (set.clone(), set.clone()));
    let numbers = |part: &Dataset| -> Vec<f32> {
        (0..part.len()).map(|at| 64.0 * part.image(at)[0]).collect()
    };
    let part = numbers(&drawn(39, 3));
    assert_eq!(part, numbers(&drawn(39, 3)));
    assert_ne!(part, numbers(&drawn(39, 4)));
    assert_ne!(part[..], all[..39]);
    let absent = all.iter().filter(|number| !part.contains(number));
    assert_eq!(
        (part.len(), absent.count()),
        (39, 1),
        "one is left out, and no other is there twice"
    );
    // Written down once, as below.
    assert_eq!(numbers(&drawn(5, 3)), [24.0, 26.0, 2.0, 8.0, 30.0]);
    assert!(matches!(draw(0, 3), Err(DataError::Empty { .. })));
}

#[test]
fn refuses_with_cause_and_cure() {
    assert_eq!(
        refusal(&[0, 0, 0, 1], 2, 2, 2),
        "class 1 has 1 samples, a split of 2 training and 2 validation samples over 2 classes needs 2 of \
         it; ask for smaller parts"
    );
    assert_eq!(
        refusal(&[0, 0, 1, 1], 2, 2, 2),
        "2 training, 2 validation and 0 test samples, expected at least 1 each; ask for other sizes"
    );
    assert_eq!(
        refusal(&[0, 0, 1, 1], 2, 0, 2),
        "0 training, 2 validation and 2 test samples, expected at least 1 each; ask for other sizes"
    );
    let text = refusal(&[0, 1], 2, usize::MAX, usize::MAX);
    assert!(text.starts_with("class 0 has 1 samples"), "{text}");
}
