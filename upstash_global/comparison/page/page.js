"use strict";
// Draws what stands in #results. A chart says in `data-ink` how many of its pixels are coloured: a test looks there.

const results = JSON.parse(document.getElementById("results").textContent);
const COLOURS = ["#c8553d", "#e5a020", "#169182", "#3567d6", "#8a4fd0"];
const PERCENTILES = ["p50", "p90", "p99", "p99.9"];
const targets = results.targets.map((target, i) => ({ ...target, colour: COLOURS[i % COLOURS.length] }));
const labelOf = Object.fromEntries(results.places.map((place) => [place.name, place.label]));
const chosen = { phase: "writes", place: null };
const charts = [];

const byId = (id) => document.getElementById(id);
const ms = (value) => (value === null || value === undefined ? "–" : value >= 99.95 ? value.toFixed(0) : value.toFixed(1));
const percent = (value) => (value === null ? "–" : (100 * value).toFixed(1) + " %");
const readRow = (phase, target, place) =>
  results.reads.find((row) => row.phase === phase && row.target === target && row.place === place);
const writeRow = (target, place) => results.writes.find((row) => row.target === target && row.place === place);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// -- tables

function named(target) {
  const cell = element("td");
  const swatch = element("span", "", "swatch");
  swatch.style.background = target.colour;
  cell.append(swatch, target.label);
  return cell;
}

// `groups`: [text, columns] above the headings. A cell is text or an element.
function fill(id, headings, rows, groups) {
  const head = element("thead");
  if (groups) {
    const line = element("tr", undefined, "groups");
    for (const [text, columns] of groups) {
      const cell = element("th", text);
      cell.colSpan = columns;
      line.append(cell);
    }
    head.append(line);
  }
  const line = element("tr");
  line.append(...headings.map((heading) => element("th", heading)));
  head.append(line);
  const body = element("tbody");
  for (const row of rows) {
    const made = element("tr");
    made.append(...row.map((cell) => (cell instanceof Element ? cell : element("td", cell))));
    body.append(made);
  }
  byId(id).append(head, body);
}

function latencies(row) {
  return PERCENTILES.map((name) => ms(row.latency_ms[name]));
}

function fillTables() {
  fill(
    "writes",
    ["", "reads", ...PERCENTILES, "hits", "dropping", "misses", "share", "p50", "p99", "most", "p50", "p99", "p50", "p99"],
    targets.map((target) => {
      const row = readRow("writes", target.name, null);
      const write = writeRow(target.name, null);
      return [
        named(target), String(row.reads), ...latencies(row),
        percent(row.hit_share), percent(row.dropping_hit_share), percent(row.miss_share),
        percent(row.stale_share), ms(row.staleness_ms.p50), ms(row.staleness_ms.p99), ms(row.staleness_max_ms),
        ms(row.receipt_ms.p50), ms(row.receipt_ms.p99), ms(write.latency_ms.p50), ms(write.latency_ms.p99),
      ];
    }),
    [["", 2], ["latency", 4], ["cache", 3], ["stale, behind by", 4], ["receipt", 2], ["write", 2]],
  );
  for (const phase of ["hot", "cold"]) {
    fill(
      phase,
      ["", "reads", ...PERCENTILES, "hits", "misses", "failed"],
      targets.map((target) => {
        const row = readRow(phase, target.name, null);
        return [named(target), String(row.reads), ...latencies(row), percent(row.hit_share), percent(row.miss_share), String(row.failed)];
      }),
    );
  }
  const bounded = targets.filter((target) => results.bounds.some((row) => row.target === target.name));
  fill(
    "bounds",
    ["", ...bounded.flatMap(() => ["by", "one way", "behind", "stale"])],
    results.places.map((place) => [
      `${place.label}`,
      ...bounded.flatMap((target) => {
        const row = results.bounds.find((each) => each.target === target.name && each.place === place.name);
        const behind = row.staleness_p99_ms ?? row.staleness_max_ms;
        const read = readRow("writes", target.name, place.name);
        return [labelOf[row.by] ?? row.by, ms(row.one_way_ms), element("td", ms(behind), row.is_within ? "good" : "bad"), percent(read.stale_share)];
      }),
    ]),
    [["", 1], ...bounded.map((target) => [target.label, 4])],
  );
  fill(
    "write-places",
    ["", ...targets.map((target) => target.label)],
    results.places.map((place) => [
      place.label,
      ...targets.map((target) => {
        const figures = writeRow(target.name, place.name).latency_ms;
        return ms(figures.p50) + (figures.p99 === null ? "" : ` (${ms(figures.p99)})`);
      }),
    ]),
  );
  const regions = Object.keys(results.places[0].rtt_ms);
  fill(
    "distances",
    ["", ...regions.map((region) => `${region}${region === results.leader_region ? " (leader)" : ""}`)],
    results.places.map((place) => [
      place.label,
      ...regions.map((region) => {
        const cell = element("td");
        cell.append(element(region === place.nearest ? "strong" : "span", String(place.rtt_ms[region])));
        return cell;
      }),
    ]),
  );
}

