//! Odd settings.

use super::*;

/// What is put in the place of a setting, or into the text of one.
const ODD: [&str; 14] = [
    "-1",
    "0",
    "9223372036854775807",
    "1e308",
    "-1e-308",
    "nan",
    "-inf",
    "true",
    "\"\"",
    "\"x\"",
    "[]",
    "[-1, 0.0]",
    "{}",
    "1979-05-27",
];

/// The settings of every experiment that has a default for each.
fn settings() -> Vec<Complete> {
    let given = toml::from_str("device = \"flex\"").unwrap();
    let all: Vec<_> = EXPERIMENTS.iter().filter_map(|known| known.complete(&given).ok()).collect();
    assert!(all.len() > EXPERIMENTS.len() / 2);
    all
}

/// Reads a text, and what it becomes once more: the same.
fn read_settings(text: &str) -> bool {
    let Ok(table) = text.parse::<toml::Table>() else { return false };
    match Complete::read(table) {
        Ok(read) => {
            let again = Complete::read(read.table()).unwrap();
            assert_eq!((read.seed(), &read), (again.seed(), &again), "{text}");
            true
        }
        Err(error) => {
            let has_cure = |error: &BenchError| matches!(error, BenchError::Setting { cure, .. } if !cure.is_empty());
            assert!(has_cure(&error), "{error}");
            false
        }
    }
}

#[test]
fn no_settings_end_the_process() {
    for complete in settings() {
        let table = complete.table();
        assert!(read_settings(&table.to_string()), "{table}");
        for key in table.keys() {
            for odd in ODD {
                let mut table = table.clone();
                let value = format!("x = {odd}").parse::<toml::Table>().unwrap().remove("x");
                table.insert(key.clone(), value.unwrap());
                read_settings(&table.to_string());
            }
            let mut table = table.clone();
            table.remove(key);
            read_settings(&table.to_string());
        }
    }
}

#[test]
fn no_method_ends_the_process() {
    let whole = "rad, cg(damping = 0.1, solver-iterations = 3),T-RHG,gmres(tolerance = 1e-3)";
    let given = format!("device = \"flex\"\nmethod = \"{whole}\"").parse().unwrap();
    let complete = Complete::given("hyper-cleaning", &given).unwrap();
    let read = |text: &str| {
        let mut table = complete.table();
        table.insert("method".into(), text.into());
        read_settings(&table.to_string())
    };
    assert!(read(whole));
    let pieces =
        ["(", ")", "[", "]", "{", "}", ",", "=", "\"", "'", "\n", "#", "é", "all", "-", "9"];
    let places = || whole.char_indices().map(|(at, _)| at);
    let mut texts = Vec::new();
    for at in places() {
        texts.push(whole[..at].to_owned());
        texts.push(whole[at..].to_owned());
        texts.push([&whole[..at], &whole[at + 1..]].concat());
        texts.extend(
            pieces.iter().chain(&ODD).map(|piece| [&whole[..at], piece, &whole[at..]].concat()),
        );
    }
    let accepted = texts.iter().filter(|text| read(text)).count();
    assert!(accepted > 0 && accepted < texts.len(), "{accepted}");
}
