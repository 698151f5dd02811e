//! Images sorted by class, from memory or from the files of folders: the source of episodes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::DynamicImage;
use image::imageops::FilterType;

use super::png::{self, MOST};
use super::{DataError, Digest, Images, files};

/// The maximal number of bytes of decoded images that are held; the other files are decoded at each use.
pub const HELD: usize = 1 << 30;

/// The maximal number of pixels of a JPEG file, in each direction.
const SIDE: u32 = 1 << 14;

/// The maximal number of unreadable files that are named.
const NAMED: usize = 5;

/// Labelled images by class. A class may be a rotation of another one by multiples of 90 degrees, see
/// [`ImageClasses::with_rotations`].
#[derive(Clone, Debug)]
pub struct ImageClasses {
    name: String,
    shape: [usize; 3],
    /// The name of each class, and its images.
    classes: Vec<(String, Vec<usize>)>,
    quarters: usize,
    store: Arc<Store>,
}

/// Where the pixels are.
#[derive(Debug)]
enum Store {
    /// All of them in memory.
    Memory(Images),
    /// In files; the first ones, as many as fit, also decoded.
    Files { places: Vec<Place>, decoded: Vec<Option<Box<[u8]>>>, checksum: String },
}

/// One encoded image.
#[derive(Clone, Debug)]
struct Place {
    path: PathBuf,
    /// Within a tar archive: where it begins, its length, and its name.
    within: Option<(u64, u64, String)>,
}

impl ImageClasses {
    /// The classes of a set of images, named by their numbers.
    pub fn new(set: Images) -> Self {
        let members = set.members().into_iter().enumerate();
        let classes = members.map(|(label, members)| (label.to_string(), members)).collect();
        let (name, shape) = (set.name().to_owned(), set.shape());
        Self { name, shape, classes, quarters: 1, store: Arc::new(Store::Memory(set)) }
    }

    /// A folder of class folders, with PNG and JPEG files in each, or a `.tar` of such: every image resized to `side`
    /// by `side` pixels of `channels` (1 for grey, 3 for colours). All files are decoded once, so that an invalid one
    /// is found here, and as many stay decoded as fit into `held` bytes.
    ///
    /// # Errors
    /// If a file cannot be read or is not an image, naming the files; if there is no class.
    pub fn read(path: &Path, [channels, side]: [usize; 2], held: usize) -> Result<Self, DataError> {
        let by_class = if path.is_dir() { in_folder(path)? } else { in_archive(path)? };
        let shape = [channels, side, side];
        let size = channels * side * side;
        let (mut classes, mut places, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bad, mut hasher) = (Vec::new(), blake3::Hasher::new());
        for (class, files) in by_class {
            let first = places.len();
            for place in files {
                match place.decode(shape) {
                    Ok(pixels) => {
                        hasher.update(&pixels);
                        let room = size * (places.len() + 1) <= held;
                        decoded.push(room.then(|| pixels.into_boxed_slice()));
                        places.push(place);
                    }
                    Err(what) => bad.push(format!("{}: {what}", place.describe())),
                }
            }
            classes.push((class, (first..places.len()).collect()));
        }
        let name = path.display().to_string();
        if !bad.is_empty() {
            let found = bad.len();
            bad.truncate(NAMED);
            return Err(DataError::BadImages { name, found, first: bad.join("; ") });
        }
        if places.is_empty() {
            return Err(DataError::NoImages { path: path.into() });
        }
        let checksum = hasher.finalize().to_hex().to_string();
        let store = Arc::new(Store::Files { places, decoded, checksum });
        Ok(Self { name, shape, classes, quarters: 1, store })
    }

    /// The same with additional classes for each, its images rotated by multiples of 90 degrees: `rotations` in all, 1
    /// to 4.
    ///
    /// # Errors
    /// If images are not square.
    pub fn with_rotations(mut self, rotations: usize) -> Result<Self, DataError> {
        let [_, height, width] = self.shape;
        self.quarters = rotations.clamp(1, 4);
        if self.quarters > 1 && height != width {
            return Err(DataError::NotSquare { name: self.name, height, width });
        }
        Ok(self)
    }

