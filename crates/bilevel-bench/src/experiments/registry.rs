//! The experiments, each in one line: subcommand, `list`, `check`, `resume`, `reproduce` and the tests follow.

use bilevel_data::{Digest, digest};
use std::io::Read;
use std::path::Path;

use burn::tensor::Device;
use clap::{ArgMatches, Command};
use toml::{Table, Value};

use super::auto::Auto;
use super::{
    Run, actor_critic, clean, denoising, dictionary, distillation, few_shot, gan, hpo,
    hyper_cleaning, importance, nas, poisoning, robust, sinusoid,
};
use crate::backend::{Array, BackendName, DeviceName, run_on};
use crate::error::BenchError;
use crate::report::MethodReport;
use crate::settings::defaults::Defaults;
use crate::settings::{self, AUTO, Offered, Settings, is_auto, nearest, refuse};

/// All experiments.
pub static EXPERIMENTS: &[Registered] = &[
    Registered::of::<hyper_cleaning::Prepared>(),
    Registered::of::<clean::Prepared>(),
    Registered::of::<importance::Prepared>(),
    Registered::of::<poisoning::Prepared>(),
    Registered::of::<robust::Mwn>(),
    Registered::of::<robust::Mlc>(),
    Registered::of::<hpo::Prepared>(),
    Registered::of::<few_shot::Prepared>(),
    Registered::of::<sinusoid::Prepared>(),
    Registered::of::<denoising::Prepared>(),
    Registered::of::<distillation::Prepared>(),
    Registered::of::<gan::Prepared>(),
    Registered::of::<actor_critic::Prepared>(),
    Registered::of::<dictionary::Prepared>(),
    Registered::of::<nas::Prepared>(),
];

/// An experiment and its data.
pub trait Experiment: Sized + Send + Sync + 'static {
    /// Its name on the command line.
    const NAME: &'static str;
    /// What it does, in a line.
    const ABOUT: &'static str;
    /// The file in `assets/presets`.
    const DEFAULTS: &'static str;
    /// Its settings.
    type Settings: Settings;

    /// Reads the data.
    ///
    /// # Errors
    /// If the data or a setting cannot be used.
    fn read(settings: Self::Settings) -> Result<Self, BenchError>;

    /// Runs all methods, by [`Run::method`]. One that fails is reported as such, and the others still run.
    ///
    /// # Errors
    /// If the library refuses a setting, or results cannot be written.
    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError>;

    /// The data as read, for its fingerprint.
    fn feed(&self, to: &mut blake3::Hasher);

    /// The large arrays that a run puts on its device or creates there, each in one piece: data, and hidden layers that
    /// are larger. A device that cannot hold one is refused before the folder is created.
    fn arrays(&self) -> Vec<Array>;

    /// The choice for `--method auto` and `--step-size auto`, from probes at the start of the methods, by
    /// [`Auto::among`]; none if the experiment does not offer it.
    ///
    /// # Errors
    /// If the problem cannot be set up, or no method on offer fits it.
    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError> {
        let _ = device;
        Ok(None)
    }

    /// Checks the derivatives of both losses, in f64 on the CPU; none if the experiment has no check.
    ///
    /// # Errors
    /// If a loss cannot be recorded.
    fn check(&self) -> Result<Option<super::Checked>, BenchError> {
        Ok(None)
    }
}

/// A line of [`EXPERIMENTS`].
pub struct Registered {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    defaults: &'static str,
    command: fn(Command, &Defaults, &Table) -> Command,
    flags: fn(&ArgMatches) -> Result<Table, clap::Error>,
    complete: fn(&Defaults, &Table) -> Result<Table, BenchError>,
    checked: fn(&Table) -> Result<(), BenchError>,
    read: fn(&Table) -> Result<Box<dyn Ready>, BenchError>,
    methods: fn() -> Vec<(String, String)>,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Registered {
    const fn of<E: Experiment>() -> Self {
        Self {
            name: E::NAME,
            about: E::ABOUT,
            defaults: E::DEFAULTS,
            command: settings::command::<E::Settings>,
            flags: settings::flags::<E::Settings>,
            complete: settings::complete::<E::Settings>,
            checked: |table| settings::checked::<E::Settings>(table).map(drop),
            read: |table| {
                let settings = settings::checked::<E::Settings>(table)?;
                Ok(Box::new(E::read(settings)?))
            },
            methods: || {
                let all = <E::Settings as Settings>::Method::all();
                all.iter().map(|method| (method.name(), method.summary())).collect()
            },
        }
    }

    /// The experiment called `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> Result<&'static Self, BenchError> {
        EXPERIMENTS.iter().find(|known| known.name == name).ok_or_else(|| {
            let names: Vec<_> = EXPERIMENTS.iter().map(|known| known.name).collect();
            let expected = match nearest(name, names.iter().copied()) {
                Some(close) => format!("one of {}, perhaps {close}", names.join(", ")),
                None => format!("one of {}", names.join(", ")),
            };
            refuse("experiment", name, &expected, "check the spelling")
        })
    }

    /// Its subcommand.
    pub fn command(&self) -> Command {
        self.command_given(&Table::new())
    }

