//! What `Dual<B>` does with every method of the operation traits of burn-backend, as one list, with tests
//! that the list is complete, implemented, tested, and printed in `docs/COVERAGE.md`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The methods of one trait, by how a tangent is treated.
struct Coverage {
    name: &'static str,
    /// Its file under `src/backend/ops` of burn-backend.
    source: &'static str,
    /// A tangent rule, tested in `tests/rules`.
    rule: &'static str,
    /// Piecewise constant, or a newly created tensor: the tangent is exactly zero.
    zero: &'static str,
    /// Integer or boolean results: nothing to differentiate.
    discrete: &'static str,
    /// No number is computed: data, devices and the underlying graph.
    plain: &'static str,
    /// A panic that names the operation, tested in `tests/unsupported.rs`.
    unsupported: &'static str,
    /// Cases of the rules above that panic with the operation's name too, tested in the same file.
    refusals: &'static [(&'static str, &'static str)],
    /// The file in which `Dual` implements it.
    implementation: &'static str,
}

const BY_INDEX: &str = "a product, minimum or maximum by index";

const FLOAT: Coverage = Coverage {
    name: "FloatTensorOps",
    source: "tensor.rs",
    rule: "
        float_to_device float_repeat_dim float_add float_add_scalar float_clamp_min float_clamp_max
        float_clamp float_sub float_sub_scalar float_mul float_mul_scalar float_div float_div_scalar
        float_remainder float_remainder_scalar float_matmul float_cross float_neg float_recip
        float_transpose float_swap_dims float_permute float_flip float_reshape float_gather
        float_scatter float_scatter_nd float_gather_nd float_select float_select_assign float_slice
        float_slice_assign float_mask_where float_mask_fill float_mask_select float_set_require_grad float_sum
        float_sum_dim float_sum_dims float_prod float_prod_dim float_mean float_mean_dim float_cumsum float_cumprod
        float_cummin float_cummax float_cast float_exp float_log float_log1p float_powf float_powi
        float_powi_scalar float_powi_scalar_impl float_powf_scalar float_powf_scalar_impl float_sqrt
        float_hypot
        float_abs float_cos float_sin float_tan float_cosh float_sinh float_tanh float_acos
        float_acosh float_asin float_asinh float_atan float_atanh float_atan2 float_erf float_cat
        float_topk float_topk_with_indices float_max float_max_dim float_max_dim_with_indices float_min float_min_dim
        float_min_dim_with_indices float_max_abs float_max_abs_dim float_expand float_sort
        float_sort_with_indices float_grid_sample_2d float_unfold float_pad",
    zero: "
        float_round float_floor float_ceil float_trunc float_sign float_detach
        float_from_data float_random float_zeros float_ones float_full float_empty",
    discrete: "
        float_into_int float_equal float_not_equal float_equal_elem float_not_equal_elem
        float_greater float_greater_elem float_greater_equal float_greater_equal_elem float_lower
        float_lower_elem float_lower_equal float_lower_equal_elem float_argmax float_argtopk
        float_argmin float_any float_any_dim float_all float_all_dim float_argsort float_is_nan
        float_is_inf",
    plain: "float_into_data float_is_require_grad",
    unsupported: "",
    refusals: &[
        ("float_scatter", BY_INDEX),
        ("float_scatter_nd", BY_INDEX),
        ("float_select_assign", BY_INDEX),
    ],
    implementation: include_str!("../src/dual/ops/float.rs"),
};

const ACTIVATION: Coverage = Coverage {
    name: "ActivationOps",
    source: "activation.rs",
    rule: "
        leaky_relu relu relu_backward gelu prelu gelu_backward sigmoid sigmoid_backward hard_sigmoid
        log_sigmoid softmax log_softmax softmin log_sigmoid_backward",
    zero: "",
    discrete: "",
    plain: "",
    unsupported: "",
    refusals: &[],
    implementation: include_str!("../src/dual/ops/activation.rs"),
};

