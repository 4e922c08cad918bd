"use strict";
// Draws a sweep's figures and table from the JSON in #data. Texts of models and descriptions reach the page as text only:
// `textContent` in elements, `plain` in Plotly, which reads some tags.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const metrics = Object.fromEntries(data.metrics.map((metric) => [metric.name, metric]));
  const points = data.hash.map((_, n) => n);
  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const SHOWN = 200;
  const OTHER = "#8b8a82", FRONT = "#2a78d6", GOOD = "#1baf7a", BAD = "#e34948";
  let brushed = points.map(() => true);

  // ---- words and colours ----
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const brief = (name, most = 20) => (name.length > most ? name.slice(0, most / 2) + "…" + name.slice(1 - most / 2) : name);
  const short = (index) => data.hash[index].slice(0, 8);
  const place = (axis, index) => axis.texts[axis.places[index]];
  function number(value, share) {
    if (value === null || value === undefined) return "–";
    if (share) return (100 * value).toFixed(1) + " %";
    const size = Math.abs(value);
    if (size >= 1e4 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
    return size >= 1e-3 || size === 0 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
  }
  const figure = (metric, index) => number(metric.values[index], metric.share);
  const described = (index) => [
    `<b>${short(index)}</b>${data.front[index] ? " · on the front" : ""}${["", " · RTL equal", " · RTL differs"][data.rtl[index]]}`,
    ...data.axes.map((axis) => `${plain(axis.name)} = ${plain(place(axis, index))}`), "",
    ...data.metrics.map((metric) => `${plain(metric.title)}: ${figure(metric, index)}`),
  ].join("<br>");

  function layout(more) {
    const ink = colour("--ink"), line = colour("--line");
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 64, r: 16, t: 12, b: 48 },
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink }, hovermode: "closest",
      hoverlabel: { bgcolor: colour("--card"), bordercolor: line, font: { color: ink, size: 12 }, align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, ...more,
    };
  }
  const scale = (title, logarithmic, more) => ({
    title: { text: plain(title) }, type: logarithmic ? "log" : "linear", gridcolor: colour("--line"), linecolor: colour("--line"),
    zeroline: false, automargin: true, ...(logarithmic ? { dtick: "D2", tickformat: ",~r" } : {}), ...more,
  });
  const range = (values) => values.filter((v) => v !== null).reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)],
    [Infinity, -Infinity]);
  function wide(values) {
    const [low, high] = range(values);
    return low > 0 && high / low > 20;
  }

  // ---- the front ----
  const choose = (id) => document.getElementById(id);
  function fill(select, groups, chosen) {
    for (const [label, entries] of groups) {
      if (!entries.length) continue;
      const group = document.createElement("optgroup");
      group.label = label;
      for (const [value, text] of entries) group.append(new Option(text, value, false, value === chosen));
      select.append(group);
    }
  }
  const entries = (names) => names.map((name) => [name, metrics[name].title]);
  const others = data.metrics.map((metric) => metric.name).filter((name) => !data.objectives.includes(name));
  function chooseAxes() {
    const groups = [["objectives", entries(data.objectives)], ["other figures", entries(others)]];
    const names = [...data.objectives, ...["energy_uj", "latency_ms", "lut4"].filter((name) => others.includes(name)), ...others];
    fill(choose("x"), groups, names[0]);
    fill(choose("y"), groups, names[1] ?? names[0]);
    const axes = data.axes.map((axis, n) => [`axis ${n}`, axis.name]);
    fill(choose("colour"), [["", [["", "on the front or not"]]], ["axes", axes], ...groups], "");
    fill(choose("line"), [["", [["", "on the front or not"]]], ...groups], names[0]);
    choose("line").addEventListener("change", () => drawParallel());
    for (const id of ["x", "y", "colour", "log"]) choose(id).addEventListener("change", () => drawFront());
  }

  // The points that no other beats in both figures, from the left.
  function pairFront(x, y, indices) {
    const sign = (metric) => (metric.direction === "min" ? 1 : -1);
    const known = indices.filter((n) => x.values[n] !== null && y.values[n] !== null);
    known.sort((a, b) => sign(x) * (x.values[a] - x.values[b]) || sign(y) * (y.values[a] - y.values[b]));
    let best = Infinity;
    return known.filter((n) => sign(y) * y.values[n] < best && ((best = sign(y) * y.values[n]), true));
  }

  function colouring(chosen) {
    const [, axis] = chosen.match(/^axis (\d+)$/) ?? [];
    if (axis !== undefined) {
      const { name, texts, places } = data.axes[axis];
      return { title: name, values: places, bar: { tickvals: texts.map((_, n) => n), ticktext: texts.map((text) => plain(brief(text, 14))) } };
    }
    return chosen ? { title: metrics[chosen].title, values: metrics[chosen].values, bar: {} } : null;
  }

  function drawFront() {
    const x = metrics[choose("x").value], y = metrics[choose("y").value], by = colouring(choose("colour").value);
    const shown = points.filter((n) => brushed[n]);
    const trace = (name, indices, marker, more) => ({
      name, type: points.length > 2000 ? "scattergl" : "scatter", mode: "markers", x: indices.map((n) => x.values[n]), y: indices.map((n) => y.values[n]),
      customdata: indices, text: indices.map(described), hovertemplate: "%{text}<extra></extra>", marker, ...more,
    });
    const [low, high] = by ? range(by.values) : [0, 1];
    const bar = by && { title: { text: plain(brief(by.title, 40)), side: "right" }, thickness: 12, ...by.bar };
    const shade = (indices, own, first) => by === null ? own : {
      ...own, color: indices.map((n) => by.values[n]), colorscale: "Viridis", cmin: low, cmax: high, showscale: first, colorbar: bar,
    };
    const rest = shown.filter((n) => !data.front[n]), front = shown.filter((n) => data.front[n]);
    const line = pairFront(x, y, shown);
    const traces = [
      { name: "front of these two", type: "scatter", mode: "lines", x: line.map((n) => x.values[n]), y: line.map((n) => y.values[n]),
        line: { shape: "hv", color: colour("--soft"), width: 1, dash: "dot" }, hoverinfo: "skip" },
      trace("other points", rest, shade(rest, { color: OTHER, size: 6, opacity: 0.55 }, !front.length)),
      trace("front of all objectives", front, shade(front, { color: FRONT, size: 9, line: { width: 1, color: colour("--card") } }, true)),
    ];
    for (const [state, name, tone] of [[1, "RTL equal", GOOD], [2, "RTL differs", BAD]]) {
      const run = shown.filter((n) => data.rtl[n] === state);
      if (run.length) traces.push(trace(name, run, { symbol: "circle-open", size: 15, color: tone, line: { width: 2.5 } }, { hoverinfo: "skip", hovertemplate: null }));
    }
    const log = choose("log").checked;
    Plotly.react("front", traces, layout({
      height: 520, uirevision: [x.name, y.name, log].join(), xaxis: scale(x.title + better(x), log && wide(x.values), x.share ? { tickformat: ".0%" } : {}),
      yaxis: scale(y.title + better(y), log && wide(y.values), y.share ? { tickformat: ".0%" } : {}),
    }), config);
  }
  const better = (metric) => (metric.direction === "min" ? ", less is better" : ", more is better");

  // ---- parallel coordinates ----
  const spread = (texts) => {
    const each = Math.ceil(texts.length / 12);
    const ticks = texts.map((_, n) => n).filter((n) => n % each === 0);
    return { tickvals: ticks, ticktext: ticks.map((n) => brief(texts[n], 14)) };  // read as text
  };
  function decades(low, high) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const digit of [1, 2, 5]) ticks.push(digit * 10 ** power);
    const inside = ticks.filter((tick) => tick > low && tick < high);
    const ends = inside.length < 3 ? [low, high] : [];
    return [...inside, ...ends].sort((a, b) => a - b);
  }
  // Values of an axis are few: beside each other, its points can be told apart.
  const aside = (value, n) => value + 0.3 * (((n * 0.618034) % 1) - 0.5);
  // A field's name in short lines.
  const lines = (name) => plain(brief(name, 40)).split(/(?<=[._])/).reduce((rows, part) =>
    ((rows.at(-1) + part).length > 11 ? [...rows, part] : [...rows.slice(0, -1), rows.at(-1) + part]), [""]).filter(Boolean).join("<br>");
  function metricDimension(metric) {
    const [low, high] = range(metric.values);
    if (!wide(metric.values)) return { label: plain(metric.title), values: metric.values, ...(metric.share ? { tickformat: ".0%" } : {}) };
    const ticks = decades(low, high);
    const values = metric.values.map((v) => (v === null ? null : Math.log10(v)));
    return { label: plain(metric.title), values, tickvals: ticks.map(Math.log10), ticktext: ticks.map((tick) => number(tick)) };
  }
  // Plotly draws parallel coordinates with it.
  const webgl = (() => {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl") ?? canvas.getContext("webgl2"));
  })();
  function drawParallel() {
    const named = data.objectives.length ? data.objectives : [data.metrics[0].name];
    const dimensions = [
      ...data.axes.map((axis) => ({ label: lines(axis.name), values: axis.places.map(aside), range: [-0.25, axis.texts.length - 0.75], ...spread(axis.texts) })),
      ...named.map((name) => metricDimension(metrics[name])),
      { label: "front", values: data.front.map(aside), range: [-0.25, 1.25], tickvals: [0, 1], ticktext: ["no", "yes"] },
    ];
    const by = choose("line").value, tone = by ? metricDimension(metrics[by]) : { label: "front", values: data.front, tickvals: [0, 1], ticktext: ["no", "yes"] };
    const line = {
      color: tone.values, colorscale: by ? "Viridis" : [[0, colour("--line")], [1, FRONT]], showscale: Boolean(by),
      colorbar: { title: { text: tone.label, side: "right" }, thickness: 12, tickvals: tone.tickvals, ticktext: tone.ticktext },
    };
    if (!webgl) return drawLines(dimensions);
    const before = choose("parallel").data?.[0].dimensions ?? [];
    dimensions.forEach((dimension, k) => before[k]?.constraintrange && (dimension.constraintrange = before[k].constraintrange));
    const font = { color: colour("--ink"), size: 10.5 };
    const trace = { type: "parcoords", dimensions, line, labelfont: font, tickfont: font, rangefont: { color: "rgba(0,0,0,0)", size: 1 },
      unselected: { line: { color: colour("--line"), opacity: 0.25 } } };
    Plotly.react("parallel", [trace], layout({ height: 420, margin: { l: 60, r: 40, t: 76, b: 24 } }), config);
  }
  // Without WebGL: the same lines, which cannot be brushed.
  function drawLines(dimensions) {
    const heights = dimensions.map(({ values, range: given }) => {
      const [low, high] = given ?? range(values);
      return (value) => (value === null ? null : high > low ? (value - low) / (high - low) : 0.5);
    });
    const trace = (name, indices, line) => ({
      name, type: "scatter", mode: "lines", line, hoverinfo: "skip",
      x: indices.flatMap(() => [...dimensions.keys(), null]), y: indices.flatMap((n) => [...dimensions.map(({ values }, k) => heights[k](values[n])), null]),
    });
    const annotations = dimensions.flatMap(({ values, tickvals, ticktext, range: given }, k) => {
      const ticks = tickvals ?? (given ?? range(values)), texts = ticktext ?? ticks.map((tick) => number(tick));
      return ticks.map((tick, n) => ({ x: k, y: heights[k](tick), text: plain(texts[n]), showarrow: false, xanchor: "left", xshift: 3, font: { size: 10 } }));
    });
    Plotly.react("parallel", [
      trace("other points", points.filter((n) => !data.front[n]), { color: colour("--line"), width: 1 }),
      trace("front of all objectives", points.filter((n) => data.front[n]), { color: FRONT, width: 1.5 }),
    ], layout({
      height: 420, annotations, margin: { l: 24, r: 60, t: 24, b: 56 }, yaxis: { visible: false },
      xaxis: { tickvals: [...dimensions.keys()], ticktext: dimensions.map((entry) => entry.label), tickangle: 0, tickfont: { size: 10 }, gridcolor: colour("--soft"), zeroline: false, range: [-0.1, dimensions.length - 0.6] },
    }), config);
  }
  function brush() {
    const chosen = choose("parallel").data[0].dimensions.filter((dimension) => dimension.constraintrange?.length);
    brushed = points.map((n) => chosen.every(({ values, constraintrange }) => {
      const ranges = Array.isArray(constraintrange[0]) ? constraintrange : [constraintrange];
      return ranges.some(([low, high]) => values[n] !== null && values[n] >= low && values[n] <= high);
    }));
    drawFront();
    fillTable();
  }

  // ---- effects of axes ----
  function drawEffects() {
    const columns = data.objectives.length, rows = data.axes.length;
    if (!columns || !rows) return;
    const traces = [], more = { height: 60 + 165 * rows, showlegend: false, annotations: [], margin: { l: 64, r: 16, t: 36, b: 48 },
      grid: { rows, columns, pattern: "independent", xgap: 0.16, ygap: 0.5 } };
    data.effects.forEach((effect, n) => {
      const own = n ? String(n + 1) : "", column = n % columns, metric = metrics[effect.metric];
      const places = effect.texts.map((_, k) => k), on = { xaxis: "x" + own, yaxis: "y" + own };
      const text = effect.texts.map((value, k) => `${plain(effect.axis)} = ${plain(value)}<br>${plain(metric.title)}: median ` +
        `${number(effect.median[k], metric.share)}<br>half of them ${number(effect.low[k], metric.share)} … ${number(effect.high[k], metric.share)}` +
        `<br>${effect.points[k]} point${effect.points[k] === 1 ? "" : "s"}`);
      traces.push(
        { ...on, x: places, y: effect.low, mode: "lines", line: { width: 0 }, hoverinfo: "skip" },
        { ...on, x: places, y: effect.high, mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: "rgba(42,120,214,0.2)", hoverinfo: "skip" },
        { ...on, x: places, y: effect.median, mode: "lines+markers", line: { color: FRONT, width: 2 }, marker: { size: 6 }, text, hovertemplate: "%{text}<extra></extra>" },
      );
      const each = Math.ceil(places.length / 6), ticks = places.filter((k) => k % each === 0);
      const small = { tickfont: { size: 10 }, title: { text: plain(brief(effect.axis, 40)), font: { size: 11 }, standoff: 4 } };
      more["xaxis" + own] = { ...scale("", false), ...small, range: [-0.35, Math.max(0, places.length - 1) + 0.35], tickvals: ticks, ticktext: ticks.map((k) => plain(brief(effect.texts[k], 14))), showgrid: false };
      more["yaxis" + own] = { ...scale("", wide(metric.values)), title: { text: "" }, tickfont: { size: 10 }, nticks: 4, ...(metric.share ? { tickformat: ".0%" } : {}),
        ...(n >= columns ? { matches: "y" + (column ? column + 1 : "") } : {}) };
      if (wide(metric.values)) more["yaxis" + own].dtick = 1;  // powers of ten: a small plot has no room for more
      const note = (label, size, x, y, anchor) => more.annotations.push({ text: label, showarrow: false, font: { size }, xref: `x${own} domain`, yref: `y${own} domain`, x, y, xanchor: anchor, yanchor: "bottom" });
      note(effect.share === null ? "" : `${(100 * effect.share).toFixed(0)} %`, 10, 1, 1.0, "right");
      if (n < columns) note(`<b>${plain(metric.title)}</b>`, 12, 0, 1.06, "left");
    });
    Plotly.react("effects", traces, layout(more), { ...config, displayModeBar: false });
  }

  // ---- details of a point ----
  function drawRoofline(target, networks) {
    const low = Math.min(...networks.map((n) => Math.min(n.intensity, n.ridge))) / 4;
    const high = Math.max(...networks.map((n) => Math.max(n.intensity, n.ridge))) * 6;
    const { peak, ridge } = networks[0];
    const ink = colour("--ink");
    const roof = { name: "roof", type: "scatter", mode: "lines", x: [low, ridge, high], y: [peak * low / ridge, peak, peak], line: { color: ink, width: 1.5 },
      hovertemplate: `the array's peak: ${number(peak)} MACs a cycle<br>ridge: ${number(ridge)} MACs for each byte<extra></extra>` };
    const tones = ["#2a78d6", "#eb6834", "#1baf7a", "#eda100", "#4a3aa7", "#e87ba4"];
    const traces = networks.flatMap((n, k) => {
      const limit = Math.min(peak, peak * n.intensity / ridge), tone = tones[k % tones.length];
      return [
        { type: "scatter", mode: "lines", x: [n.intensity, n.intensity], y: [n.achieved, limit], line: { color: tone, width: 1.5, dash: "dot" }, hoverinfo: "skip", showlegend: false },
        { name: plain(brief(n.name)), type: "scatter", mode: "markers", x: [n.intensity], y: [n.achieved], marker: { size: 12, color: tone },
          hovertemplate: `<b>${plain(n.name).replace(/%/g, "&#37;")}</b>, ${n.bound} bound<br>${number(n.intensity)} MACs for each byte of DRAM<br>${number(n.achieved)} MACs a cycle: ` +
            `${number(n.achieved / peak, true)} of the peak,<br>${number(n.of_bound, true)} of what the roof allows<extra></extra>` },
      ];
    });
    const ends = range([...networks.map((n) => n.achieved), peak * low / ridge, peak]);
    Plotly.newPlot(target, [roof, ...traces], layout({
      height: 300, xaxis: scale("MACs for each byte of DRAM", true, { range: [low, high].map(Math.log10) }),
      yaxis: scale("MACs a cycle", true, { range: [Math.log10(ends[0] / 1.5), Math.log10(peak * 2)] }),
    }), { ...config, displayModeBar: false });
  }
  function stacked(target, rows, parts, title, unit, share) {
    const traces = parts.map(({ word, colour: tone, values }) => ({
      name: plain(word), type: "bar", orientation: "h", y: rows.map((_, k) => k), x: values, marker: { color: tone },
      customdata: rows.map((row, k) => `${plain(row)}<br>${plain(word)}: ${number(values[k])} ${unit}${share ? ` (${number(values[k] / share[k], true)})` : ""}`),
      hovertemplate: "%{customdata}<extra></extra>",
    }));
    const lines = Math.ceil(parts.length / 4);
    Plotly.newPlot(target, traces, layout({
      barmode: "stack", bargap: 0.25, height: 80 + 26 * rows.length + 20 * lines, margin: { l: 64, r: 16, t: 8 + 20 * lines, b: 44 },
      legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0, traceorder: "normal", font: { size: 11 } },
      xaxis: scale(title, false), yaxis: { ...scale("", false), title: { text: "" }, autorange: "reversed", tickvals: rows.map((_, k) => k), ticktext: rows.map(plain), showgrid: false },
    }), { ...config, displayModeBar: false });
  }
  function drawDetail(section) {
    if (section.dataset.drawn) return;
    section.dataset.drawn = "yes";
    const networks = data.details[section.dataset.hash];
    const part = (name) => section.querySelector(`[data-figure="${name}"]`);
    const known = networks.filter((n) => n.intensity > 0 && n.ridge > 0 && n.achieved > 0 && n.peak > 0);
    if (known.length) drawRoofline(part("roofline"), known);
    const bars = networks.flatMap((n) => Object.entries(n.uses).map(([engine, uses]) => ({ row: networks.length > 1 ? `${brief(n.name)}: ${engine}` : engine, uses, cycles: n.cycles })));
    const uses = data.uses.filter((use) => bars.some((bar) => bar.uses[use.name]));
    // Shares, so that networks of very different length stand side by side.
    stacked(part("cycles"), bars.map((bar) => bar.row), uses.map((use) => ({ ...use, values: bars.map((bar) => 100 * (bar.uses[use.name] ?? 0) / bar.cycles) })), "% of the network's cycles", "%");
    const components = [...new Set(networks.flatMap((n) => Object.keys(n.energy)))];
    const tones = ["#2a78d6", "#1baf7a", "#eda100", "#eb6834", "#4a3aa7", "#e87ba4", "#8d6b4f"];
    stacked(part("energy"), networks.map((n) => brief(n.name)), components.map((word, k) => ({ word, colour: tones[k % tones.length], values: networks.map((n) => n.energy[word] ?? 0) })),
      "µJ an inference", "µJ", networks.map((n) => Object.values(n.energy).reduce((a, b) => a + b, 0)));
  }
  function openDetail(index) {
    const section = document.getElementById("point-" + data.hash[index]);
    if (!section) return;
    for (let outer = section; outer; outer = outer.parentElement?.closest("details")) outer.open = true;
    section.scrollIntoView({ behavior: "smooth", block: "start" });
  }
  function wireDetails() {
    for (const section of document.querySelectorAll("details.point")) section.addEventListener("toggle", () => section.open && drawDetail(section));
    for (const button of document.querySelectorAll("button.copy")) button.addEventListener("click", async () => {
      const text = button.parentElement.querySelector("pre");
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(text);
        button.textContent = "selected: press Ctrl+C";
      }
    });
  }

  // ---- the table of points ----
  const columns = [
    { title: "point", text: short, value: (n) => data.hash[n] },
    { title: "front", text: (n) => (data.front[n] ? "●" : ""), value: (n) => -data.front[n] },
    { title: "RTL", text: (n) => ["", "equal", "differs"][data.rtl[n]], value: (n) => -data.rtl[n] },
    ...data.axes.map((axis) => ({ name: axis.name, title: axis.name, right: true, text: (n) => place(axis, n), value: (n) => axis.places[n], raw: (n) => Number(place(axis, n).replace(/,| [KM]?i?B$/g, "")) * ({ KiB: 1024, MiB: 1048576 }[place(axis, n).slice(-3)] ?? 1) })),
    ...data.metrics.map((metric) => ({ name: metric.name, title: metric.title, right: true, text: (n) => figure(metric, n), value: (n) => metric.values[n], raw: (n) => metric.values[n] })),
  ];
  let sorted = data.objectives.length ? columns.findIndex((column) => column.name === data.objectives[0]) : 0;
  let downwards = false, all = false;
  const compare = (a, b) => (a === b ? 0 : a === null ? 1 : b === null ? -1 : (a < b ? -1 : 1) * (downwards ? -1 : 1));

  // Words that a row must have, and conditions such as array.rows>=16 or latency_ms<2.
  function filter(text) {
    const terms = text.trim().toLowerCase().replace(/\s*(<=|>=|<|>|=)\s*/g, "$1").split(/\s+/).filter(Boolean);
    const tests = terms.map((term) => {
      const [, name, sign, value] = term.match(/^([^<>=]+)(<=|>=|<|>|=)(.+)$/) ?? [];
      const column = name && columns.find((entry) => entry.name?.toLowerCase() === name);
      if (!column) return (n) => columns.some((entry) => entry.text(n).toLowerCase().includes(term));
      const limit = Number(value);
      return (n) => {
        const own = column.raw(n);
        if (own === null) return false;
        if (Number.isNaN(limit) || Number.isNaN(own)) return sign === "=" && column.text(n).toLowerCase() === value;
        return { "<": own < limit, ">": own > limit, "<=": own <= limit, ">=": own >= limit, "=": own === limit }[sign];
      };
    });
    return (n) => tests.every((test) => test(n));
  }
  function fillTable() {
    const test = filter(choose("filter").value), { value } = columns[sorted];
    const rows = points.filter((n) => brushed[n] && test(n)).sort((a, b) => compare(value(a), value(b)) || a - b);
    const shown = all ? rows : rows.slice(0, SHOWN);
    choose("count").textContent = `${rows.length.toLocaleString("en")} of ${points.length.toLocaleString("en")} points` + (brushed.every(Boolean) ? "" : ", as brushed above");
    const more = choose("more");
    more.hidden = shown.length === rows.length;
    more.textContent = `Show all ${rows.length.toLocaleString("en")}`;
    choose("rows").replaceChildren(...shown.map((n) => {
      const row = document.createElement("tr");
      for (const column of columns) {
        const cell = row.insertCell();
        cell.textContent = column.text(n);
        if (column.right) cell.className = "n";
      }
      if (data.front[n]) row.className = "front";
      if (data.details[data.hash[n]]) {
        const link = document.createElement("a");
        link.href = "#point-" + data.hash[n];
        link.textContent = short(n);
        link.addEventListener("click", (event) => { event.preventDefault(); openDetail(n); });
        row.cells[0].replaceChildren(link);
      }
      return row;
    }));
  }
  function wireTable() {
    const heads = columns.map((column, k) => {
      const head = document.createElement("th"), button = document.createElement("button");
      button.textContent = column.title.replace(/[._]/g, "$&\u200b");  // may break there
      if (column.name && column.name !== column.title) button.title = column.name;
      button.addEventListener("click", () => {
        downwards = sorted === k && !downwards;
        sorted = k;
        markSorted(heads, k);
        fillTable();
      });
      head.append(button);
      if (column.right) head.className = "n";
      return head;
    });
    choose("heads").append(...heads);
    markSorted(heads, sorted);
    choose("filter").addEventListener("input", fillTable);
    choose("more").addEventListener("click", () => { all = true; fillTable(); });
    fillTable();
  }
  const markSorted = (heads, k) => heads.forEach((head, n) => (n === k ? head.setAttribute("aria-sort", downwards ? "descending" : "ascending") : head.removeAttribute("aria-sort")));

  // Static tables: cells sort by data-value.
  function wireSortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, k) => head.querySelector("button")?.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => Number(row.cells[k].dataset.value ?? -1);
      const rows = [...table.tBodies[0].rows].sort((a, b) => (value(b) - value(a)) * (up ? -1 : 1));
      table.tBodies[0].append(...rows);
    }));
  }

  function draw() {
    drawFront();
    drawParallel();
    drawEffects();
  }
  function begin() {
    document.querySelectorAll("table.sortable").forEach(wireSortable);
    wireDetails();
    if (!points.length) return;
    wireTable();
    chooseAxes();
    draw();
    choose("front").on("plotly_click", (event) => event.points[0]?.customdata !== undefined && openDetail(event.points[0].customdata));
    choose("parallel").on("plotly_restyle", brush);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    const opened = location.hash.startsWith("#point-") ? data.hash.indexOf(location.hash.slice(7)) : -1;
    if (opened >= 0) openDetail(opened);
  }
  begin();
})();
