//! The backends of this build and their devices: which exist, which can run here, and running a job on one.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;

use burn::tensor::{Device, FloatDType, IntDType};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A backend, as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// A hardware GPU if there is one, otherwise flex.
    Auto,
    /// Burn's fast CPU backend.
    Flex,
    /// The CPU, through ndarray.
    Ndarray,
    /// A GPU by Vulkan, Metal or DX12, or a software adapter of one of these.
    Wgpu,
    /// A GPU of NVIDIA, through CUDA.
    Cuda,
    /// A GPU of AMD, through ROCm.
    Rocm,
}

/// A device, as named on the command line: a backend, and the number of one of its GPUs if it has several. `wgpu` is
/// `wgpu:0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName {
    /// The backend.
    pub backend: BackendName,
    /// Which of its devices, counted from 0.
    pub index: usize,
}

impl From<BackendName> for DeviceName {
    fn from(backend: BackendName) -> Self {
        Self { backend, index: 0 }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.backend.as_str();
        if self.index == 0 { f.write_str(name) } else { write!(f, "{name}:{}", self.index) }
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index)),
            None => (text, None),
        };
        let backend = <BackendName as ValueEnum>::from_str(name, false);
        // In canonical form: no sign, no leading zeros.
        let number = index.map_or(Some(0), |index| {
            index.parse().ok().filter(|number: &usize| number.to_string() == index)
        });
        let (Ok(backend), Some(number)) = (backend, number) else {
            return Err(format!(
                "no device is called `{text}`, expected auto, flex, ndarray, wgpu, cuda, rocm, or one of several \
                 GPUs, such as wgpu:1; `bilevel doctor` shows those of this machine"
            ));
        };
        if index.is_some() && !backend.has_several() {
            return Err(format!("{name} has no devices to choose from: leave out `:{number}`"));
        }
        Ok(Self { backend, index: number })
    }
}

impl TryFrom<String> for DeviceName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Why a device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// No adapter.
    #[error(
        "no graphics adapter found, expected one with Vulkan, Metal or DX12: install the driver of \
         your GPU (or a software one, such as Mesa's lavapipe), or run on the CPU with --device flex"
    )]
    NoAdapter,
    /// Not in this build.
    #[error(
        "backend {0} is not in this build, expected one of: {1}; build with --features {0}, or take \
         another --device"
    )]
    NotBuilt(&'static str, String),
    /// No driver.
    #[error(
        "no driver of {backend} found, expected {expected}: install the driver of your GPU, or run on the CPU with \
         --device flex"
    )]
    NoDriver {
        /// The backend.
        backend: &'static str,
        /// The file that its driver creates.
        expected: &'static str,
    },
    /// A number without a device.
    #[error("no device {asked} on this machine, expected one of: {found}; name one of these")]
    NoSuchDevice {
        /// The name given.
        asked: DeviceName,
        /// The devices of the backend.
        found: String,
    },
    /// An array that the device cannot hold in one piece.
    #[error(
        "{what}, {shape:?}, take {bytes} bytes in one array, {adapter} holds at most {most}: take fewer samples or \
         smaller batches, or compute on the CPU with --device flex"
    )]
    TooLarge {
        /// What the array holds.
        what: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// Its bytes in f32.
        bytes: u128,
        /// The adapter.
        adapter: String,
        /// The largest array in bytes.
        most: u64,
    },
    /// A device that failed during its work.
    #[error("the device failed: {0}; check its driver, or compute on the CPU with --device flex")]
    Device(String),
    /// Flex is already in use.
    #[error(
        "flex already computes in f32 in this process, expected f64: check derivatives before \
         anything else, or in a process of their own"
    )]
    Precision,
}

/// A graphics adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adapter {
    /// Its name, as reported by the driver.
    pub name: String,
    /// The interface: vulkan, metal or dx12.
    pub interface: String,
    /// Its kind: discrete GPU, integrated GPU, virtual GPU, software or other.
    pub kind: String,
    /// Whether it is hardware. A software adapter is not a GPU: flex is faster than it.
    pub gpu: bool,
    /// The largest array in bytes. Of a larger one kernels see only a part, and results are garbage without an error.
    pub largest_array: u64,
}

