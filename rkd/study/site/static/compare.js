"use strict";
// The table of all methods: sorted by a heading's button, filtered by the form above it.

const table = document.getElementById("compare"), body = table.tBodies[0], rows = [...body.rows];
const filters = [...document.querySelectorAll(".filters [data-column]")], headings = [...table.tHead.rows[0].cells];

for (const filter of filters.filter(filter => filter.tagName === "SELECT" && filter.options.length === 1))
  for (const value of new Set(rows.map(row => row.dataset[filter.dataset.column]))) filter.add(new Option(value, value));

function valueOf(cell) {
  return cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", {numeric: true});
}

function sort(heading) {
  const column = headings.indexOf(heading), number = heading.classList.contains("value");
  const was = heading.getAttribute("aria-sort");
  const down = was ? was === "ascending" : number; // numbers begin with the highest
  for (const other of headings) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const known = row => row.cells[column].textContent !== ""; // what there is not comes last, whichever way
  rows.sort((a, b) => known(b) - known(a) || (down ? -1 : 1) * compare(valueOf(a.cells[column]), valueOf(b.cells[column])));
  body.append(...rows);
}

function show() {
  const wanted = Object.fromEntries(filters.map(filter => [filter.dataset.column, filter.value]));
  for (const row of rows)
    row.hidden = !(["data", "backbone", "choice"].every(name => !wanted[name] || row.dataset[name] === wanted[name]) &&
      row.dataset.method.toLowerCase().includes(wanted.method.trim().toLowerCase()));
  for (const cell of table.querySelectorAll("[data-k]")) cell.hidden = cell.dataset.k !== wanted.k;
  const shown = rows.filter(row => !row.hidden), students = shown.filter(row => row.dataset.teaches === undefined);
  for (const cell of table.querySelectorAll(".best")) cell.classList.remove("best");
  headings.forEach((heading, column) => {
    if (heading.dataset.k === undefined) return;
    const cells = students.map(row => row.cells[column]).filter(cell => cell.dataset.value !== undefined);
    const most = Math.max(...cells.map(valueOf));
    for (const cell of cells) cell.classList.toggle("best", cells.length > 1 && valueOf(cell) === most);
  });
  document.querySelector(".count").textContent = `${shown.length} of ${rows.length} rows`;
}

for (const heading of headings) heading.querySelector("button").addEventListener("click", () => sort(heading));
for (const filter of filters) filter.addEventListener("input", show);
show();
