// Runs within a page of a run, and writes to `data-result` of its body what a reader would see go wrong; or "ok".
const pause = () => new Promise((done) => setTimeout(done, 50));
const pixels = (chart, colour) => {
  const { canvas } = chart.ctx;
  const { data } = chart.ctx.getImageData(0, 0, canvas.width, canvas.height);
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    count += data[at] === r && data[at + 1] === g && data[at + 2] === b && data[at + 3] === 255;
  }
  return count;
};
const expect = (what, found) => {
  if (!found) faults.push("expected " + what);
};

async function look() {
  const panels = [...document.querySelectorAll(".panel")];
  expect("a panel with curves", panels.length > 0);
  for (const panel of panels) {
    const { chart } = panel;
    const coloured = (at) => /^#\w{6}$/.test(chart.series[at].stroke(chart, at));
    const points = (at) => chart.data[at].filter((value) => value != null).length;
    // The line on top of all others.
    const at = chart.series.findLastIndex((line, at) => at > 0 && line.width > 0 && coloured(at) && points(at) > 1);
    const { label } = chart.series[at];
    const colour = chart.series[at].stroke(chart, at);
    const drawn = async () => (await pause(), pixels(panel.chart, colour));
    const check = (what, found) => expect(`${chart.axes[1].label}: ${label} ${what}`, found);
    const legend = panel.querySelectorAll(".u-legend .u-series")[at].querySelector("th");
    const before = await drawn();
    check("is drawn", before > 50);
    legend.click();
    check("vanishes when its name is clicked", (await drawn()) < before / 2);
    legend.click();
    check("comes back", Math.abs((await drawn()) - before) <= before / 20);
    const axis = panel.querySelector("select");
    axis.value = "1";
    axis.dispatchEvent(new Event("change"));
    check("is drawn against another axis", (await drawn()) > 50);
    panel.querySelector("input").click();
    check("is drawn on a logarithmic axis", (await drawn()) > 50);
  }
  expect("pictures that can be drawn", [...document.images].every((image) => image.naturalWidth > 0));
}

window.addEventListener("load", async () => {
  try {
    await look();
  } catch (error) {
    faults.push(String(error.stack));
  }
  document.body.dataset.result = faults.join("; ") || "ok";
});