/// An array of f32 that is put on a device in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Its contents, in the plural.
    pub what: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Array {
    /// An array of this shape.
    pub fn new(what: &'static str, shape: impl Into<Vec<usize>>) -> Self {
        Self { what, shape: shape.into() }
    }

    /// Its bytes, if no integer overflows.
    fn bytes(&self) -> u128 {
        let numbers = self.shape.iter().map(|&n| n as u128);
        numbers.fold(size_of::<f32>() as u128, u128::saturating_mul)
    }
}

/// The names of the backends in this build.
pub fn built() -> Vec<&'static str> {
    let all = [
        ("flex", true),
        ("ndarray", cfg!(feature = "ndarray")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("cuda", cfg!(feature = "cuda")),
        ("rocm", cfg!(feature = "rocm")),
    ];
    all.into_iter().filter_map(|(name, built)| built.then_some(name)).collect()
}

/// The graphics adapters of this machine that the wgpu backend can use; the first is its default.
#[cfg(feature = "wgpu")]
pub fn adapters() -> Vec<Adapter> {
    graphics::adapters()
}

/// Without the wgpu backend there are none.
#[cfg(not(feature = "wgpu"))]
pub fn adapters() -> Vec<Adapter> {
    Vec::new()
}

/// What `auto` selects here, and why.
pub fn pick() -> (BackendName, String) {
    match adapters().into_iter().find(|adapter| adapter.gpu) {
        Some(gpu) => (BackendName::Wgpu, format!("there is a GPU, {}", gpu.name)),
        None => (
            BackendName::Flex,
            "there is no hardware GPU, and flex is the fastest on the CPU".into(),
        ),
    }
}

/// The devices of a backend that has several, by the names that select them.
pub fn devices(backend: BackendName) -> Vec<String> {
    let name = backend.as_str();
    let numbered = |n: usize| (0..n).map(|at| format!("{name}:{at}")).collect();
    match backend {
        BackendName::Wgpu => {
            let adapters = adapters().into_iter().enumerate();
            adapters.map(|(at, adapter)| format!("{name}:{at} ({})", adapter.name)).collect()
        }
        #[cfg(feature = "cuda")]
        BackendName::Cuda => numbered(Device::enumerate(burn::tensor::DeviceType::Cuda).len()),
        #[cfg(feature = "rocm")]
        BackendName::Rocm => numbered(Device::enumerate(burn::tensor::DeviceType::Rocm).len()),
        _ => numbered(0),
    }
}

impl DeviceName {
    /// The device that this name means here; `auto` resolved, the others unchanged.
    ///
    /// # Errors
    /// If its backend is not in this build or cannot run here, or there is no device of this number.
    pub fn resolve(self) -> Result<Self, BackendError> {
        let resolved = Self { backend: self.backend.resolve()?, ..self };
        if !resolved.backend.has_several() {
            return Ok(resolved);
        }
        let found = devices(resolved.backend);
        if self.index < found.len() {
            return Ok(resolved);
        }
        Err(BackendError::NoSuchDevice { asked: self, found: found.join(", ") })
    }

    /// Whether the device can hold each of these arrays.
    ///
    /// # Errors
    /// [`BackendError::TooLarge`] for the largest that it cannot hold.
    pub fn check_arrays(self, arrays: &[Array]) -> Result<(), BackendError> {
        let name = self.resolve()?;
        if name.backend != BackendName::Wgpu {
            return Ok(());
        }
        let adapters = adapters();
        let (Some(adapter), Some(array)) =
            (adapters.get(name.index), arrays.iter().max_by_key(|array| array.bytes()))
        else {
            return Ok(());
        };
        if array.bytes() <= u128::from(adapter.largest_array) {
            return Ok(());
        }
        Err(BackendError::TooLarge {
            what: array.what,
            shape: array.shape.clone(),
            bytes: array.bytes(),
            adapter: adapter.name.clone(),
            most: adapter.largest_array,
        })
    }
}

