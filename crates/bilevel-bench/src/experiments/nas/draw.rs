//! The picture of a cell, as SVG.

use std::fmt::Write;

use bilevel_models::{CellGraph, Operation};

/// The distance between two nodes, the size of a node, and the margin, in pixels.
const STEP: usize = 190;
const NODE: usize = 44;
const ROOM: usize = 30;
/// How far an edge bends away from the line of the nodes, for each node that it passes, and the first.
const BEND: usize = 46;

/// The colour of an operation: grey if it has no weights.
fn colour(operation: Operation) -> &'static str {
    match operation {
        Operation::Zero | Operation::Identity => "#777777",
        Operation::MaxPool | Operation::AveragePool => "#009e73",
        Operation::Separable3 | Operation::Separable5 => "#0072b2",
        Operation::Dilated3 | Operation::Dilated5 => "#d55e00",
    }
}

/// Draws cells below one another, each with its name: inputs on the left, inner nodes, the output on the right.
pub fn cells(drawn: &[(&str, &CellGraph)]) -> String {
    let nodes = drawn.iter().map(|(_, graph)| graph.nodes).max().unwrap_or(0) + 3;
    let height = 2 * (ROOM + BEND * nodes);
    let mut body = String::new();
    for (at, (name, graph)) in drawn.iter().enumerate() {
        let middle = at * height + height / 2;
        let _ = writeln!(body, "<text x=\"8\" y=\"{}\">{name}</text>", at * height + ROOM);
        cell(&mut body, graph, middle);
    }
    let (width, height) = (nodes * STEP, height * drawn.len());
    format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn cell(to: &mut String, graph: &CellGraph, middle: usize) {
    let centre = |node: usize| ROOM + NODE + node * STEP;
    for (at, edge) in graph.edges.iter().enumerate() {
        for &operation in &edge.operations {
            let (left, right) = (centre(edge.from), centre(edge.to));
            // Edges between neighbours are flat, the others alternately pass above and below the nodes.
            let passed = edge.to - edge.from - 1;
            let bend = BEND * passed;
            let control = if at % 2 == 0 { middle - 2 * bend } else { middle + 2 * bend };
            let label = (middle + control) / 2;
            let colour = colour(operation);
            let _ = writeln!(
                to,
                "<path d=\"M {left} {middle} Q {between} {control} {right} {middle}\" fill=\"none\" \
                 stroke=\"{colour}\" stroke-width=\"2\"/>\n\
                 <text x=\"{between}\" y=\"{}\" text-anchor=\"middle\" fill=\"{colour}\">{}</text>",
                label - 6,
                operation.name(),
                between = (left + right) / 2,
            );
        }
    }
    let output = graph.nodes + 2;
    for node in 2..output {
        let _ = writeln!(
            to,
            "<path d=\"M {} {middle} Q {} {} {} {middle}\" fill=\"none\" stroke=\"#bbbbbb\" \
             stroke-dasharray=\"4 3\"/>",
            centre(node),
            (centre(node) + centre(output)) / 2,
            middle + BEND * (output - node - 1) / 2,
            centre(output),
        );
    }
    for node in 0..=output {
        let name = match node {
            0 => "k - 2".to_owned(),
            1 => "k - 1".to_owned(),
            inner if inner < output => (inner - 2).to_string(),
            _ => "k".to_owned(),
        };
        let fill = if (2..output).contains(&node) { "#e8f1f8" } else { "#eeeeee" };
        let _ = writeln!(
            to,
            "<rect x=\"{}\" y=\"{}\" width=\"{NODE}\" height=\"{}\" rx=\"6\" fill=\"{fill}\" stroke=\"#333333\"/>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            centre(node) - NODE / 2,
            middle - NODE / 3,
            2 * NODE / 3,
            centre(node),
            middle + 5,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_is_drawn_with_its_operation() {
        let (mixed, skips) = (CellGraph::mixed(1), CellGraph::identities(2));
        let svg = cells(&[("mixed", &mixed), ("skips", &skips)]);
        for operation in Operation::ALL {
            assert!(svg.contains(operation.name()), "{}", operation.name());
        }
        assert_eq!(svg.matches(">identity<").count(), 2 + 4);
        assert!(svg.contains("mixed") && svg.contains("skips"));
    }
}
