use bilevel_core::{Error, Iterate, JointMethod, Level, Loss, Rates, Seen, Snapshot, Wrt};
use burn::tensor::{Tensor, TensorData};

/// Steps between two looks at F.
const LOOK: usize = 20;

/// Training without an upper level: y descends f, x stays. F is only looked at, every [`LOOK`] steps, and what was
/// seen last is reported in between: a step is to cost what training costs.
#[derive(Debug)]
pub(super) struct Plain {
    rates: Rates,
    upper_loss: Option<Loss>,
}

impl Plain {
    pub fn new(rates: Rates) -> Self {
        Self { rates, upper_loss: None }
    }
}

impl JointMethod for Plain {
    fn describe(&self) -> String {
        format!("plain({})", self.rates)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let samples = at.draw();
        let stage = at.stage(samples);
        let upper_loss = match self.upper_loss.take() {
            Some(seen) if !k.is_multiple_of(LOOK) => seen,
            _ => stage.value(Level::Upper, &at.y),
        };
        let (lower_loss, sides) = stage.gradient(Level::Lower, &at.y, Wrt::Lower);
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
