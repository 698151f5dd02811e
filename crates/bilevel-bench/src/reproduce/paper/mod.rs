//! The tables, with the papers' figures. A new one is a file here, a variant of [`TableName`] and a line of [`TABLES`].

mod bda_table_2;
mod bda_table_3;
mod bda_table_4;
mod few_shot;
mod iaptt_table_2;
mod iaptt_table_3;
mod nsgame_table_2;
mod nsgame_table_3;
mod nsgame_table_4;
mod penalty_table_2;
mod penalty_table_3;

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::{Cell, DataSet, Preset, Reproduction};
use crate::error::BenchError;
use crate::experiments::Complete;
use crate::settings::refuse;
use bilevel_data::cifar;

/// A table of a paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableName {
    /// Hyper-cleaning of MNIST by softmax regression, T = 50 to 800
    #[value(name = "bda-table-2")]
    #[serde(rename = "bda-table-2")]
    BdaTable2,
    /// Few-shot classification of Omniglot, 5 and 20 classes, 1 and 5 images
    #[value(name = "bda-table-3")]
    #[serde(rename = "bda-table-3")]
    BdaTable3,
    /// Few-shot classification of mini-imagenet: accuracy, and the upper steps to 44 %
    #[value(name = "bda-table-4")]
    #[serde(rename = "bda-table-4")]
    BdaTable4,
    /// Few-shot classification of mini-imagenet by two networks
    #[value(name = "iaptt-table-2")]
    #[serde(rename = "iaptt-table-2")]
    IapttTable2,
    /// Hyper-cleaning of MNIST by a network of two layers
    #[value(name = "iaptt-table-3")]
    #[serde(rename = "iaptt-table-3")]
    IapttTable3,
    /// Importance learning on MNIST or CIFAR-10 with a quarter and a half of the labels wrong
    #[value(name = "penalty-table-2")]
    #[serde(rename = "penalty-table-2")]
    PenaltyTable2,
    /// Few-shot classification of Omniglot and mini-imagenet by a common representation
    #[value(name = "penalty-table-3")]
    #[serde(rename = "penalty-table-3")]
    PenaltyTable3,
    /// Meta-Weight-Net on long-tailed CIFAR-10: accuracy, time and memory
    #[value(name = "nsgame-table-2")]
    #[serde(rename = "nsgame-table-2")]
    NsGameTable2,
    /// Meta-Weight-Net and label correction on CIFAR-10 with wrong labels
    #[value(name = "nsgame-table-3")]
    #[serde(rename = "nsgame-table-3")]
    NsGameTable3,
    /// Meta-Weight-Net on long-tailed CIFAR-10 by the step size of its weights
    #[value(name = "nsgame-table-4")]
    #[serde(rename = "nsgame-table-4")]
    NsGameTable4,
}

/// Information on a table besides its figures.
pub struct About {
    /// Which.
    pub name: TableName,
    /// Its contents.
    pub title: &'static str,
    /// Its source.
    pub source: &'static str,
}

/// All of them.
pub const TABLES: &[About] = &[
    About {
        name: TableName::BdaTable2,
        title: "Hyper-cleaning, test accuracy % after T lower steps",
        source: "R. Liu et al., A generic first-order algorithmic framework for bi-level programming \
                 beyond lower-level singleton, 2020, Table 2",
    },
    About {
        name: TableName::BdaTable3,
        title: "Few-shot classification of Omniglot, test accuracy %",
        source: "R. Liu et al., A generic first-order algorithmic framework for bi-level programming \
                 beyond lower-level singleton, 2020, Table 3",
    },
    About {
        name: TableName::BdaTable4,
        title: "Few-shot classification of mini-imagenet, test accuracy % and upper steps",
        source: "R. Liu et al., A generic first-order algorithmic framework for bi-level programming \
                 beyond lower-level singleton, 2020, Table 4",
    },
    About {
        name: TableName::IapttTable2,
        title: "Few-shot classification of mini-imagenet, test accuracy %",
        source: "R. Liu et al., Towards gradient-based bilevel optimization with non-convex followers \
                 and beyond, 2021, Table 2",
    },
    About {
        name: TableName::IapttTable3,
        title: "Hyper-cleaning by two layers, test accuracy and F1 %",
        source: "R. Liu et al., Towards gradient-based bilevel optimization with non-convex followers \
                 and beyond, 2021, Table 3",
    },
    About {
        name: TableName::PenaltyTable2,
        title: "Importance learning, test accuracy %",
        source: "A. Mehra and J. Hamm, Penalty method for inversion-free deep bilevel optimization, 2021, \
                 Table 2",
    },
    About {
        name: TableName::PenaltyTable3,
        title: "Few-shot classification, test accuracy %",
        source: "A. Mehra and J. Hamm, Penalty method for inversion-free deep bilevel optimization, 2021, \
                 Table 3",
    },
    About {
        name: TableName::NsGameTable2,
        title: "Meta-Weight-Net on long-tailed classes, test accuracy % by imbalance, and costs",
        source: "Delving into the hierarchical structure for efficient large-scale bi-level learning \
                 (NSGame), Section 5.2 and Table 2",
    },
    About {
        name: TableName::NsGameTable3,
        title: "Wrong labels, test accuracy % by the share of them, and costs",
        source: "Delving into the hierarchical structure for efficient large-scale bi-level learning \
                 (NSGame), Table 3",
    },
    About {
        name: TableName::NsGameTable4,
        title: "Meta-Weight-Net on long-tailed classes, test accuracy % by the step size of x",
        source: "Delving into the hierarchical structure for efficient large-scale bi-level learning \
                 (NSGame), Appendix B.3 and Table 4",
    },
];

