use bilevel_data::augment::{Augmentation, Normalisation};
use bilevel_data::{Images, Purpose, stream_at};
use proptest::prelude::*;

/// Two channels of `height` rows of `width`, each byte telling where it is; none is 0.
fn image(height: usize, width: usize) -> Vec<u8> {
    (0..2 * height * width).map(|at| at as u8 + 1).collect()
}

/// The crop whose top left corner is at row `top` and column `left` of the padded image, by definition.
fn crop(
    image: &[u8],
    [height, width]: [usize; 2],
    pad: usize,
    at: [usize; 2],
    reflect: bool,
) -> Vec<u8> {
    let pixel = |channel: usize, row: usize, column: usize| {
        let inside = (pad..pad + height).contains(&row) && (pad..pad + width).contains(&column);
        let place = || (channel * height + row - pad) * width + column - pad;
        if inside { image[place()] } else { 0 }
    };
    let mut out = Vec::new();
    for channel in 0..2 {
        for row in 0..height {
            for column in 0..width {
                let column = if reflect { width - 1 - column } else { column };
                out.push(pixel(channel, row + at[0], column + at[1]));
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn a_variant_is_one_of_the_crops(
        (height, width) in (1_usize..6, 1_usize..6),
        pad in 0_usize..8,
        reflect: bool,
        seed: u64,
    ) {
        let image = image(height, width);
        let mut found = vec![7];
        let rng = &mut stream_at(seed, Purpose::Augment, [0; 3]);
        Augmentation { pad, reflect }.apply(&image, [2, height, width], rng, &mut found);
        prop_assert_eq!(found.remove(0), 7, "appended");
        let crops = |reflect| {
            let image = &image;
            (0..=2 * pad).flat_map(move |top| (0..=2 * pad).map(move |left| [top, left]))
                .map(move |at| crop(image, [height, width], pad, at, reflect))
        };
        prop_assert!(crops(false).any(|crop| crop == found) || reflect && crops(true).any(|crop| crop == found));
    }
}

#[test]
fn all_crops_and_both_sides_come_up_alike() {
    let (image, shape) = (image(3, 4), [3, 4]);
    let augmentation = Augmentation { pad: 1, reflect: true };
    let mut counts = [0_usize; 18];
    let rng = &mut stream_at(0, Purpose::Augment, [0; 3]);
    for _ in 0..18_000 {
        let mut found = Vec::new();
        augmentation.apply(&image, [2, 3, 4], rng, &mut found);
        let which =
            (0..18).find(|at| found == crop(&image, shape, 1, [at / 3 % 3, at % 3], *at >= 9));
        counts[which.expect("one of the crops")] += 1;
    }
    // 1000 each, within five standard deviations of 31.
    assert!(counts.iter().all(|count| count.abs_diff(1000) < 155), "{counts:?}");
}

#[test]
fn none_changes_nothing() {
    let image = image(3, 5);
    let mut found = Vec::new();
    let rng = &mut stream_at(0, Purpose::Augment, [0; 3]);
    Augmentation::NONE.apply(&image, [2, 3, 5], rng, &mut found);
    assert_eq!(found, image);
}

#[test]
fn draws_of_one_place_are_those_of_that_place_alone() {
    use rand::Rng;
    let first = |seed, purpose, at| stream_at(seed, purpose, at).random::<u64>();
    let here = first(1, Purpose::Augment, [1, 2, 3]);
    assert_eq!(here, first(1, Purpose::Augment, [1, 2, 3]));
    let elsewhere = [
        first(2, Purpose::Augment, [1, 2, 3]),
        first(1, Purpose::Batches, [1, 2, 3]),
        first(1, Purpose::Augment, [0, 2, 3]),
        first(1, Purpose::Augment, [1, 3, 3]),
        first(1, Purpose::Augment, [1, 2, 4]),
    ];
    assert!(!elsewhere.contains(&here));
}

#[test]
fn channels_have_mean_0_and_deviation_1() {
    let images: Vec<u8> = (0..4 * 2 * 9).map(|at| (at * at % 251) as u8).collect();
    let set = Images::from_bytes("set", images, vec![0; 4], [2, 3, 3], 1).unwrap();
    let normalisation = Normalisation::of(&set);
    let mut numbers = Vec::new();
    (0..4).for_each(|i| normalisation.apply(set.image(i), 9, &mut numbers));
    for channel in 0..2 {
        let of: Vec<f64> =
            numbers.chunks(9).skip(channel).step_by(2).flatten().map(|&v| f64::from(v)).collect();
        let mean = of.iter().sum::<f64>() / 36.0;
        let square = of.iter().map(|v| v * v).sum::<f64>() / 36.0;
        assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-6, "{mean}, {square}");
    }
    // A constant channel.
    let flat = Images::from_bytes("flat", vec![9; 6], vec![0], [1, 2, 3], 1).unwrap();
    let mut zeros = Vec::new();
    Normalisation::of(&flat).apply(flat.image(0), 6, &mut zeros);
    assert_eq!(zeros, [0.0; 6]);
}