    /// The same, with the defaults where these settings are given.
    pub fn command_given(&self, given: &Table) -> Command {
        (self.command)(Command::new(self.name), &self.defaults(), given).about(self.about)
    }

    /// The settings given by flags.
    ///
    /// # Errors
    /// Those of clap.
    pub fn flags(&self, matches: &ArgMatches) -> Result<Table, clap::Error> {
        (self.flags)(matches)
    }

    /// Defaults and presets.
    pub fn defaults(&self) -> Defaults {
        Defaults::read(self.defaults)
    }

    /// The methods and what they do.
    pub fn methods(&self) -> Vec<(String, String)> {
        (self.methods)()
    }

    /// All settings of a run, given the user's settings `given`.
    ///
    /// # Errors
    /// If a setting is invalid, or the device does not exist.
    pub fn complete(&'static self, given: &Table) -> Result<Complete, BenchError> {
        let table = (self.complete)(&self.defaults(), given)?;
        Ok(Complete { experiment: self, table, probes: None })
    }
}

/// All settings of a run, complete and checked: `settings.toml`.
#[derive(Clone, Debug)]
pub struct Complete {
    /// The experiment.
    pub experiment: &'static Registered,
    table: Table,
    /// The oracle calls of the probes that chose some of them.
    pub(super) probes: Option<u64>,
}

impl PartialEq for Complete {
    fn eq(&self, other: &Self) -> bool {
        self.experiment.name == other.experiment.name && self.table == other.table
    }
}

const STEP_SIZE: &str = "step-size";

/// The key that names the experiment.
const EXPERIMENT: &str = "experiment";

impl Complete {
    /// The settings given by the user, perhaps in a file, completed.
    ///
    /// # Errors
    /// If a setting is invalid, or the device does not exist.
    pub fn given(experiment: &str, given: &Table) -> Result<Self, BenchError> {
        Registered::named(experiment)?.complete(given)
    }

    /// Reads `settings.toml`.
    ///
    /// # Errors
    /// If a setting is missing, unknown, or outside its range.
    pub fn read(mut table: Table) -> Result<Self, BenchError> {
        let name = table.remove(EXPERIMENT);
        let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
        let experiment = Registered::named(name)?;
        (experiment.checked)(&table)?;
        Ok(Self { experiment, table, probes: None })
    }

    /// Only the settings.
    pub fn settings(&self) -> &Table {
        &self.table
    }

    /// `settings.toml`.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.insert(EXPERIMENT.into(), self.experiment.name.into());
        table.extend(self.table.clone());
        table
    }

    /// What determines the data that is read: the experiment and its folder or file.
    pub(super) fn source(&self) -> (&'static str, [Option<&str>; 2]) {
        let path = |key| self.table.get(key).and_then(Value::as_str);
        (self.experiment.name, ["data-dir", "data"].map(path))
    }

    /// The seed of all randomness.
    pub fn seed(&self) -> u64 {
        self.table["seed"].as_integer().and_then(|seed| u64::try_from(seed).ok()).unwrap_or(0)
    }

    /// The same with another seed, for which no probes are made.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.probes = None;
        self.table.insert("seed".into(), Value::Integer(seed.min(i64::MAX as u64) as i64));
        self
    }

    /// Whether a method or a step size is to be chosen.
    pub fn is_open(&self) -> bool {
        ["method", STEP_SIZE].iter().any(|setting| is_auto(&self.table, setting))
    }

    /// The same with choices from probes in place of `auto`, and the measurements and reasons as text.
    ///
    /// # Errors
    /// If the data cannot be read, the experiment has no `auto`, or no method that it offers fits.
    pub fn chosen(&self) -> Result<(Self, String), BenchError> {
        let Some(auto) = self.prepare()?.auto()? else {
            let name = self.experiment.name;
            let (setting, what, cure) = match is_auto(&self.table, "method") {
                true => ("--method", "the name of a method", "`bilevel list` names them"),
                false => ("--step-size", "a number", "leave it out for the default"),
            };
            let expected = format!("{what}: {name} has no auto");
            return Err(refuse(setting, AUTO, &expected, cure));
        };
        let mut table = self.table.clone();
        let mut text = auto.to_string();
        if is_auto(&table, STEP_SIZE) {
            let step_size = auto.suggestion.step_size();
            table.insert(STEP_SIZE.into(), step_size.into());
            text += &format!("\nstep size {step_size:?}");
        }
        if let Some(Value::Array(methods)) = table.get_mut("method") {
            let open = methods.iter().any(|name| name.as_str() == Some(AUTO));
            methods.retain(|name| name.as_str() != Some(AUTO));
            let chosen = Value::String(auto.method.clone());
            if open && let Some(whole) = auto.forecast(&self.table) {
                text += &format!("\nrun       {whole}");
            }
            if open && !methods.contains(&chosen) {
                methods.push(chosen);
            }
        }
        (self.experiment.checked)(&table)?;
        Ok((Self { experiment: self.experiment, table, probes: Some(auto.probes()) }, text))
    }

    /// Where to compute.
    fn device(&self) -> DeviceName {
        let name = self.table["device"].clone();
        name.try_into().unwrap_or(BackendName::Auto.into())
    }

    /// Reads the data, and checks that the device exists and can hold it.
    ///
    /// # Errors
    /// If the data, the device or a setting cannot be used.
    pub fn prepare(&self) -> Result<Prepared, BenchError> {
        let device = self.device().resolve()?;
        let experiment = (self.experiment.read)(&self.table)?;
        device.check_arrays(&experiment.arrays())?;
        Ok(Prepared { device, experiment })
    }
}