impl TableName {
    /// Title and source.
    pub fn about(self) -> &'static About {
        let found = TABLES.iter().find(|about| about.name == self);
        found.expect("every table has a line in TABLES")
    }

    /// The name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The data sets of which the paper has figures, if the user chooses between several; the first is the default.
    pub fn data_sets(self) -> &'static [DataSet] {
        match self {
            Self::IapttTable3 => &[DataSet::Mnist, DataSet::FashionMnist],
            Self::PenaltyTable2 => &[DataSet::Mnist, DataSet::Cifar10],
            _ => &[],
        }
    }

    /// Whether the number of upper steps can be chosen.
    pub fn has_upper_steps(self) -> bool {
        matches!(self, Self::IapttTable3 | Self::PenaltyTable2)
    }

    /// Its cells, in the paper's order.
    ///
    /// # Errors
    /// If required data is not given.
    pub fn cells(self, reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
        match self {
            Self::BdaTable2 => bda_table_2::cells(reproduction),
            Self::BdaTable3 => bda_table_3::cells(reproduction),
            Self::BdaTable4 => bda_table_4::cells(reproduction),
            Self::IapttTable2 => iaptt_table_2::cells(reproduction),
            Self::PenaltyTable3 => penalty_table_3::cells(reproduction),
            Self::IapttTable3 => iaptt_table_3::cells(reproduction),
            Self::PenaltyTable2 => penalty_table_2::cells(reproduction),
            Self::NsGameTable2 => nsgame_table_2::cells(reproduction),
            Self::NsGameTable3 => nsgame_table_3::cells(reproduction),
            Self::NsGameTable4 => nsgame_table_4::cells(reproduction),
        }
    }
}

impl Reproduction {
    /// All settings of an experiment, where the table gives `given` besides data and device.
    fn settings(&self, experiment: &str, mut given: Table) -> Result<Complete, BenchError> {
        given.insert("device".into(), self.device.to_string().into());
        if let Some(dir) = &self.data_dir {
            given.insert("data-dir".into(), dir.display().to_string().into());
        }
        Complete::given(experiment, &given)
    }

    /// The folder of the data: given for `full`, none for `small`.
    ///
    /// # Errors
    /// If this is not the case, and if a data set or a number of upper steps is given that the table does not have.
    pub fn check_data(&self) -> Result<Option<PathBuf>, BenchError> {
        let name = |set: &DataSet| set.to_possible_value().map(|value| value.get_name().to_owned());
        if let Some(set) = self.data_set
            && !self.reproduce.data_sets().contains(&set)
        {
            let sets: Vec<_> = self.reproduce.data_sets().iter().filter_map(name).collect();
            let (expected, cure) = match &sets[..] {
                [] => ("none: this table has figures of one data set".into(), "leave it out"),
                sets => (
                    format!("{} for {}", sets.join(" or "), self.reproduce.name()),
                    "leave it out, or name one of these",
                ),
            };
            let found = name(&set).unwrap_or_default();
            return Err(refuse("--data-set", found, &expected, cure));
        }
        if let (Some(steps), false) = (self.upper_steps, self.reproduce.has_upper_steps()) {
            let expected = "none: only iaptt-table-3 and penalty-table-2 read it";
            return Err(refuse("--upper-steps", steps, expected, "leave it out"));
        }
        if let (Some(dir), Preset::Full) = (&self.data_dir, self.preset)
            && !self.reproduce.data_sets().is_empty()
            && cifar::is_in(dir)? != (self.data_set == Some(DataSet::Cifar10))
        {
            let set = self.data_set.or(self.reproduce.data_sets().first().copied());
            let found = dir.display();
            let expected =
                format!("a folder of {}", set.as_ref().and_then(name).unwrap_or_default());
            let cure = "name the data set of this folder by --data-set, or another folder";
            return Err(refuse("--data-dir", found, &expected, cure));
        }
        match (self.preset, &self.data_dir) {
            (Preset::Full, None) => Err(refuse(
                "--data-dir",
                "not given",
                "the folder of the paper's data",
                "name it, or take --preset small",
            )),
            (Preset::Small, Some(dir)) => Err(refuse(
                "--data-dir",
                dir.display(),
                "none with --preset small, which is on the embedded digits",
                "leave it out, or take --preset full",
            )),
            (_, dir) => Ok(dir.clone()),
        }
    }
}
