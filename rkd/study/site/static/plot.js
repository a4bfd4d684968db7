"use strict";
// A plot with axes, in an SVG as wide as its box, so that text keeps its size on a phone.

function put(parent, tag, attributes = {}, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return parent.appendChild(made);
}

function round(value, digits = 3) {
  return String(Number(value.toPrecision(digits)));
}

function ticks(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= 0.7 * rough);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high * (1 + 1e-9); n++) found.push(n * step);
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const n of [1, 2, 5]) if (n * 10 ** power >= low && n * 10 ** power <= high) found.push(n * 10 ** power);
  return found;
}

class Plot {
  // x, y: {from, to, log, label, ticks: [[value, text], …]}
  constructor(box, height, x, y) {
    box.replaceChildren();
    this.width = Math.max(box.clientWidth, 240);
    this.height = height;
    this.left = 52; this.right = this.width - 12; this.top = 14; this.bottom = height - 40;
    this.svg = put(box, "svg", {width: this.width, height, viewBox: `0 0 ${this.width} ${height}`, "aria-hidden": "true"});
    this.axes = {x, y};
    const fitting = Math.max(2, Math.floor((this.right - this.left) / 70));
    for (const [value, text] of x.ticks ?? this.given(x, fitting)) {
      put(this.svg, "line", {class: "tick", x1: this.x(value), x2: this.x(value), y1: this.bottom, y2: this.bottom + 4});
      put(this.svg, "text", {class: "tick", x: this.x(value), y: this.bottom + 16, "text-anchor": "middle"}, text);
    }
    for (const [value, text] of y.ticks ?? this.given(y, Math.max(2, Math.floor(height / 45)))) {
      put(this.svg, "line", {class: "grid", x1: this.left, x2: this.right, y1: this.y(value), y2: this.y(value)});
      put(this.svg, "text", {class: "tick", x: this.left - 6, y: this.y(value) + 4, "text-anchor": "end"}, text);
    }
    put(this.svg, "text", {class: "axis", x: this.right, y: height - 6, "text-anchor": "end"}, x.label);
    put(this.svg, "text", {class: "axis", x: 0, y: 10}, y.label);
  }

  given({from, to, log}, most) {
    return (log ? logTicks(from, to) : ticks(from, to, most)).map(value => [value, round(value)]);
  }

  share({from, to, log}, value) {
    return log ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from);
  }

  x(value) { return this.left + (this.right - this.left) * this.share(this.axes.x, value); }
  y(value) { return this.bottom - (this.bottom - this.top - 8) * this.share(this.axes.y, value); }

  dot(x, y, name, r = 4) { put(this.svg, "circle", {class: name, cx: this.x(x), cy: this.y(y), r}); }
  line(x1, y1, x2, y2, name) {
    put(this.svg, "line", {class: name, x1: this.x(x1), y1: this.y(y1), x2: this.x(x2), y2: this.y(y2)});
  }
  across(y, name) { this.line(this.axes.x.from, y, this.axes.x.to, y, name); }
  upright(x, name) { this.line(x, this.axes.y.from, x, this.axes.y.to, name); }
  bar(x, low, high) { if (low !== null) this.line(x, low, x, high, "reach"); }
  text(x, y, text, name, anchor = "start") {
    put(this.svg, "text", {class: name, x: this.x(x) + (anchor === "start" ? 8 : -8), y: this.y(y) + 4, "text-anchor": anchor}, text);
  }
}

function span(values, margin = 0.12) {
  const known = values.filter(value => value !== null), low = Math.min(...known), high = Math.max(...known);
  const reach = (high - low || Math.abs(high) || 1) * margin;
  return {from: low - reach, to: high + reach};
}
