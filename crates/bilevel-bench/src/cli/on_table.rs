//! Commands on a table that is given first.

use std::marker::PhantomData;

use clap::{ArgMatches, Args, FromArgMatches};
use toml::{Table, Value};

use super::{OfExperiment, RunArgs};
use crate::experiments::{EXPERIMENTS, Registered};

/// A run on a table that is given first.
#[derive(Debug)]
pub struct OnTable<E> {
    /// The run.
    pub run: OfExperiment<RunArgs>,
    experiment: PhantomData<E>,
}

/// A run on a table.
pub trait TableExperiment {
    /// The experiment.
    const NAME: &'static str;
    /// Its settings that the command does not read: those of other problems and data.
    const HIDDEN: &'static [&'static str];
    /// The settings that the command implies.
    fn implied() -> Table;
}

/// See [`Command::Clean`](super::Command::Clean).
#[derive(Debug)]
pub struct Cleaning;

impl TableExperiment for Cleaning {
    const NAME: &'static str = "clean";
    const HIDDEN: &'static [&'static str] = &["data_dir"];

    fn implied() -> Table {
        Table::new()
    }
}

/// See [`Command::Tune`](super::Command::Tune).
#[derive(Debug)]
pub struct Tuning;

impl TableExperiment for Tuning {
    const NAME: &'static str = "hpo";
    const HIDDEN: &'static [&'static str] = &["problem", "data_dir", "batch", "words"];

    fn implied() -> Table {
        Table::from_iter([("problem".to_owned(), Value::from("table"))])
    }
}

fn of_table<E: TableExperiment>() -> Option<&'static Registered> {
    EXPERIMENTS.iter().find(|known| known.name == E::NAME)
}

impl<E: TableExperiment> FromArgMatches for OnTable<E> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let Some(experiment) = of_table::<E>() else {
            let kind = clap::error::ErrorKind::InvalidSubcommand;
            return Err(clap::Error::raw(kind, "no such experiment\n"));
        };
        let mut flags = experiment.flags(matches)?;
        flags.extend(E::implied());
        let run = OfExperiment { experiment, flags, args: RunArgs::from_arg_matches(matches)? };
        Ok(Self { run, experiment: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<E: TableExperiment> Args for OnTable<E> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let experiment = of_table::<E>();
        let options =
            experiment.map(|known| known.command_given(&E::implied())).unwrap_or_default();
        let options = options.get_arguments().cloned().map(|arg| match arg.get_id().as_str() {
            "data" => {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let help = help.split(" [default").next().unwrap_or_default().to_owned();
                arg.long(None::<&str>).value_name("DATA").index(1).required(true).help(help)
            }
            id => {
                let hidden = E::HIDDEN.contains(&id);
                arg.hide(hidden)
            }
        });
        RunArgs::augment_args(command.args(options))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}
