"use strict";
// The three figures: each redraws itself from its sliders and choosers.

function read(section) {
  const box = section.querySelector(".explorable");
  return box && [box, JSON.parse(box.querySelector("script").textContent)];
}

function fill(box, name, values, redraw) { // a chooser of values; not shown where there is no choice
  const label = box.querySelector(`[data-chooser=${name}]`), select = label.querySelector("select");
  for (const value of values) select.add(new Option(value, value));
  label.hidden = values.length < 2;
  select.addEventListener("change", redraw);
  return select;
}

function slide(input, stops, value, said = round) { // a slider over these stops
  input.max = stops.length - 1;
  input.value = Math.max(0, stops.indexOf(value));
  input.disabled = stops.length < 2;
  input.at = () => stops[input.value];
  input.say = () => {
    input.setAttribute("aria-valuetext", said(input.at()));
    input.closest("label").querySelector("output").textContent = said(input.at());
  };
}

function redrawn(box, draw) { // now, and whenever the box is of another width
  let width = 0;
  new ResizeObserver(() => { if (box.clientWidth !== width) { width = box.clientWidth; draw(); } }).observe(box);
}

function sweepPlot(box, points, levels, symbol, metric, at, exists) {
  const values = points.flatMap(p => [p.mean, p.low, p.high]).concat(Object.values(levels));
  const plot = new Plot(box, 200, {from: -0.5, to: points.length - 0.5, label: symbol,
    ticks: points.map((p, n) => [n, round(p.x)])}, {...span(values), label: metric});
  Object.values(levels).forEach((level, n) => plot.across(level, n ? "dotted" : "dashed"));
  points.forEach((p, n) => {
    if (n) plot.line(n - 1, points[n - 1].mean, n, p.mean, "path");
    plot.bar(n, p.low, p.high);
  });
  points.forEach((p, n) => plot.dot(n, p.mean, p.x !== at ? "mark" : exists ? "mark now" : "mark now hollow", p.x === at ? 7 : 3.5));
}

function said(points, at, metric, symbol) {
  const p = points.find(p => p.x === at);
  const reach = p.low === null ? "" : ` (95 % interval ${p.low.toFixed(4)} to ${p.high.toFixed(4)})`;
  return `${metric} of the runs with ${symbol} = ${round(at)}: ${p.mean.toFixed(4)}${reach}.`;
}

function sweeps(section, symbols, example, tell) {
  const found = read(section);
  if (!found) return;
  const [box, data] = found, inputs = symbols.map(symbol => box.querySelector(`[data-symbol="${symbol}"]`));
  const panels = box.querySelectorAll(".panels .plot");
  const source = fill(box, "source", data.measured.map(one => one.name), () => { settle(); draw(); });
  const metric = fill(box, "metric", Object.keys(data.measured[0].sweeps), draw);

  function chosen() { return data.measured[source.selectedIndex]; }
  function settle() {
    symbols.forEach((symbol, n) => slide(inputs[n], chosen().sweeps[metric.value][symbol].map(p => p.x), chosen().tuned[symbol]));
  }
  function draw() {
    const {sweeps, levels, tuned} = chosen(), at = inputs.map(input => input.at()), name = metric.value;
    inputs.forEach(input => input.say());
    example(box.querySelector(".example"), data.example, at);
    const exists = symbols.map((_, n) => symbols.every((other, m) => m === n || at[m] === tuned[other]));
    symbols.forEach((symbol, n) =>
      sweepPlot(panels[n], sweeps[name][symbol], levels[name], symbol, name, at[n], exists[n]));
    const runs = symbols.filter((_, n) => exists[n]);
    box.querySelector(".readout").textContent = `${tell(data.example, at)} ` + (runs.length
      ? said(sweeps[name][runs.at(-1)], at[symbols.indexOf(runs.at(-1))], name, runs.at(-1))
      : `No run has both away from what was tuned (${symbols.map(s => `${s} = ${round(tuned[s])}`).join(", ")}).`);
  }
  inputs.forEach(input => input.addEventListener("input", draw));
  settle();
  redrawn(box, draw);
}

// ---------------------------------------------------------------------------------------------------------- the label

function key(at) { return at.map(value => round(value, 10)).join(" "); } // as examples.py has it

function labelPlot(box, {teacher, student, labels}, at) {
  const label = labels[key(at)], own = labels["1 1"], n = teacher.length;
  const x = {from: 0, to: n + 1, label: "place in the teacher’s order"};
  const upper = document.createElement("div"), lower = document.createElement("div");
  box.replaceChildren(upper, lower);
  const scores = new Plot(upper, 170, {...x, ticks: [], label: ""}, {...span([...teacher, ...student]), label: "score z"});
  scores.across(0, "grid");
  teacher.forEach((z, i) => { scores.line(i + 1, z, i + 1, student[i], "pair"); });
  student.forEach((z, i) => scores.dot(i + 1, z, "hollow", 3.5));
  teacher.forEach((z, i) => scores.dot(i + 1, z, "filled", 3.5));
  const most = Math.max(...Object.values(labels).flat());
  const plot = new Plot(lower, 210, x, {from: 0, to: most, label: "probability p"});
  own.forEach((p, i) => plot.dot(i + 1, p, "faint", 3));
  label.forEach((p, i) => { plot.line(i + 1, 0, i + 1, p, "stem"); plot.dot(i + 1, p, "filled", 4); });
}

