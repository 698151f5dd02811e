//! What a dynamics that wraps another one leaves unchanged.

/// The methods named, as those of `self.inner`.
macro_rules! inherit {
    ($($name:ident)*) => { $(inherit!(@ $name);)* };
    (@ check) => {
        fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
            self.inner.check(x, y)
        }
    };
    (@ objective) => {
        fn objective(&self, t: usize) -> WeightedSum {
            self.inner.objective(t)
        }
    };
    (@ samples) => {
        fn samples(&self, t: usize, given: Samples) -> Samples {
            self.inner.samples(t, given)
        }
    };
    (@ lowers_f) => {
        fn lowers_f(&self) -> bool {
            self.inner.lowers_f()
        }
    };
    (@ start) => {
        fn start(&self, y: &Vector) -> State {
            self.inner.start(y)
        }

        fn start_adjoint(&self, adjoint: State) -> Vector {
            self.inner.start_adjoint(adjoint)
        }
    };
    (@ query) => {
        fn query(&self, t: usize, state: &State) -> Vector {
            self.inner.query(t, state)
        }

        fn query_adjoint(&self, t: usize, at_query: &Vector, adjoint: State) -> State {
            self.inner.query_adjoint(t, at_query, adjoint)
        }
    };
    (@ at_rest) => {
        fn at_rest(&self, t: usize, state: &State) -> Option<Tensor<1>> {
            self.inner.at_rest(t, state)
        }
    };
    (@ steady) => {
        fn steady(&self, t: usize, x: &Vector, y: &Vector, slope: &Vector) -> State {
            self.inner.steady(t, x, y, slope)
        }
    };
    (@ optimality) => {
        fn optimality(&self, t: usize, x: &Vector, y: &Vector, slope: &Vector) -> Option<Vector> {
            self.inner.optimality(t, x, y, slope)
        }
    };
    (@ update) => {
        fn step(&self, at: &Update<'_>) -> State {
            self.inner.step(at)
        }

        fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
            self.inner.tangent(at, along)
        }

        fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
            self.inner.adjoint(at, adjoint)
        }
    };
}

pub(super) use inherit;