// -- charts

const GREY = "#8b94a3";
const axis = { stroke: GREY, grid: { stroke: "#eceff3", width: 1 }, ticks: { stroke: "#dfe3e9", width: 1 }, font: "12px system-ui, sans-serif" };

// How many pixels have a colour: text and lines of the grid are grey.
function countInk(u) {
  const { data } = u.ctx.getImageData(0, 0, u.ctx.canvas.width, u.ctx.canvas.height);
  let ink = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] > 128 && Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60) ink++;
  }
  u.root.parentElement.dataset.ink = ink;
}

function draw(id, height, options, data) {
  const place = byId(id);
  place.replaceChildren();
  const hooks = { draw: [...(options.hooks?.draw ?? []), countInk] };
  const size = { width: place.clientWidth, height };
  charts.push({ place, height, chart: new uPlot({ ...size, cursor: { y: false }, ...options, hooks }, data, place) });
}

// Groups of bars: values[series][group], each bar at an x of its own.
function drawBars(id, height, groups, values) {
  const n = targets.length;
  const xs = groups.flatMap((_, group) => targets.map((_, i) => group * (n + 1) + i));
  const data = [xs, ...targets.map((_, i) => groups.flatMap((_, group) => targets.map((_, j) => (i === j ? values[i][group] : null))))];
  const bars = uPlot.paths.bars({ size: [0.84, 46], radius: 0.12 });
  const label = (u) => {
    u.ctx.save();
    u.ctx.fillStyle = "#1d2430";
    u.ctx.textAlign = "center";
    u.ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    const room = Math.abs(u.valToPos(1, "x", true) - u.valToPos(0, "x", true)) / devicePixelRatio;
    for (let i = 0; i < n && room > 15; i++) {
      data[i + 1].forEach((value, at) => {
        if (value === null || value === undefined) return;
        const text = room > 26 ? ms(value) : value < 9.5 ? value.toFixed(1) : value.toFixed(0);
        u.ctx.fillText(text, u.valToPos(xs[at], "x", true), u.valToPos(value, "y", true) - 5 * devicePixelRatio);
      });
    }
    u.ctx.restore();
  };
  draw(id, height, {
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false, range: [-1, groups.length * (n + 1) - 1] }, y: { range: (_, __, most) => [0, (most || 1) * 1.1] } },
    axes: [
      {
        ...axis, stroke: "#1d2430", size: 30, grid: { show: false }, ticks: { show: false },
        splits: () => groups.map((_, group) => group * (n + 1) + (n - 1) / 2), values: () => groups,
      },
      { ...axis, size: 56 },
    ],
    series: [{}, ...targets.map((target) => ({ stroke: target.colour, fill: target.colour, paths: bars, points: { show: false } }))],
    hooks: { draw: [label] },
  }, data);
}

const time = (value) => (value >= 1000 ? value / 1000 + " s" : value + " ms");

function drawCurve() {
  const xs = results.curve_shares.map((share) => -Math.log10(1 - share));
  const data = targets.map((target) =>
    results.curves.find((row) => row.phase === chosen.phase && row.target === target.name && row.place === chosen.place).latency_ms);
  const marks = [0, 50, 90, 99, 99.9];
  draw("chart-curve", 300, {
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false, range: [0, 3] }, y: { distr: 3 } },
    axes: [
      { ...axis, size: 34, splits: () => marks.map((mark) => -Math.log10(1 - mark / 100)), values: () => marks.map((mark) => (mark ? mark + " %" : "0")) },
      { ...axis, size: 64, values: (_, splits) => splits.map((split) => (split === null ? null : time(split))) },
    ],
    series: [{}, ...targets.map((target) => ({ stroke: target.colour, width: 2.5, points: { show: false } }))],
  }, [xs, ...data]);
}