const MODULE: Coverage = Coverage {
    name: "ModuleOps",
    source: "modules/base.rs",
    rule: "
        embedding embedding_backward linear linear_x_backward linear_weight_backward
        linear_bias_backward conv1d conv1d_x_backward conv1d_weight_backward conv1d_bias_backward
        conv2d conv2d_x_backward conv2d_weight_backward conv2d_bias_backward deform_conv2d conv3d
        conv3d_x_backward conv3d_weight_backward conv3d_bias_backward conv_transpose1d
        conv_transpose1d_x_backward conv_transpose1d_weight_backward conv_transpose1d_bias_backward
        conv_transpose2d conv_transpose2d_x_backward conv_transpose2d_weight_backward
        conv_transpose2d_bias_backward conv_transpose3d conv_transpose3d_x_backward
        conv_transpose3d_weight_backward conv_transpose3d_bias_backward unfold4d fold4d avg_pool1d
        avg_pool1d_backward avg_pool2d avg_pool2d_backward adaptive_avg_pool2d
        adaptive_avg_pool2d_backward adaptive_avg_pool1d adaptive_avg_pool1d_backward
        adaptive_avg_pool3d adaptive_avg_pool3d_backward max_pool1d
        max_pool1d_with_indices max_pool1d_with_indices_backward max_pool2d max_pool2d_with_indices
        max_pool2d_with_indices_backward interpolate interpolate_backward attention layer_norm
        batch_norm batch_norm_train batch_norm_train_backward ctc_loss",
    zero: "",
    discrete: "",
    plain: "has_ctc_loss_backward",
    unsupported: "deform_conv2d_backward ctc_loss_backward",
    refusals: &[("deform_conv2d", "a tangent of the offsets")],
    implementation: include_str!("../src/dual/ops/module.rs"),
};

const TRAITS: [Coverage; 3] = [FLOAT, ACTIVATION, MODULE];

/// Traits without tangents, every method of which is forwarded to `B`: name, source, implementation, and the
/// methods that panic with their name if they receive a float tensor with a tangent.
const FORWARDED: [(&str, &str, &str, &str); 3] = [
    ("IntTensorOps", "int_tensor.rs", include_str!("../src/dual/ops/int.rs"), ""),
    ("BoolTensorOps", "bool_tensor.rs", include_str!("../src/dual/ops/bool.rs"), ""),
    (
        "QTensorOps",
        "qtensor.rs",
        include_str!("../src/dual/ops/quantized.rs"),
        "quantize quantize_dynamic q_matmul",
    ),
];

const RULES: [&str; 3] = [
    include_str!("rules/table/float.rs"),
    include_str!("rules/table/activation.rs"),
    include_str!("rules/table/module.rs"),
];

impl Coverage {
    /// Each class with its description.
    fn classes(&self) -> [(&'static str, &'static str); 5] {
        [
            ("a tangent rule", self.rule),
            ("the tangent is exactly zero", self.zero),
            ("nothing to differentiate: integers or booleans", self.discrete),
            ("no number is computed", self.plain),
            ("a tangent panics by name", self.unsupported),
        ]
    }
}

#[test]
fn every_method_stands_in_one_class() {
    for coverage in &TRAITS {
        let classes = coverage.classes().into_iter();
        let listed: Vec<&str> = classes.flat_map(|(_, list)| list.split_whitespace()).collect();
        let set: BTreeSet<String> = listed.iter().map(ToString::to_string).collect();
        assert_eq!(set.len(), listed.len(), "{} lists a method twice", coverage.name);
        assert_eq!(set, methods(coverage.source, coverage.name), "{}", coverage.name);
    }
}

/// A trait default would compute with `Dual`'s primitives although `B` may have its own kernel.
#[test]
fn no_method_is_left_to_its_default() {
    let tangents = TRAITS.iter().map(|c| (c.name, c.source, c.implementation));
    let forwarded =
        FORWARDED.map(|(name, source, implementation, _)| (name, source, implementation));
    for (name, source, implementation) in tangents.chain(forwarded) {
        let words = words(implementation);
        let missing: Vec<_> =
            methods(source, name).into_iter().filter(|m| !words.contains(m)).collect();
        assert!(missing.is_empty(), "{name}: not implemented by Dual: {missing:?}");
    }
}

