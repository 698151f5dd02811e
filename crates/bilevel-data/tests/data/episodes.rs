//! Episodes, and images read from files.

use std::fs;
use std::io::Write;
use std::path::Path;

use bilevel_core::Data;
use bilevel_core::{Objective, Sample};
use bilevel_data::augment::Augmentation;
use bilevel_data::episodes::{Episodes, Way};
use bilevel_data::{HELD, ImageClasses, Images};
use burn::tensor::Device;
use flate2::Crc;
use flate2::write::ZlibEncoder;
use tempfile::{TempDir, tempdir};

const WAY: Way = Way { way: 3, shot: 2, query: 4 };

/// Six classes of seven images of 2x2, every pixel another number below 256.
fn numbered() -> ImageClasses {
    let pixels: Vec<u8> = (0..6 * 7 * 4).map(|at| at as u8).collect();
    let labels = (0..6 * 7).map(|at| at / 7).collect();
    ImageClasses::new(Images::from_bytes("numbered", pixels, labels, [1, 2, 2], 6).unwrap())
}

fn episodes(classes: ImageClasses) -> Episodes {
    Episodes::new(classes, WAY, [3, 0], Device::flex()).unwrap()
}

/// The images of a level, each as its first pixel, by class.
fn first_pixels(episodes: &Episodes, level: Objective, task: u64) -> Vec<Vec<u32>> {
    let batch = episodes.batch(level, Sample(task));
    let labels: Vec<i64> = batch.labels.into_data().iter::<i64>().collect();
    let pixels: Vec<f32> = batch.images.into_data().iter::<f32>().collect();
    let mut by_class = vec![Vec::new(); WAY.way];
    for (label, image) in labels.iter().zip(pixels.chunks(4)) {
        by_class[*label as usize].push((image[0] * 255.0).round() as u32);
    }
    by_class
}

#[test]
fn a_task_has_images_of_distinct_classes_none_twice() {
    let drawn = episodes(numbered());
    let mut seen = Vec::new();
    for task in 0..50 {
        let [lower, upper] =
            [Objective::Lower, Objective::Upper].map(|level| first_pixels(&drawn, level, task));
        let mut classes = Vec::new();
        for (learn, judge) in lower.iter().zip(&upper) {
            assert_eq!((learn.len(), judge.len()), (WAY.shot, WAY.query));
            let mut all = [learn.clone(), judge.clone()].concat();
            let class = all[0] / 28;
            assert!(all.iter().all(|pixel| pixel / 28 == class), "{all:?}");
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), WAY.shot + WAY.query);
            classes.push(class);
        }
        seen.push(classes.clone());
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), WAY.way);
        assert_eq!(first_pixels(&drawn, Objective::Lower, task), lower, "asked for again");
    }
    assert!(seen.iter().any(|classes| !classes.is_sorted()), "classes come in any order");
    let other = Episodes::new(numbered(), WAY, [3, 1], Device::flex()).unwrap();
    let part =
        |of: &Episodes| (0..9).map(|task| first_pixels(of, Objective::Lower, task)).collect();
    let (first, second): (Vec<_>, Vec<_>) = (part(&drawn), part(&other));
    assert_ne!(first, second, "another part has other tasks");
}

#[test]
fn augmented_tasks_have_variants_of_the_same_images() {
    let plain = episodes(numbered());
    let reflected = Augmentation { pad: 0, reflect: true };
    let varied = episodes(numbered()).with_augmentation(reflected);
    let images = |of: &Episodes, task| -> Vec<Vec<f32>> {
        let both = [Objective::Lower, Objective::Upper].map(|level| of.task(level, task).images);
        let pixels = both.map(|images| images.into_data().iter::<f32>().collect::<Vec<_>>());
        pixels.concat().chunks(4).map(<[f32]>::to_vec).collect()
    };
    let mut turned = 0;
    let mut all = 0;
    for task in 0..20 {
        let variants = images(&varied, task);
        assert_eq!(variants, images(&varied, task), "asked for again");
        for (image, variant) in images(&plain, task).into_iter().zip(variants) {
            let other = vec![image[1], image[0], image[3], image[2]];
            assert!(variant == image || variant == other, "{image:?} became {variant:?}");
            turned += usize::from(variant == other);
            all += 1;
        }
    }
    assert!((4 * turned).abs_diff(2 * all) < all, "{turned} of {all} reflected");
}