impl BackendName {
    /// Whether a number selects one of its devices.
    fn has_several(self) -> bool {
        matches!(self, Self::Wgpu | Self::Cuda | Self::Rocm)
    }

    /// The backend that this name means here; `auto` resolved, the others unchanged.
    ///
    /// # Errors
    /// If it is not in this build, or has no adapter to run on.
    pub fn resolve(self) -> Result<Self, BackendError> {
        let name = if self == Self::Auto { pick().0 } else { self };
        let text = name.as_str();
        if !built().contains(&text) {
            return Err(BackendError::NotBuilt(text, built().join(", ")));
        }
        if name == Self::Wgpu && adapters().is_empty() {
            return Err(BackendError::NoAdapter);
        }
        // Without its driver Burn's runtime panics.
        match name.driver() {
            Some(expected) if !Path::new(expected).exists() => {
                Err(BackendError::NoDriver { backend: text, expected })
            }
            _ => Ok(name),
        }
    }

    /// A file that exists if the driver of the backend is loaded, for backends whose runtime does not check this
    /// itself.
    fn driver(self) -> Option<&'static str> {
        match self {
            Self::Cuda if cfg!(windows) => Some("C:\\Windows\\System32\\nvcuda.dll"),
            Self::Cuda => Some("/dev/nvidiactl"),
            Self::Rocm => Some("/dev/kfd"),
            _ => None,
        }
    }

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
        }
    }
}

/// The device of a name, in f32.
///
/// # Errors
/// See [`DeviceName::resolve`], and if the device cannot be set up.
pub fn device(name: impl Into<DeviceName>) -> Result<Device, BackendError> {
    let name = name.into().resolve()?;
    match name.backend {
        BackendName::Flex => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        BackendName::Ndarray => {
            #[allow(deprecated, reason = "it is what the others are held against")]
            let device = Device::ndarray();
            Ok(device)
        }
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => graphics::device(name.index),
        #[cfg(feature = "cuda")]
        BackendName::Cuda => Ok(Device::cuda(name.index)),
        #[cfg(feature = "rocm")]
        BackendName::Rocm => Ok(Device::rocm(name.index)),
        // `resolve` returns only backends of this build.
        #[allow(unreachable_patterns)]
        other => Err(BackendError::NotBuilt(other.as_str(), built().join(", "))),
    }
}

/// Runs a job on the device of a name.
///
/// # Errors
/// See [`device`].
pub fn run_on<T: Send>(
    name: impl Into<DeviceName>,
    job: impl FnOnce(Device) -> T + Send,
) -> Result<T, BackendError> {
    let name = name.into().resolve()?;
    let device = device(name)?;
    if name.backend != BackendName::Flex {
        return Ok(job(device));
    }
    // On a thread of the pool that the kernels use too: handing work over from outside costs two wake-ups per
    // operation. The job has its own pool: a thread that waits for a kernel would start another job, and then hold a
    // lock of Burn's that this one needs.
    match rayon::ThreadPoolBuilder::new().build() {
        Ok(pool) => Ok(pool.install(|| job(device))),
        Err(_) => Ok(job(device)),
    }
}

/// Flex with f64 as its element type.
///
/// # Errors
/// If this process has already computed in f32 on flex: Burn fixes the precision once per process.
pub fn flex_in_f64() -> Result<Device, BackendError> {
    static CONFIGURED: OnceLock<bool> = OnceLock::new();
    let configured = || Device::flex().configure((FloatDType::F64, IntDType::I64)).is_ok();
    match CONFIGURED.get_or_init(configured) {
        true => Ok(Device::flex()),
        false => Err(BackendError::Precision),
    }
}

#[cfg(feature = "wgpu")]
mod graphics {
    //! Checks the drivers before Burn does: without an adapter Burn's runtime panics.

