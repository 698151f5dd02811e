use bilevel_core::{Data, Objective, Sample, Sampler};
use bilevel_data::Images;
use bilevel_data::augment::{Augmentation, Normalisation};
use bilevel_data::loader::{ImageBatch, ImageBatches, Settings};
use burn::tensor::Device;
use proptest::prelude::*;

const LEVELS: [Objective; 2] = [Objective::Upper, Objective::Lower];

/// Images of 2x2 that identify themselves, by their label too.
fn numbered(images: usize) -> Images {
    let pixels = (0..images).flat_map(|i| [i as u8, 100, 150, 200]).collect();
    let labels = (0..images as u32).collect();
    Images::from_bytes("numbered", pixels, labels, [1, 2, 2], 256).unwrap()
}

fn settings(size: usize, augmentation: Augmentation, seed: u64) -> Settings {
    Settings { size, augmentation, normalisation: Normalisation::of(&numbered(256)), seed }
}

fn loader(upper: usize, lower: usize, settings: Settings) -> ImageBatches {
    ImageBatches::new(numbered(upper), numbered(lower), settings, Device::flex()).unwrap()
}

fn read_out(batch: &ImageBatch) -> (Vec<f32>, Vec<i64>) {
    let labels = batch.labels.to_data().iter::<i64>().collect();
    (batch.images.to_data().try_to_vec().unwrap(), labels)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_pass_sees_each_image_once(
        upper in 1_usize..40,
        lower in 1_usize..40,
        size in 1_usize..50,
        pass in 0_u64..1000,
        seed: u64,
    ) {
        let data = loader(upper, lower, settings(size, Augmentation::NONE, seed));
        for (objective, images) in [(Objective::Upper, upper), (Objective::Lower, lower)] {
            let batches = data.batches(objective);
            prop_assert_eq!(batches, images.div_ceil(size));
            let mut seen = Vec::new();
            for i in 0..batches as u64 {
                let batch = data.batch(objective, Sample(pass * batches as u64 + i));
                let [n, channels, height, width] = batch.images.dims();
                prop_assert_eq!([channels, height, width], [1, 2, 2]);
                prop_assert!(n <= size && (n == images / batches || n == images.div_ceil(batches)));
                let (pixels, labels) = read_out(&batch);
                for (image, label) in pixels.chunks(4).zip(&labels) {
                    let mut expected = Vec::new();
                    let bytes = [*label as u8, 100, 150, 200];
                    Normalisation::of(&numbered(256)).apply(&bytes, 4, &mut expected);
                    prop_assert_eq!(image, &expected[..], "the image of its label");
                }
                seen.extend(labels);
            }
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..images as i64), "an image is missing or twice there");
        }
    }

    #[test]
    fn a_handle_is_the_same_batch_whatever_was_asked_before_and_whoever_makes_it(
        asked in prop::collection::vec((0_u64..40, any::<bool>()), 1..25),
        ahead in 0_usize..4,
        seed: u64,
    ) {
        let settings = settings(3, Augmentation { pad: 1, reflect: true }, seed);
        let data = loader(7, 10, settings.clone()).with_ahead(ahead);
        for (start, upper) in asked {
            let objective = if upper { Objective::Upper } else { Objective::Lower };
            // Runs, for which a thread takes over, and jumps, at which it is stopped.
            for sample in (start..start + 4).map(Sample) {
                let fresh = loader(7, 10, settings.clone()).with_ahead(0);
                prop_assert_eq!(read_out(&data.batch(objective, sample)), read_out(&fresh.batch(objective, sample)));
            }
        }
    }
}

#[test]
fn passes_seeds_levels_and_variants_differ() {
    let variants = Augmentation { pad: 1, reflect: true };
    let of = |seed, augmentation, objective, sample| {
        read_out(&loader(50, 50, settings(50, augmentation, seed)).batch(objective, Sample(sample)))
    };
    let first = of(0, variants, Objective::Lower, 0);
    assert_eq!(of(0, variants, Objective::Lower, 0), first);
    let labels = |found: (Vec<f32>, Vec<i64>)| found.1;
    assert_ne!(labels(of(0, variants, Objective::Lower, 1)), labels(first.clone()));
    assert_ne!(labels(of(1, variants, Objective::Lower, 0)), labels(first.clone()));
    assert_ne!(labels(of(0, variants, Objective::Upper, 0)), labels(first.clone()));
    // Shuffling does not depend on the augmentation, and an image has another variant in another pass.
    assert_eq!(labels(of(0, Augmentation::NONE, Objective::Lower, 0)), labels(first));
    let one = |pass| {
        read_out(&loader(1, 1, settings(1, variants, 0)).batch(Objective::Lower, Sample(pass))).0
    };
    assert!((1..20).any(|pass| one(pass) != one(0)));
}

#[test]
fn whole_runs_agree_with_and_without_a_thread() {
    let run = |ahead| {
        let data =
            loader(9, 23, settings(4, Augmentation { pad: 1, reflect: true }, 5)).with_ahead(ahead);
        let [upper, lower] = LEVELS.map(|objective| data.batches(objective));
        let mut sampler = Sampler::in_order(upper, lower).unwrap();
        let draw = |sampler: &mut Sampler| {
            LEVELS.map(|objective| read_out(&data.batch(objective, sampler.draw(objective))))
        };
        (0..40).map(|_| draw(&mut sampler)).collect::<Vec<_>>()
    };
    assert!(run(0) == run(1) && run(0) == run(3));
}

#[test]
fn many_threads_may_ask() {
    let data = loader(9, 23, settings(4, Augmentation { pad: 1, reflect: true }, 5));
    let alone = loader(9, 23, settings(4, Augmentation { pad: 1, reflect: true }, 5)).with_ahead(0);
    let expected: Vec<_> =
        (0..30).map(|i| read_out(&alone.batch(Objective::Lower, Sample(i)))).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (i, expected) in (0..30).zip(&expected) {
                    assert_eq!(&read_out(&data.batch(Objective::Lower, Sample(i))), expected);
                }
            });
        }
    });
}

#[test]
fn refuses_with_cause_and_cure() {
    let refusal = |upper, lower, size| {
        let settings = settings(size, Augmentation::NONE, 0);
        ImageBatches::new(upper, lower, settings, Device::flex()).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(numbered(3), numbered(3), 0),
        "batches of 0 rows, expected at least 1; ask for larger batches"
    );
    let tall = Images::from_bytes("tall", vec![0; 2], vec![0], [1, 2, 1], 1).unwrap();
    assert!(refusal(tall, numbered(3), 2).starts_with("tall: cannot join images of [1, 2, 1] to"));
}
