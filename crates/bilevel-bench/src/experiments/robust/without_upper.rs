use bilevel_core::{Error, Iterate, JointMethod, Loss, Objective, Rates, Seen, Snapshot, Wrt};
use burn::tensor::{Tensor, TensorData};

/// Steps between two evaluations of F.
const LOOK: usize = 20;

/// Training without an upper level: y descends f, x is fixed. F is only evaluated every [`LOOK`] steps, and the last
/// value is reported in between: a step should cost what training costs.
#[derive(Debug)]
pub(super) struct WithoutUpper {
    rates: Rates,
    upper_loss: Option<Loss>,
}

impl WithoutUpper {
    pub fn new(rates: Rates) -> Self {
        Self { rates, upper_loss: None }
    }
}

impl JointMethod for WithoutUpper {
    fn name(&self) -> &'static str {
        "without-upper"
    }

    fn describe(&self) -> String {
        format!("without-upper({})", self.rates)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let samples = at.draw();
        let problem = at.problem(samples);
        let upper_loss = match self.upper_loss.take() {
            Some(seen) if !k.is_multiple_of(LOOK) => seen,
            _ => problem.value(Objective::Upper, &at.y),
        };
        let (lower_loss, sides) = problem.gradient(Objective::Lower, &at.y, Wrt::Y);
        let along_y = sides.into_y();
        at.move_y(self.rates.lower.at(k), &along_y);
        self.upper_loss = Some(upper_loss.clone());
        Ok(Seen { upper_loss, lower_loss, along_x: at.x.zeros_like(), along_y, rest: 0.0 })
    }

    fn save(&self, to: &mut Snapshot) {
        if let Some(seen) = &self.upper_loss {
            to.put_numbers("upper_loss", &[seen.read()]);
        }
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        if from.has("upper_loss") {
            let seen = TensorData::new(vec![from.take_number("upper_loss")?], [1]);
            self.upper_loss = Some(Loss::new(Tensor::from_data(seen, &at.x.device())));
        }
        Ok(())
    }
}