    use std::sync::{Mutex, OnceLock, PoisonError};

    use burn::tensor::wgpu::WgpuBackend;
    use burn::tensor::{Device, DeviceKind, read_sync};
    use wgpu::{Backend, Backends, DeviceType, Instance, InstanceDescriptor};

    use super::{Adapter, BackendError};

    /// An adapter, and how Burn finds it.
    type Found = (Adapter, Backend, DeviceKind);

    /// Best first: hardware before software, discrete before integrated.
    fn found() -> &'static [Found] {
        static FOUND: OnceLock<Vec<Found>> = OnceLock::new();
        FOUND.get_or_init(|| {
            let usable = Backends::VULKAN | Backends::METAL | Backends::DX12;
            let instance = Instance::new(InstanceDescriptor {
                backends: usable,
                ..InstanceDescriptor::new_without_display_handle()
            });
            let mut infos: Vec<_> = read_sync(instance.enumerate_adapters(usable))
                .iter()
                .map(|adapter| (adapter.get_info(), adapter.limits()))
                .collect();
            infos.sort_by_key(|(info, _)| match info.device_type {
                DeviceType::DiscreteGpu => 0,
                DeviceType::IntegratedGpu => 1,
                DeviceType::VirtualGpu => 2,
                DeviceType::Other => 3,
                DeviceType::Cpu => 4,
            });
            // Burn counts the adapters of one kind and interface.
            let mut before: Vec<(DeviceType, Backend)> = Vec::new();
            let describe = |(info, limits): (wgpu::AdapterInfo, wgpu::Limits)| {
                let counted = (info.device_type, info.backend);
                let at = before.iter().filter(|other| **other == counted).count();
                let selector = match info.device_type {
                    // The default of the interface, which Burn uses if none is chosen.
                    _ if before.is_empty() => DeviceKind::DefaultDevice,
                    DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(at),
                    DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(at),
                    DeviceType::VirtualGpu => DeviceKind::VirtualGpu(at),
                    DeviceType::Cpu if at == 0 => DeviceKind::Cpu,
                    // Burn has no name for it.
                    DeviceType::Cpu | DeviceType::Other => return None,
                };
                before.push(counted);
                let kind = match info.device_type {
                    DeviceType::DiscreteGpu => "discrete GPU",
                    DeviceType::IntegratedGpu => "integrated GPU",
                    DeviceType::VirtualGpu => "virtual GPU",
                    DeviceType::Cpu => "software",
                    DeviceType::Other => "other",
                };
                let adapter = Adapter {
                    name: info.name,
                    interface: info.backend.to_str().into(),
                    kind: kind.into(),
                    gpu: info.device_type != DeviceType::Cpu
                        && info.device_type != DeviceType::Other,
                    // Burn requests all features of the adapter.
                    largest_array: limits
                        .max_storage_buffer_binding_size
                        .min(limits.max_buffer_size),
                };
                Some((adapter, info.backend, selector))
            };
            infos.into_iter().filter_map(describe).collect()
        })
    }

    pub(super) fn adapters() -> Vec<Adapter> {
        found().iter().map(|(adapter, ..)| adapter.clone()).collect()
    }

    /// The device of an adapter, set up once.
    pub(super) fn device(index: usize) -> Result<Device, BackendError> {
        static DEVICES: Mutex<Vec<(usize, Result<Device, BackendError>)>> = Mutex::new(Vec::new());
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, device)) = devices.iter().find(|(of, _)| *of == index) {
            return device.clone();
        }
        let (_, interface, selector) = found().get(index).ok_or(BackendError::NoAdapter)?;
        let interface = match interface {
            Backend::Metal => WgpuBackend::Metal,
            Backend::Dx12 => WgpuBackend::Dx12,
            _ => WgpuBackend::Vulkan,
        };
        let options = Device::wgpu_options().graphics_api(interface).device_kind(selector.clone());
        let device = options.init().map_err(|cause| BackendError::Device(cause.to_string()));
        devices.push((index, device.clone()));
        device
    }
}