function labelSaid({labels}, at) {
  const label = labels[key(at)], sorted = [...label].sort((a, b) => b - a), percent = p => `${Math.round(100 * p)} %`;
  const effective = Math.exp(-label.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0));
  return `The likeliest item has ${percent(sorted[0])} of the label, the first five of them ` +
    `${percent(sorted.slice(0, 5).reduce((a, b) => a + b))}; it is spread as over ${effective.toFixed(1)} items.`;
}

// ---------------------------------------------------------------------------------------------------------- the draws

function drawsPlot(box, {popularity, scores, edges, draws}, at) {
  const x = {from: Math.max(1, Math.min(...popularity)) * 0.9, to: Math.max(...popularity) * 1.1, log: true, label: "training interactions of the item"};
  const plot = new Plot(box, 320, x, {...span(scores, 0.05), label: "teacher’s score"});
  popularity.forEach((p, i) => plot.dot(Math.max(p, 1), scores[i], "faint", 2.5));
  for (const edge of edges[key([at[0]])]) plot.upright(edge - 0.5, "cut");
  const {pairs} = draws[key(at)], of = i => [Math.max(popularity[i], 1), scores[i]];
  for (const [better, worse] of pairs) plot.line(...of(better), ...of(worse), "pair");
  for (const [, worse] of pairs) plot.dot(...of(worse), "hollow", 4.5);
  for (const [better] of pairs) plot.dot(...of(better), "filled", 4.5);
}

function drawsSaid({draws}, at) {
  const {pairs, popular} = draws[key(at)];
  return `${pairs.length} pairs; of all users’ pairs ${(100 * popular).toFixed(1)} % have the more popular item as the ` +
    "better one (50 %: popularity has no say).";
}

// ---------------------------------------------------------------------------------------------------------- the bytes

function size(bytes) {
  return bytes < 1e4 ? `${round(bytes)} B` : `${round(bytes / 1e3)} kB`;
}

function sizes(section) {
  const found = read(section);
  if (!found) return;
  const [box, data] = found, input = box.querySelector("[type=range]");
  const source = fill(box, "source", Object.keys(data), () => { settle(); draw(); });
  const [first, ...others] = Object.values(data).map(rows => [...new Set(rows.map(row => row.metric))]);
  const metric = fill(box, "metric", first.filter(name => others.every(names => names.includes(name))), () => { settle(); draw(); });

  function rows() { return data[source.value].filter(row => row.metric === metric.value); }
  function settle() {
    const stops = [...new Set(rows().map(row => row.bytes))].sort((a, b) => a - b);
    slide(input, stops, stops[Math.floor(stops.length / 2)], size);
  }
  function draw() {
    input.say();
    const all = rows(), most = input.at(), bytes = all.map(row => row.bytes), ways = [...new Set(all.map(row => row.way))];
    const best = all.filter(row => row.bytes <= most).reduce((a, b) => b.mean > a.mean ? b : a);
    const x = {from: Math.min(...bytes) * 0.8, to: Math.max(...bytes) * 1.25, log: true, label: "a user or an item"};
    const wide = box.clientWidth > 560, marks = logTicks(x.from, x.to).filter(value => wide || /^1/.test(String(value)));
    const plot = new Plot(box.querySelector(".example"), 340, {...x, ticks: marks.map(value => [value, size(value)])}, {...span(all.flatMap(row => [row.mean, row.low, row.high])), label: metric.value});
    plot.upright(most, "cut");
    ways.forEach((way, n) => {
      const own = all.filter(row => row.way === way).sort((a, b) => a.bytes - b.bytes);
      own.forEach((row, i) => { if (i) plot.line(own[i - 1].bytes, own[i - 1].mean, row.bytes, row.mean, `way-${n % 6}`); });
      for (const row of own) {
        plot.bar(row.bytes, row.low, row.high);
        plot.dot(row.bytes, row.mean, `way-${n % 6}${row.bytes > most ? " beyond" : ""}${row === best ? " now" : ""}`, row === best ? 7 : 4);
      }
    });
    box.querySelector(".legend").replaceChildren(...ways.map((way, n) =>
      Object.assign(document.createElement("span"), {className: `key way-${n % 6}`, textContent: way})));
    plot.text(best.bytes, best.mean, best.model, "best", best.bytes > Math.sqrt(Math.min(...bytes) * Math.max(...bytes)) ? "end" : "start");
    box.querySelector(".readout").textContent = `Of what takes at most ${size(most)} the best is ${best.model} (${best.way}): ` +
      `${metric.value} ${best.mean.toFixed(4)} in ${size(best.bytes)}; of all it is ${Math.max(...all.map(row => row.mean)).toFixed(4)}.`;
  }
  input.addEventListener("input", draw);
  settle();
  redrawn(box, draw);
}

sweeps(document.getElementById("label"), ["γ", "τ"], labelPlot, labelSaid);
sweeps(document.getElementById("draws"), ["K", "μ"], drawsPlot, drawsSaid);
sizes(document.getElementById("sizes"));
