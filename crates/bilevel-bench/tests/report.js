// Runs within a page of a run, and writes to `data-result` of its body what a reader would see go wrong; or "ok".
const pause = () => new Promise((done) => setTimeout(done, 50));
// The number of pixels of a colour, which covers white by a share.
const pixels = (chart, colour, share = 1) => {
  const { canvas } = chart.ctx;
  const { data } = chart.ctx.getImageData(0, 0, canvas.width, canvas.height);
  // The canvas is transparent, its pixels are not multiplied by their share.
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const near = (found, wanted) => Math.abs(found - wanted) <= (share < 1 ? 4 : 0);
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    count += near(data[at], r) && near(data[at + 1], g) && near(data[at + 2], b) && near(data[at + 3], 255 * share);
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
    const rows = () => [...panel.querySelectorAll(".u-legend .u-series")];
    const click = () => rows()[at].querySelector("th").click();
    const names = rows().filter((row) => getComputedStyle(row).display !== "none").map((row) => row.querySelector("th").textContent);
    check("has one name: " + names, names.length === new Set(names).size);
    const before = await drawn();
    check("is drawn", before > 50);
    const banded = chart.bands.length > 0;
    const band = () => pixels(panel.chart, colour, 0x22 / 255);
    const wide = band();
    check("has a band", !banded || wide > 50);
    click();
    check("vanishes when its name is clicked", (await drawn()) < before / 2);
    check("vanishes with its band", !banded || band() < wide / 2);
    const axis = panel.querySelector("select");
    const against = (place) => {
      axis.value = place;
      axis.dispatchEvent(new Event("change"));
    };
    against("1");
    check("stays hidden against another axis", (await drawn()) < before / 2);
    against("0");
    click();
    check("comes back", Math.abs((await drawn()) - before) <= before / 20);
    check("comes back with its band", !banded || band() > wide / 2);
    against("1");
    check("is drawn against another axis", (await drawn()) > 50);
    panel.querySelector("input").click();
    check("is drawn on a logarithmic axis", (await drawn()) > 50);
    panel.querySelector("input").click();
    panel.chart.setScale("y", { min: -1.5e22, max: -1e22 });
    await pause();
    const { ctx, axes } = panel.chart;
    ctx.save();
    ctx.font = axes[1].font[0];
    const widest = Math.max(...axes[1]._values.map((label) => ctx.measureText(label).width)) / devicePixelRatio;
    ctx.restore();
    check(`has whole labels of ${widest} in ${axes[1]._size}`, widest > 40 && widest + 15 <= axes[1]._size);
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