    /// The classes at `indices` of those without rotations.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn select(&self, indices: &[usize]) -> Self {
        let classes = indices.iter().map(|&at| self.classes[at].clone()).collect();
        Self { classes, ..self.clone() }
    }

    /// These classes and those of another set, whose images have the same shape.
    ///
    /// # Errors
    /// If their shapes differ, or one of the sets is in files.
    pub fn join(self, other: Self) -> Result<Self, DataError> {
        let shapes = (self.shape, other.shape);
        let (Store::Memory(first), Store::Memory(second)) = (&*self.store, &*other.store) else {
            return Err(DataError::Join { name: other.name, found: shapes.1, expected: shapes.0 });
        };
        let after = first.classes() as u32;
        let labels = second.labels().iter().map(|label| label + after).collect();
        let pixels = second.images().to_vec();
        let classes = second.classes() + first.classes();
        let second = Images::from_bytes(second.name(), pixels, labels, second.shape(), classes)?;
        Ok(Self::new(first.clone().join(second)?))
    }

    /// The name of the set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Channels, height and width of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The number of classes, including rotations.
    pub fn len(&self) -> usize {
        self.classes.len() * self.quarters
    }

    /// Whether there is no class.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The name of a class and the number of its images; the rotations of a class follow one another.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn class(&self, at: usize) -> (&str, usize) {
        let (name, images) = &self.classes[at / self.quarters];
        (name, images.len())
    }

    /// The file of an image of a class, or its name in an archive; none in memory.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn file(&self, class: usize, image: usize) -> Option<String> {
        let index = self.classes[class / self.quarters].1[image];
        match &*self.store {
            Store::Memory(_) => None,
            Store::Files { places, .. } => Some(match &places[index].within {
                Some((_, _, name)) => name.clone(),
                None => places[index].path.display().to_string(),
            }),
        }
    }

    /// Appends the bytes of an image of a class.
    ///
    /// # Panics
    /// If there is no such image; if a file has changed since it was first read.
    pub fn append(&self, class: usize, image: usize, to: &mut Vec<u8>) {
        let index = self.classes[class / self.quarters].1[image];
        let decode = |place: &Place| {
            let again = place.decode(self.shape);
            again.unwrap_or_else(|what| panic!("{}, read before: {what}", place.describe()))
        };
        match &*self.store {
            Store::Memory(set) => self.turned(set.image(index), class % self.quarters, to),
            Store::Files { places, decoded, .. } => match &decoded[index] {
                Some(pixels) => self.turned(pixels, class % self.quarters, to),
                None => self.turned(&decode(&places[index]), class % self.quarters, to),
            },
        }
    }

    /// Appends an image rotated counterclockwise by `quarters` times 90 degrees.
    fn turned(&self, pixels: &[u8], quarters: usize, to: &mut Vec<u8>) {
        let side = self.shape[2];
        if quarters == 0 {
            to.extend_from_slice(pixels);
            return;
        }
        let last = side - 1;
        for plane in pixels.chunks_exact(side * side) {
            for (row, column) in (0..side * side).map(|at| (at / side, at % side)) {
                let (row, column) = match quarters {
                    1 => (column, last - row),
                    2 => (last - row, last - column),
                    _ => (last - column, row),
                };
                to.push(plane[row * side + column]);
            }
        }
    }
}

impl Digest for ImageClasses {
    fn feed(&self, to: &mut blake3::Hasher) {
        for (name, images) in &self.classes {
            to.update(name.as_bytes());
            for at in images {
                to.update(&(*at as u64).to_le_bytes());
            }
        }
        to.update(&[self.quarters as u8]);
        match &*self.store {
            Store::Memory(set) => set.feed(to),
            Store::Files { checksum, .. } => {
                to.update(checksum.as_bytes());
            }
        }
    }
}

