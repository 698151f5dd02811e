//! The two losses.

use bilevel_core::{Batch, BilevelProblem};
use bilevel_models::{ImageClassifier, cross_entropy};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor};

/// x: atoms and a classifier of codes.
#[derive(Module, Debug)]
pub struct Learned {
    /// `[atoms, features]`
    atoms: Param<Tensor<2>>,
    /// From codes, `[n, 1, 1, atoms]`.
    classifier: ImageClassifier,
}

impl Learned {
    /// These atoms, `[atoms, features]`.
    pub fn new(atoms: Tensor<2>, classifier: ImageClassifier) -> Self {
        Self { atoms: Param::from_tensor(atoms), classifier }
    }

    /// The same atoms with another classifier.
    pub fn with_classifier(self, classifier: ImageClassifier) -> Self {
        Self { classifier, ..self }
    }

    /// The atoms, each of norm 1.
    pub fn atoms(&self) -> Tensor<2> {
        let atoms = self.atoms.val();
        let squares = atoms.clone().powi_scalar(2).sum_dim(1);
        atoms / (squares + 1e-12).sqrt()
    }

    /// The logits of codes, `[n, atoms]`.
    pub fn logits(&self, codes: Tensor<2>) -> Tensor<2> {
        let [n, atoms] = codes.dims();
        self.classifier.forward(codes.reshape([n, 1, 1, atoms]))
    }
}

/// y: the codes of a batch, `[n, atoms]`.
#[derive(Module, Debug)]
pub struct Codes {
    codes: Param<Tensor<2>>,
}

impl Codes {
    /// Zero for `n` images.
    pub fn zero(n: usize, atoms: usize, device: &Device) -> Self {
        Self { codes: Param::from_tensor(Tensor::zeros([n, atoms], device)) }
    }

    /// The codes.
    pub fn values(&self) -> Tensor<2> {
        self.codes.val()
    }
}

/// A batch of images.
#[derive(Clone, Debug, Batch)]
pub struct Signals {
    /// Of norm 1, `[n, features]`.
    pub images: Tensor<2>,
    /// `[n]`
    pub labels: Tensor<1, Int>,
    /// The Laplacian of the graph of neighbours, `[n, n]`.
    pub laplacian: Option<Tensor<2>>,
}

/// The choice of F.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The error of the classifier.
    Classify,
    /// The error of the reconstruction.
    Reconstruct,
}

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Dictionary {
    /// The choice of F.
    pub goal: Goal,
    /// l2
    pub ridge: f64,
    /// m
    pub laplacian: f64,
    /// v
    pub decay: f64,
}

/// `1/2 sum_i norm(u_i - D' y_i)^2`
fn reconstruction(x: &Learned, y: &Codes, signals: &Signals) -> Tensor<1> {
    let error = y.values().matmul(x.atoms()) - signals.images.clone();
    error.powi_scalar(2).sum() * 0.5
}

/// The sum of the squares of all variables.
fn squared_norm(module: &ImageClassifier) -> Option<Tensor<1>> {
    struct Sum(Option<Tensor<1>>);
    impl ModuleVisitor for Sum {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let square = param.val().powi_scalar(2).sum();
            self.0 = Some(match self.0.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
    let mut sum = Sum(None);
    module.visit(&mut sum);
    sum.0
}

impl BilevelProblem for Dictionary {
    type Upper = Learned;
    type Lower = Codes;
    type Batch = Signals;

    fn upper_loss(&self, x: &Learned, y: &Codes, signals: &Signals) -> Tensor<1> {
        match self.goal {
            Goal::Reconstruct => reconstruction(x, y, signals) / signals.images.dims()[0] as f64,
            Goal::Classify => {
                let fit = cross_entropy(x.logits(y.values()), signals.labels.clone()).mean();
                match squared_norm(&x.classifier) {
                    Some(square) => fit + square * (0.5 * self.decay),
                    None => fit,
                }
            }
        }
    }

    fn lower_loss(&self, x: &Learned, y: &Codes, signals: &Signals) -> Tensor<1> {
        let codes = y.values();
        let size = codes.clone().powi_scalar(2).sum() * (0.5 * self.ridge);
        let loss = reconstruction(x, y, signals) + size;
        match &signals.laplacian {
            Some(laplacian) => {
                let spread = (laplacian.clone().matmul(codes.clone()) * codes).sum();
                loss + spread * (0.5 * self.laplacian)
            }
            None => loss,
        }
    }
}
