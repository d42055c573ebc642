"use strict";
// The table of questions: search, two filters, sorting by column, pages. Texts only ever become text nodes.
(() => {
  const source = document.getElementById("asked-data");
  if (!source) return;
  const { columns, rows } = JSON.parse(source.textContent);
  source.textContent = "";
  const PAGE = 25, ROUND = 0, TEXT = columns.indexOf("Text"), NOTES = columns.indexOf("Notes"), WHY = columns.length;
  const TRAINING = "training", HELD_OUT = ["audit", "calibration"];
  const $ = (id) => document.getElementById(id);
  const table = $("asked-table"), body = table.tBodies[0], headings = [...table.tHead.rows[0].cells];
  let shown = rows.map((_, place) => place), page = 0, sortedBy = null, descending = false, haystacks = null;

  const words = (row) => row.map((cell) => (Array.isArray(cell) ? cell.join(" ") : cell ?? "")).join("\n").toLowerCase();

  const fits = (notes, wanted) =>
    wanted === TRAINING ? !HELD_OUT.some((name) => notes.includes(name)) : wanted === "" || notes.includes(wanted);

  function filter() {
    const wanted = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const round = $("of-round").value, note = $("of-note").value;
    if (wanted.length && !haystacks) haystacks = rows.map(words);
    shown = [];
    rows.forEach((row, place) => {
      if (round !== "" && String(row[ROUND]) !== round) return;
      if (!fits(row[NOTES], note)) return;
      if (wanted.every((word) => haystacks[place].includes(word))) shown.push(place);
    });
    order();
  }

  const collator = new Intl.Collator(undefined, { numeric: true });

  function order() {
    if (sortedBy !== null) {
      const sign = descending ? -1 : 1;
      const key = (place) => {
        const cell = rows[place][sortedBy];
        return Array.isArray(cell) ? cell.join(" ") : cell;
      };
      const empty = (value) => value === null || value === "";
      shown.sort((one, other) => {
        const left = key(one), right = key(other);
        if (empty(left) || empty(right)) return empty(left) - empty(right) || one - other;
        const by = typeof left === "number" ? left - right : collator.compare(left, right);
        return sign * by || one - other;
      });
    }
    page = 0;
    draw();
  }

  function cellOf(name, value) {
    const cell = document.createElement("td");
    cell.dataset.name = name;
    if (Array.isArray(value)) {
      for (const note of value) {
        const mark = document.createElement("span");
        mark.className = "mark";
        mark.textContent = note;
        cell.append(mark);
      }
    } else if (value !== null && value !== "") {
      const text = document.createElement("bdi");
      text.textContent = value;
      cell.append(text);
    }
    return cell;
  }

  function whyOf(reason) {
    const why = document.createElement("span");
    why.className = "why";
    why.textContent = reason;
    return why;
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const drawn = shown.slice(page * PAGE, (page + 1) * PAGE).map((place) => {
      const line = document.createElement("tr");
      line.append(...columns.map((name, column) => cellOf(name, rows[place][column])));
      line.cells[TEXT].append(whyOf(rows[place][WHY]));
      return line;
    });
    body.replaceChildren(...drawn);
    const n = (count) => count.toLocaleString("en");
    const from = shown.length ? page * PAGE + 1 : 0;
    $("where").textContent = `${n(from)} to ${n(page * PAGE + drawn.length)} of ${n(shown.length)}` +
      (shown.length < rows.length ? ` (${n(rows.length)} in total)` : "");
    $("first-page").disabled = $("previous-page").disabled = page === 0;
    $("last-page").disabled = $("next-page").disabled = page === pages - 1;
  }

  headings.forEach((heading, column) => heading.firstElementChild.addEventListener("click", () => {
    descending = sortedBy === column && !descending;
    sortedBy = column;
    headings.forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    order();
  }));
  let timer = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(filter, 150);
  });
  $("of-round").addEventListener("change", filter);
  $("of-note").addEventListener("change", filter);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  const turn = (id, to) => $(id).addEventListener("click", () => { page = to(); draw(); });
  turn("first-page", () => 0);
  turn("previous-page", () => page - 1);
  turn("next-page", () => page + 1);
  turn("last-page", () => Infinity);
  for (const id of ["filters", "asked-table", "pager"]) $(id).hidden = false;
  draw();
})();