function drawStaleness() {
  const shown = targets.filter((target) => results.staleness_by_second[target.name].some((value) => value !== null));
  const seconds = Math.max(...targets.map((target) => results.staleness_by_second[target.name].length));
  const xs = Array.from({ length: seconds }, (_, i) => i);
  const data = shown.map((target) => {
    const values = results.staleness_by_second[target.name];
    return xs.map((second) => (values[second] === null || values[second] === undefined ? null : Math.max(1, values[second])));
  });
  draw("chart-staleness", 320, {
    scales: { x: { time: false }, y: { distr: 3 } },
    axes: [
      { ...axis, size: 34, values: (_, splits) => splits.map((split) => split + " s") },
      { ...axis, size: 64, values: (_, splits) => splits.map((split) => (split === null ? null : time(split))) },
    ],
    series: [
      { label: "second" },
      ...shown.map((target) => ({
        label: target.label, stroke: target.colour, width: 1.5, spanGaps: true, points: { show: true, size: 5, fill: target.colour },
        value: (_, value) => (value === null || value === undefined ? "–" : ms(value) + " ms"),
      })),
    ],
  }, [xs, ...data]);
}

function drawCharts() {
  charts.length = 0;
  const { phase, place } = chosen;
  const where = place === null ? "all places" : labelOf[place];
  const when = phase === "writes" ? "with writes" : "hot, no writes";
  document.querySelectorAll(".which").forEach((each) => (each.textContent = `· ${where} · ${when}`));
  document.querySelectorAll(".which-phase").forEach((each) => (each.textContent = `· ${when}`));
  drawBars("chart-percentiles", 300, PERCENTILES, targets.map((target) => {
    const figures = readRow(phase, target.name, place).latency_ms;
    return PERCENTILES.map((name) => figures[name]);
  }));
  drawCurve();
  drawBars("chart-places", 300, results.places.map((each) => each.label), targets.map((target) =>
    results.places.map((each) => readRow(phase, target.name, each.name).latency_ms.p50)));
  drawStaleness();
}

// -- the page

function tell() {
  const { settings, itself } = results;
  const started = new Date(results.started);
  byId("title").textContent = results.title;
  byId("made").textContent =
    `upstash-global ${results.version} (${results.engine}, Python ${results.python}) · ${started.toISOString().slice(0, 16).replace("T", " ")} UTC` +
    ` · ${results.places.length} client places, ${Object.keys(results.places[0].rtt_ms).length} regions, leader in ${results.leader_region}`;
  const often = (rate) => (rate === 1 ? "once a second" : `${rate} times a second`);
  const keys = settings.keys === 1 ? "One key is" : `Each of ${settings.keys} keys is`;
  byId("how").textContent =
    `${keys} written ${often(settings.writes_per_s_per_key)}, and read ${often(settings.reads_per_s_per_key)} from every place ` +
    `at every target, at random, whether earlier reads have been answered or not; for ${settings.writes_s} s. All targets saw the same writes.`;
  byId("leader-write").textContent = `p50 ${ms(itself.leader_write_ms.p50)} ms, p99 ${ms(itself.leader_write_ms.p99)} ms`;
  byId("itself").textContent =
    `Clients, writers and proxies are one process with one clock. It was busy for ${percent(itself.cpu_share)} of one core and sent its reads late by ` +
    `${ms(itself.lateness_ms.p50)} ms (p50), ${ms(itself.lateness_ms.p99)} ms (p99): by about as much it may also have been late to see an answer. ` +
    `${itself.leader_writes} writes to the keys that are read; ${itself.failed_writes} other writes failed. ` +
    `Failed reads: ${results.reads.filter((row) => row.place === null).reduce((sum, row) => sum + row.failed, 0)}, in no latency. ` +
    `A percentile that has not one sample above it is not shown. Seed ${settings.seed}.`;
  byId("busy").hidden = !itself.is_busy;
  for (const target of targets) {
    const each = element("span");
    const swatch = element("span", "", "swatch");
    swatch.style.background = target.colour;
    each.append(swatch, target.label);
    byId("legend").append(each);
  }
  byId("place").append(new Option("all places", ""), ...results.places.map((place) => new Option(place.label, place.name)));
}

function offerSamples() {
  const bytes = Uint8Array.from(atob(byId("samples").textContent), (character) => character.charCodeAt(0));
  byId("download").href = URL.createObjectURL(new Blob([bytes], { type: "application/gzip" }));
  byId("download").dataset.bytes = bytes.length;
}

tell();
fillTables();
drawCharts();
offerSamples();
byId("phase").addEventListener("change", (event) => { chosen.phase = event.target.value; drawCharts(); });
byId("place").addEventListener("change", (event) => { chosen.place = event.target.value || null; drawCharts(); });
addEventListener("resize", () => { for (const { place, height, chart } of charts) chart.setSize({ width: place.clientWidth, height }); });
