"use strict";
// Colours of M. Okabe and K. Ito; where they come round again lines are dashed. Baselines are grey.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const DASHES = [[], [8, 8], [3, 3], [14, 14], [14, 4], [3, 9], [24, 8]];

function stroke(line, place) {
  if (line.baseline) return { stroke: "#777", dash: [[3, 3], [10, 10], [6, 6]][place % 3] };
  return { stroke: COLOURS[place % 6], dash: DASHES[Math.floor(place / 6) % DASHES.length] };
}

function number(value) {
  if (value === null || value === undefined) return "-";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(3).replace(/\.?0+e/, "e") : String(+value.toPrecision(5));
}

// The width of an axis upwards, by its longest label.
function width(chart, labels, at, cycle) {
  // A width that changes again and again is not improved.
  if (cycle > 1) return chart.axes[at]._size;
  return 20 + 7.5 * Math.max(6, ...(labels || []).map((label) => label.length));
}

// A panel, its axis to the right chosen by `at`, its axis upwards logarithmic or not; the lines in `hidden` are not
// shown.
function plot(panel, into, at, logarithmic, hidden) {
  const places = { true: 0, false: 0 };
  const series = [{ label: panel.axes[at], value: (u, value) => number(value) }];
  const tables = [], bands = [];
  // The edges of the band of a line, by the place of the line.
  const edges = new Map();
  let look = null;
  const shown = (values) => values.map((v) => (v === null || (logarithmic && v <= 0) ? null : v));
  for (const line of panel.lines) {
    if (!line.mark || look === null) look = stroke(line, places[line.baseline]++);
    const of = (values) => tables.push([line.x[at], shown(values)]);
    if (line.low.length > 0) {
      const edge = { stroke: "transparent", width: 0, points: { show: false }, value: (u, v) => number(v) };
      series.push({ ...edge, label: line.label }, { ...edge, label: line.label });
      of(line.low);
      of(line.high);
      const both = [series.length - 1, series.length - 2];
      bands.push({ series: both, fill: look.stroke + "22" });
      edges.set(series.length, both);
    }
    const single = line.y.length === 1;
    series.push({ label: line.label, width: 2, spanGaps: true, ...look, value: (u, v) => number(v),
      points: { show: single, size: single ? 9 : 5, fill: look.stroke } });
    of(line.y);
  }
  // Each table has its own places; rows that are not ascending, as seconds may stand still, are sorted.
  const sorted = tables.map(([x, y]) => {
    const order = x.map((_, i) => i).sort((a, b) => x[a] - x[b]);
    return [order.map((i) => x[i]), order.map((i) => y[i])];
  });
  const data = sorted.length > 0 ? uPlot.join(sorted) : [[]];
  series.forEach((line, place) => (line.show = !hidden.has(place)));
  const ofLine = (chart, place, { show }) => {
    if (place === null || show === undefined) return;
    for (const edge of edges.get(place) || []) {
      if (chart.series[edge].show !== show) chart.setSeries(edge, { show });
    }
  };
  // A band is named by its line.
  const unnamed = (chart) => {
    const rows = chart.root.querySelectorAll(".u-legend .u-series");
    for (const edge of [...edges.values()].flat()) rows[edge].style.display = "none";
  };
  return new uPlot({
    title: panel.title,
    width: Math.min(1100, into.clientWidth || 1100),
    height: 380,
    scales: { x: { time: false }, y: { distr: logarithmic ? 3 : 1 } },
    axes: [{ label: panel.axes[at] }, { label: panel.quantity, size: width,
      values: (u, ticks) => ticks.map((v) => (v === null ? "" : number(v))) }],
    series, bands, hooks: { ready: [unnamed], setSeries: [ofLine] }, cursor: { drag: { x: true, y: true, uni: 20 } },
  }, data, into);
}

function show(panel, into) {
  const controls = into.appendChild(document.createElement("div"));
  controls.className = "controls";
  const axis = document.createElement("select");
  panel.axes.forEach((name, i) => axis.add(new Option("against " + name, i)));
  const label = document.createElement("label");
  const box = label.appendChild(document.createElement("input"));
  box.type = "checkbox";
  box.checked = panel.logarithmic;
  label.append(" logarithmic");
  const save = document.createElement("button");
  save.textContent = "save as PNG";
  const hint = document.createElement("span");
  hint.textContent = "drag to zoom, double-click to go back, click a name to hide its line";
  controls.append(axis, label, save, hint);
  const place = into.appendChild(document.createElement("div"));
  let chart = null;
  const draw = () => {
    const hidden = new Set();
    if (chart) {
      chart.series.forEach((line, place) => line.show || hidden.add(place));
      chart.destroy();
    }
    chart = plot(panel, place, Number(axis.value), box.checked, hidden);
    into.chart = chart;
  };
  save.onclick = () => {
    const link = document.createElement("a");
    link.download = (panel.quantity + ".png").replace(/[^\w.]+/g, "-");
    link.href = chart.ctx.canvas.toDataURL("image/png");
    link.click();
  };
  axis.onchange = box.onchange = draw;
  draw();
}

const panels = JSON.parse(document.getElementById("panels").textContent);
for (const panel of panels) {
  const into = document.getElementById("curves").appendChild(document.createElement("div"));
  into.className = "panel";
  show(panel, into);
}
