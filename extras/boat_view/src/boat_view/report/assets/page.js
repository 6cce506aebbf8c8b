// Draws the charts of the page with uPlot. All data is in the element "charts".
"use strict";
(() => {
  const root = document.documentElement;
  const HEIGHT = 260, PRINTED_WIDTH = 620, COLORS = 8;
  const DASHES = [[], [8, 4], [2, 3], [8, 3, 2, 3]];
  const color = name => getComputedStyle(root).getPropertyValue(name).trim();
  const text = value => value == null ? "–" : String(Number(value.toPrecision(5)));
  let charts = [];
  // What the reader has chosen for each chart, kept while a live page is renewed.
  const scales = new Map();

  // A band is drawn between two more series, which follow the one in the middle and have no place in the legend.
  function seriesOf(spec) {
    const tables = [], series = [{ label: spec.x, value: (_, v) => text(v) }], bands = [], followers = new Map();
    for (const curve of spec.curves) {
      const stroke = color(`--c${curve.color % COLORS}`), at = series.length;
      const dash = DASHES[Math.floor(curve.color / COLORS) % DASHES.length];
      series.push({ label: curve.label, stroke, width: 1.75, dash, points: { show: false }, value: (_, v) => text(v) });
      if (curve.low) {
        for (const edge of ["low", "high"]) series.push({ label: edge, stroke: "transparent", width: 0, points: { show: false } });
        bands.push({ series: [at + 2, at + 1], fill: stroke + "30" });
        followers.set(at, [at + 1, at + 2]);
      }
      tables.push(curve.low ? [curve.x, curve.y, curve.low, curve.high] : [curve.x, curve.y]);
    }
    return { data: uPlot.join(tables), series, bands, followers };
  }

  function extent(spec) {
    let least = Infinity, largest = -Infinity;
    for (const curve of spec.curves)
      for (const values of [curve.y, curve.low || [], curve.high || []])
        for (const value of values) if (value != null) { least = Math.min(least, value); largest = Math.max(largest, value); }
    return [least, largest];
  }

  class Chart {
    constructor(place, spec) {
      this.place = place;
      this.spec = spec;
      const [least, largest] = extent(spec);
      this.key = `${spec.title} over ${spec.x}`;
      this.log = least > 0 && (scales.get(this.key) ?? largest > 1000 * least);
      if (least > 0) this.addSwitch();
      this.draw();
      this.watch = new ResizeObserver(() => this.resize());
      this.watch.observe(place);
    }

    addSwitch() {
      const label = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox";
      box.checked = this.log;
      box.addEventListener("change", () => { this.log = box.checked; scales.set(this.key, this.log); this.draw(); });
      label.append(box, " log scale");
      this.place.querySelector("figcaption").append(label);
    }

    get width() {
      const style = getComputedStyle(this.place);
      const inner = this.place.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
      return root.classList.contains("printing") ? PRINTED_WIDTH : Math.max(200, Math.floor(inner));
    }

    draw() {
      if (this.plot) this.plot.destroy();
      const { data, series, bands, followers } = seriesOf(this.spec);
      const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 } };
      const options = {
        width: this.width, height: HEIGHT, series, bands,
        scales: { x: { time: false }, y: this.log ? { distr: 3 } : {} },
        axes: [
          { ...axis, label: this.spec.x, labelSize: 22, size: 34, labelFont: "12px system-ui, sans-serif" },
          { ...axis, size: 66, values: (_, marks) => marks.map(mark => mark == null ? "" : String(Number(mark.toPrecision(5)))) },
        ],
        cursor: { sync: { key: this.spec.x }, drag: { x: true, y: false } },
        hooks: {
          setSeries: [(plot, at, change) => {
            if (change.show != null) for (const follower of followers.get(at) || []) plot.setSeries(follower, { show: change.show });
          }],
        },
      };
      this.plot = new uPlot(options, data, this.place);
      const rows = this.plot.root.querySelectorAll(".u-legend .u-series");
      for (const hidden of [...followers.values()].flat()) rows[hidden].style.display = "none";
    }

    resize() {
      if (this.plot && this.plot.width !== this.width) this.plot.setSize({ width: this.width, height: HEIGHT });
    }

    remove() {
      this.watch.disconnect();
      this.plot.destroy();
    }
  }

  function drawAll() {
    for (const chart of charts) chart.remove();  // also those whose place is gone
    const specs = JSON.parse(document.getElementById("charts").textContent);
    charts = [...document.querySelectorAll("[data-chart]")].map(place => new Chart(place, specs[Number(place.dataset.chart)]));
  }

  function redraw() {
    for (const chart of charts) chart.draw();
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => { root.classList.add("printing"); redraw(); });
  addEventListener("afterprint", () => { root.classList.remove("printing"); redraw(); });
  drawAll();

  // A live page asks its server every two seconds whether a file has changed, and if so takes over the new contents.
  const INTERVAL = 2000;

  function takeOver(renewed) {
    const sorted = document.querySelector("#runs th[aria-sort]"), top = scrollY;
    const open = new Map([...document.querySelectorAll("details")].map(one => [one.querySelector("summary").textContent, one.open]));
    document.querySelector("main").replaceWith(renewed.querySelector("main"));
    for (const one of document.querySelectorAll("details")) one.open = open.get(one.querySelector("summary").textContent) ?? one.open;
    drawAll();
    if (sorted) {
      const heading = document.querySelectorAll("#runs thead th")[sorted.cellIndex];
      heading.setAttribute("aria-sort", sorted.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
      heading.click();
    }
    root.dataset.live = renewed.documentElement.dataset.live;
    scrollTo(scrollX, top);
  }

  async function ask(address) {
    const answer = await fetch(address, { cache: "no-store" });
    const content = await answer.text();
    if (!answer.ok) throw new Error(content);
    return content;
  }

  async function follow() {
    const note = document.getElementById("live");
    try {
      if (await ask("state") !== root.dataset.live) takeOver(new DOMParser().parseFromString(await ask("./"), "text/html"));
      note.textContent = `This page follows the run. ${new Date().toLocaleTimeString()}`;
    } catch (error) {
      note.textContent = `This page shows the last state that it received. ${error instanceof TypeError ? "The server does not answer." : error.message}`;
    }
    setTimeout(follow, INTERVAL);
  }

  if (root.dataset.live) setTimeout(follow, INTERVAL);
})();