#[test]
fn rotations_are_classes_of_their_own() {
    let turned = numbered().with_rotations(4).unwrap();
    assert_eq!(turned.len(), 24);
    let image = |class| {
        let mut pixels = Vec::new();
        turned.append(class, 0, &mut pixels);
        pixels
    };
    let four: Vec<_> = (0..4).map(image).collect();
    assert_eq!(four, [vec![0, 1, 2, 3], vec![1, 3, 0, 2], vec![3, 2, 1, 0], vec![2, 0, 3, 1]]);
}

#[test]
fn too_few_classes_or_images_are_refused() {
    let refused = |way| {
        let error = Episodes::new(numbered(), way, [0, 0], Device::flex()).unwrap_err();
        error.to_string()
    };
    assert!(refused(Way { way: 7, ..WAY }).contains("6 classes, expected at least 7"));
    assert!(refused(Way { shot: 5, ..WAY }).contains("class 0 has 7 images, expected at least 9"));
}

/// A grey PNG file.
fn png(side: usize, pixels: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(kind);
        file.extend(data);
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(data);
        file.extend(crc.sum().to_be_bytes());
    };
    let side_bytes = (side as u32).to_be_bytes();
    chunk(b"IHDR", &[&side_bytes[..], &side_bytes, &[8, 0, 0, 0, 0]].concat());
    let mut packed = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    for row in pixels.chunks(side) {
        packed.write_all(&[&[0], row].concat()).unwrap();
    }
    chunk(b"IDAT", &packed.finish().unwrap());
    chunk(b"IEND", &[]);
    file
}

/// A folder of two classes: two PNG files and a JPEG file each.
fn folder() -> TempDir {
    let root = tempdir().unwrap();
    for (class, grey) in [("cats", 40_u8), ("dogs", 200)] {
        let dir = root.path().join(class);
        fs::create_dir(&dir).unwrap();
        for at in 0..2_u8 {
            let pixels: Vec<u8> = (0..16).map(|pixel| grey + at * 16 + pixel).collect();
            fs::write(dir.join(format!("{at}.png")), png(4, &pixels)).unwrap();
        }
        let flat = image::GrayImage::from_pixel(8, 8, image::Luma([grey]));
        flat.save_with_format(dir.join("2.jpg"), image::ImageFormat::Jpeg).unwrap();
    }
    root
}

/// All pixels of all classes.
fn pixels(classes: &ImageClasses) -> Vec<(String, Vec<u8>)> {
    let all = (0..classes.len()).map(|class| {
        let (name, images) = classes.class(class);
        let mut pixels = Vec::new();
        (0..images).for_each(|image| classes.append(class, image, &mut pixels));
        (name.to_owned(), pixels)
    });
    all.collect()
}

fn read(path: &Path, held: usize) -> Result<ImageClasses, bilevel_data::DataError> {
    ImageClasses::read(path, [1, 4], held)
}

#[test]
fn folders_and_archives_give_the_same_images_whatever_is_held() {
    let root = folder();
    let expected = pixels(&read(root.path(), HELD).unwrap());
    assert_eq!(expected.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["cats", "dogs"]);
    let cats: Vec<u8> = (40..56).chain(56..72).chain([40; 16]).collect();
    let off = expected[0].1.iter().zip(&cats).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(off <= Some(1), "{:?}", expected[0].1);
    for held in [0, 16, 40] {
        assert_eq!(pixels(&read(root.path(), held).unwrap()), expected, "{held} bytes held");
    }
    let archive = root.path().join("all.tar");
    let mut tar = tar::Builder::new(fs::File::create(&archive).unwrap());
    for class in ["dogs", "cats"] {
        tar.append_dir_all(format!("train/{class}"), root.path().join(class)).unwrap();
    }
    tar.into_inner().unwrap();
    assert_eq!(pixels(&read(&archive, 40).unwrap()), expected);
}

#[test]
fn bad_files_are_named() {
    let root = folder();
    let bad = root.path().join("cats/1.png");
    let whole = fs::read(&bad).unwrap();
    for (cut, damaged) in [(whole.len() / 2, "half"), (0, "empty"), (9, "a beginning")] {
        fs::write(&bad, &whole[..cut]).unwrap();
        let text = read(root.path(), HELD).unwrap_err().to_string();
        assert!(
            text.contains("1 of its files") && text.contains("cats/1.png"),
            "{damaged}: {text}"
        );
    }
    let none = tempdir().unwrap();
    let text = read(none.path(), HELD).unwrap_err().to_string();
    assert!(text.contains("holds no images"), "{text}");
}