#[test]
fn every_rule_and_every_refusal_is_tested() {
    let rules = words(&RULES.concat());
    let refusals = words(include_str!("unsupported.rs"));
    for coverage in &TRAITS {
        for method in coverage.rule.split_whitespace() {
            assert!(rules.contains(method), "no line of tests/rules calls {method}");
        }
        let partly = coverage.refusals.iter().map(|(method, _)| *method);
        for method in coverage.unsupported.split_whitespace().chain(partly) {
            assert!(refusals.contains(method), "tests/unsupported.rs does not call {method}");
        }
    }
    for method in FORWARDED.iter().flat_map(|(.., refused)| refused.split_whitespace()) {
        assert!(refusals.contains(method), "tests/unsupported.rs does not call {method}");
    }
}

/// `BLESS=1 cargo test -p bilevel-autodiff --test coverage` regenerates the page.
#[test]
fn the_docs_print_this_table() {
    let path = Path::new("../../docs/COVERAGE.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, page()).expect("the docs can be written");
    }
    // Ignores the line endings that git uses on Windows.
    let printed = std::fs::read_to_string(path).expect("the page is there").replace('\r', "");
    let cure = "run BLESS=1 cargo test -p bilevel-autodiff --test coverage";
    assert!(printed == page(), "docs/COVERAGE.md is not that of the table: {cure}");
}

fn page() -> String {
    let mut page = String::from(PREAMBLE);
    let list = |names: &str| {
        let names: Vec<_> = names.split_whitespace().map(|name| format!("`{name}`")).collect();
        (names.len(), names.join(" "))
    };
    for coverage in &TRAITS {
        write!(page, "\n## {}\n\n| what | | methods |\n|---|---|---|\n", coverage.name).unwrap();
        for (class, names) in coverage.classes() {
            let (count, names) = list(names);
            if count > 0 {
                writeln!(page, "| {class} | {count} | {names} |").unwrap();
            }
        }
        for (method, part) in coverage.refusals {
            write!(page, "\nOf `{method}`, {part} panics by name.\n").unwrap();
        }
    }
    page += "\n## Forwarded\n\n| trait | methods | a float with a tangent panics by name in |\n|---|---|---|\n";
    for (name, source, _, refused) in FORWARDED {
        let count = methods(source, name).len();
        writeln!(page, "| {name} | {count} | {} |", list(refused).1).unwrap();
    }
    page
}

const PREAMBLE: &str = "\
# What `Dual<B>` does with every operation of Burn 0.22

Every method of the operation traits of burn-backend stands in one class. The list is that of
`crates/bilevel-autodiff/tests/coverage.rs`, which proves it complete against the traits' source, finds
each method implemented (none is left to a default), each rule in the table of `tests/rules` and each
refusal in `tests/unsupported.rs`, and writes this page:

```sh
BLESS=1 cargo test -p bilevel-autodiff --test coverage
```
";

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').map(String::from).collect()
}

/// The methods that a trait declares, read from its source.
fn methods(file: &str, name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(sources().join(file)).expect("the source of burn-backend");
    let start = text.find(&format!("pub trait {name}<B: Backend>")).expect("the trait");
    let body = &text[start..];
    let body = &body[..body.find("\n}").expect("its end")];
    body.lines()
        .filter_map(|line| line.strip_prefix("    fn "))
        .map(|line| {
            words(line.split(['(', '<']).next().unwrap_or(line)).pop_last().unwrap_or_default()
        })
        .collect()
}

/// `src/backend/ops` of the burn-backend in use. Cargo has its source, because this test has been compiled.
fn sources() -> &'static Path {
    static SOURCES: OnceLock<PathBuf> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &host()])
            .output()
            .expect("cargo runs");
        let error = String::from_utf8_lossy(&output.stderr);
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("cargo metadata failed: {error}"));
        let packages = metadata["packages"].as_array().expect("a list of packages");
        let backend = packages.iter().find(|package| package["name"] == "burn-backend");
        let manifest = backend.and_then(|package| package["manifest_path"].as_str());
        Path::new(manifest.expect("burn-backend is a dependency")).with_file_name("src/backend/ops")
    })
}

/// The platform of this machine: crates for other platforms may not have been downloaded.
fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc says its host").to_owned()
}
