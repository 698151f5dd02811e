//! Flags that were renamed, or do not apply to every experiment.

/// Former flags, the commands that had them, and their new names.
const RENAMED: &[(&str, &[&str], &str)] = &[
    ("--backend", &[], "--device"),
    ("--steps", &[], "--lower-steps"),
    ("--model", &[], "--network"),
    ("--methods", &[], "--method"),
    ("--iterations", &["mwn", "mlc"], "--iterations"),
    ("--iterations", &[], "--solver-iterations"),
    ("--linear-steps", &[], "--solver-iterations"),
    ("--linear-rate", &[], "--solver-rate"),
    ("--noise-rate", &[], "--noise, and what --noise was, --noise-kind"),
    ("--looks", &[], "--evaluations"),
    ("--rounds", &["hpo"], "--evaluations"),
    ("--rounds", &[], "--repetitions"),
];

/// The error of experiments without `--shards`.
const UNDIVIDED: &str = "error: --shards is given, expected only for hyper-cleaning and few-shot: the losses of \
                         other experiments are not means over equal parts of their data, or not divided yet; leave it \
                         out, and see docs/SCALING.md";

/// The addition to clap's error if a flag was renamed, or does not apply to this experiment.
pub fn renamed(error: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = flag.split(['=', ' ']).next()?;
    if flag == "--shards" {
        return Some(UNDIVIDED.into());
    }
    let here = std::env::args().skip(1).collect::<Vec<_>>();
    let fits = |commands: &[&str]| {
        commands.is_empty() || commands.iter().any(|c| here.iter().any(|arg| arg == c))
    };
    let found = RENAMED.iter().find(|(old, commands, _)| *old == flag && fits(commands))?;
    Some(format!("error: {flag} is called {} now", found.2))
}
