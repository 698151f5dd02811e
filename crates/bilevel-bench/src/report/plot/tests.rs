use super::*;

fn figure(points: &[&[(f64, f64)]]) -> String {
    drawn(points, Axis::Logarithmic("loss"))
}

fn drawn(points: &[&[(f64, f64)]], quantity: Axis) -> String {
    let line = |(at, points): (usize, &&[(f64, f64)])| Line {
        label: format!("method-{at}"),
        stroke: Stroke::method(at),
        points: points.to_vec(),
        band: Vec::new(),
        mark: None,
    };
    let lines = points.iter().enumerate().map(line).collect();
    let axis = Axis::Linear("steps");
    svg("figure", &[Panel { title: "panel".into(), axis, quantity, lines }]).unwrap()
}

#[test]
fn one_point_is_a_mark_and_a_logarithmic_axis_has_labels() {
    let text = figure(&[&[(1.0, 0.5)]]);
    assert!(text.contains("<circle"), "{text}");
    let labels = text.lines().filter(|line| line.trim().starts_with("0."));
    assert!(labels.count() >= 2, "{text}");
    assert!(!figure(&[&[(0.0, 0.5), (1.0, 0.6)]]).contains("<circle"));
}

/// The labels of the vertical axis, then those of the horizontal one.
fn labels(text: &str) -> Vec<String> {
    let numbers = text.lines().map(str::trim).filter(|line| line.parse::<f64>().is_ok());
    numbers.map(str::to_owned).collect()
}

#[test]
fn a_constant_has_an_axis_of_a_unit_and_whole_numbers_have_whole_ticks() {
    let at = |quantity, value| labels(&drawn(&[&[(0.0, value), (2.0, value)]], quantity));
    let [count, share] = [Axis::Linear("modes"), Axis::Linear("accuracy (%)")];
    assert_eq!(at(count, 0.0), ["0", "0", "1", "2"]);
    assert_eq!(at(count, 14.0), ["14", "0", "1", "2"]);
    assert_eq!(at(share, 100.0), ["100", "0", "1", "2"]);
    let (low, high) = share.around(97.0, 100.0);
    assert!(low < 97.0 && high == 100.0, "{low} to {high}");
    assert_eq!(share.around(-1.0, 101.0).0.signum(), -1.0, "no percentage");
    let thirds = at(Axis::Linear("loss"), 1.0 / 3.0);
    assert!(
        thirds[..thirds.len() - 3]
            .iter()
            .all(|label| label.len() == 3 + usize::from(label.starts_with('-')))
    );
    assert_eq!(short(-1e-9, 1.0), "0.0");
    assert_eq!(short(1.2e22, 3e22), "1.2e22");
}

#[test]
fn the_axis_of_steps_starts_where_the_steps_do() {
    let first = |from, to| {
        let all = labels(&figure(&[&[(from, 0.5), (to, 0.6)]]));
        all.into_iter().find(|label| !label.contains('.')).unwrap()
    };
    assert_eq!([first(0.0, 9.0), first(1.0, 9.0), first(2.0, 4.0)], ["0", "0", "2"]);
}

#[test]
fn what_is_not_drawn_is_not_in_the_legend() {
    let text = figure(&[&[(0.0, 0.5), (1.0, 0.6)], &[], &[(1.0, f64::NAN)]]);
    assert!(text.contains("method-0") && !text.contains("method-1"));
    assert!(!text.contains("method-2"));
}

#[test]
fn a_zero_on_a_logarithmic_axis_does_not_flatten_the_others() {
    let text = figure(&[&[(0.0, 0.5), (1.0, 0.0), (2.0, 0.6)]]);
    assert!(labels(&text).iter().all(|label| !label.contains('e')), "{text}");
}

#[test]
fn the_names_of_many_lines_stand_inside_of_the_figure() {
    let strokes: Vec<Stroke> = (0..38).map(Stroke::method).collect();
    assert!(strokes.iter().enumerate().all(|(at, stroke)| !strokes[..at].contains(stroke)));
    let lines: Vec<Vec<(f64, f64)>> =
        (0..38).map(|at| vec![(0.0, 1.0), (9.0, 1.0 + 0.01 * f64::from(at))]).collect();
    let lines: Vec<&[(f64, f64)]> = lines.iter().map(|line| &line[..]).collect();
    let text = figure(&lines);
    let number = |line: &str, name: &str| -> Option<f64> {
        line.split_once(&format!(" {name}=\""))?.1.split('"').next()?.parse().ok()
    };
    let (width, height) = (number(&text, "width").unwrap(), number(&text, "height").unwrap());
    let (mut names, mut ends) = (0, Vec::new());
    for (line, next) in text.lines().zip(text.lines().skip(1)) {
        if next.starts_with("method-") {
            let (x, y) = (number(line, "x").unwrap(), number(line, "y").unwrap());
            assert!(x + 7.0 * 9.0 < width && y < height, "{line}");
            names += 1;
            ends.extend((names <= 38).then_some(y));
        }
    }
    assert_eq!(names, 76, "at the ends and in the legend");
    ends.sort_by(f64::total_cmp);
    assert!(ends[0] > f64::from(TITLE) + 10.0, "below the title: {ends:?}");
    assert!(ends.windows(2).all(|pair| pair[1] - pair[0] >= 12.0), "{ends:?}");
}