impl Place {
    fn describe(&self) -> String {
        match &self.within {
            Some((_, _, name)) => format!("{} in {}", name, self.path.display()),
            None => self.path.display().to_string(),
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        let read = || {
            let mut file = File::open(&self.path)?;
            let mut length = MOST;
            if let Some((from, of_entry, _)) = self.within {
                file.seek(SeekFrom::Start(from))?;
                length = of_entry;
            }
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        };
        read().map_err(|error| error.to_string())
    }

    /// The pixels, one plane per channel.
    fn decode(&self, [channels, height, width]: [usize; 3]) -> Result<Vec<u8>, String> {
        let bytes = self.bytes()?;
        let mut found = if bytes.starts_with(png::START) {
            DynamicImage::ImageRgba8(png::decode(&bytes)?)
        } else {
            jpeg(bytes)?
        };
        let (width, height) = (width as u32, height as u32);
        if (found.width(), found.height()) != (width, height) {
            found = found.resize_exact(width, height, FilterType::Triangle);
        }
        Ok(match channels {
            1 => found.into_luma8().into_raw(),
            _ => {
                let pixels = found.into_rgb8().into_raw();
                let plane = |channel| pixels.iter().skip(channel).step_by(3).copied();
                (0..3).flat_map(plane).collect()
            }
        })
    }
}

fn jpeg(bytes: Vec<u8>) -> Result<DynamicImage, String> {
    let format = image::ImageFormat::Jpeg;
    let mut reader = image::ImageReader::with_format(std::io::Cursor::new(bytes), format);
    let mut limits = image::Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(SIDE), Some(SIDE));
    reader.limits(limits);
    reader.decode().map_err(|error| error.to_string())
}

/// Whether a name is that of an image file.
fn is_image(name: &Path) -> bool {
    let ending = name.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// The image files of a folder of class folders, in the order of their names.
fn in_folder(path: &Path) -> Result<BTreeMap<String, Vec<Place>>, DataError> {
    let list = |path: &Path| -> Result<Vec<PathBuf>, DataError> {
        let refuse = |cause| DataError::Read { path: path.into(), cause };
        let entries = fs::read_dir(path).map_err(refuse)?;
        let mut found: Vec<_> =
            entries.map(|entry| Ok(entry.map_err(refuse)?.path())).collect::<Result<_, _>>()?;
        found.sort();
        Ok(found)
    };
    let mut classes = BTreeMap::new();
    for class in list(path)?.into_iter().filter(|inner| inner.is_dir()) {
        let images = list(&class)?.into_iter().filter(|file| is_image(file));
        let images: Vec<_> = images.map(|path| Place { path, within: None }).collect();
        if !images.is_empty() {
            let name = class.file_name().unwrap_or_default().to_string_lossy().into_owned();
            classes.insert(name, images);
        }
    }
    Ok(classes)
}

/// The image files of a tar archive; a class is the folder that a file lies in.
fn in_archive(path: &Path) -> Result<BTreeMap<String, Vec<Place>>, DataError> {
    let refuse = |cause| DataError::Read { path: path.into(), cause };
    let mut archive = tar::Archive::new(files::open(path)?);
    let mut classes: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for entry in archive.entries_with_seek().map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        let name = entry.path().map_err(refuse)?.into_owned();
        let class = name.parent().and_then(Path::file_name);
        if !is_image(&name) || entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let within =
            (entry.raw_file_position(), entry.size().min(MOST), name.display().to_string());
        let class = class.unwrap_or_default().to_string_lossy().into_owned();
        classes.entry(class).or_default().push(Place { path: path.into(), within: Some(within) });
    }
    for places in classes.values_mut() {
        places.sort_by_key(Place::describe);
    }
    Ok(classes)
}