/// The maximal number of bytes of a file of settings.
const MOST_CONFIG: u64 = 1 << 20;

/// Reads a file of settings, which may be the `settings.toml` of a run.
///
/// # Errors
/// If it cannot be read, or is of another experiment.
pub fn read_config(path: &Path, experiment: &'static Registered) -> Result<Table, BenchError> {
    let unreadable = |cause: String| {
        let found = format!("{}: {cause}", path.display());
        refuse("--config", found, "a TOML file of settings", "name another file, or correct it")
    };
    // A pipe may be given, for example by a shell; an endless one, or a device, must not fill memory.
    let read = || {
        let mut text = String::new();
        std::fs::File::open(path)?.take(MOST_CONFIG + 1).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let text = read().map_err(|cause| unreadable(cause.to_string()))?;
    if text.len() as u64 > MOST_CONFIG {
        return Err(unreadable(format!("more than {MOST_CONFIG} bytes")));
    }
    let mut table: Table = text.parse().map_err(|e: toml::de::Error| unreadable(e.to_string()))?;
    if let Some(other) =
        table.remove(EXPERIMENT).filter(|name| name.as_str() != Some(experiment.name))
    {
        let expected = format!("settings of {}", experiment.name);
        return Err(refuse("--config", format!("of {other}"), &expected, "name another file"));
    }
    Ok(table)
}

/// An experiment that is ready to run.
pub struct Prepared {
    device: DeviceName,
    experiment: Box<dyn Ready>,
}

impl Prepared {
    /// Runs all methods.
    ///
    /// # Errors
    /// See [`Experiment::run`].
    pub fn run(&self, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        run_on(self.device, |device| self.experiment.run(device, run))?
    }

    /// The fingerprint of the data.
    pub fn data(&self) -> String {
        digest(self)
    }

    /// The choices for `auto`.
    fn auto(&self) -> Result<Option<Auto>, BenchError> {
        run_on(self.device, |device| self.experiment.auto(device))?
    }

    /// Checks the derivatives of both losses.
    ///
    /// # Errors
    /// See [`Experiment::check`].
    pub fn check(&self) -> Result<Option<super::Checked>, BenchError> {
        self.experiment.check()
    }
}

impl Digest for Prepared {
    fn feed(&self, to: &mut blake3::Hasher) {
        self.experiment.feed(to);
    }
}

/// [`Experiment`] with erased types.
trait Ready: Send + Sync {
    fn feed(&self, to: &mut blake3::Hasher);

    fn arrays(&self) -> Vec<Array>;

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError>;

    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError>;

    fn check(&self) -> Result<Option<super::Checked>, BenchError>;
}

impl<E: Experiment> Ready for E {
    fn feed(&self, to: &mut blake3::Hasher) {
        Experiment::feed(self, to);
    }

    fn arrays(&self) -> Vec<Array> {
        Experiment::arrays(self)
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        Experiment::run(self, device, run)
    }

    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError> {
        Experiment::auto(self, device)
    }

    fn check(&self) -> Result<Option<super::Checked>, BenchError> {
        Experiment::check(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_of_every_file_is_a_run() {
        for experiment in EXPERIMENTS {
            for mut given in experiment.defaults().sections() {
                given.entry("device").or_insert("flex".into());
                let complete = experiment.complete(&given);
                let complete = complete.unwrap_or_else(|e| panic!("{experiment:?} {given}: {e}"));
                assert_eq!(Complete::read(complete.table()).unwrap(), complete);
            }
            assert!(experiment.defaults().presets().contains(&"smoke".into()), "{experiment:?}");
        }
    }

    #[test]
    fn what_the_user_gives_is_checked_wherever_it_comes_from() {
        let refused = |given: &str| {
            let error = Complete::given("hyper-cleaning", &given.parse().unwrap()).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        for (given, says) in [
            ("step-sise = 1.0", "step-sise is given, expected `step-size`"),
            ("step-size = -1.0", "--step-size is -1.0, expected"),
            ("lower-steps = 0", "--lower-steps is 0"),
            ("lower-steps = 1.5", "--lower-steps is 1.5"),
            ("noise = 1.0", "--noise is 1.0"),
            ("method = \"magic\"", "no method is called `magic`"),
            ("preset = \"none\"", "--preset is none, expected bda"),
            ("method = \"rad\"\ndamping = 0.1", "--damping is given, and none of rad reads it"),
            ("truncated = 7\nlower-steps = 5\nmethod = \"trad\"", "--truncated is 7"),
        ] {
            let text = refused(given);
            assert!(text.contains(says), "{given}: {text}");
        }
    }
}
