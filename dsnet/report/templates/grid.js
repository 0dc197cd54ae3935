// A table of any length: only the rows in sight are in the document.

const HEADS = [
  ["file_key", "File"], ["patient_key", "Patient"], ["series_key", "Series"],
  ["status", "Status"], ["criterion", "Criterion"], ["evidence", "Evidence"],
  ["all_criteria", "All that it fails"],
];
const MARGIN_ROWS = 8;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

class Grid {
  constructor(ledger, open) {
    this.ledger = ledger;
    this.open = open;
    this.viewport = document.getElementById("viewport");
    this.table = document.getElementById("grid");
    this.body = this.table.tBodies[0];
    this.rows = [];
    this.active = 0;
    this.order = { name: "", descending: false };
    this.#makeHead();
    this.rowHeight = this.#measure();
    this.viewport.addEventListener("scroll", () => this.#soon());
    new ResizeObserver(() => this.#soon()).observe(this.viewport);
    this.table.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("click", (event) => this.#click(event));
  }

  show(rows) {
    this.unsorted = rows;
    this.rows = this.order.name
      ? this.ledger.sort([...rows], this.order.name, this.order.descending) : rows;
    this.active = 0;
    this.viewport.scrollTop = 0;
    this.table.setAttribute("aria-rowcount", rows.length + 1);
    this.#draw();
  }

  sortBy(name) {
    const again = this.order.name === name;
    this.order = { name, descending: again && !this.order.descending };
    for (const head of this.table.tHead.rows[0].cells) {
      const sorted = head.dataset.name === name;
      const direction = this.order.descending ? "descending" : "ascending";
      head.setAttribute("aria-sort", sorted ? direction : "none");
    }
    this.show(this.unsorted);
  }

  #makeHead() {
    for (const [name, title] of HEADS) {
      const button = element("button", { type: "button" }, title);
      button.addEventListener("click", () => this.sortBy(name));
      const head = element("th", { scope: "col", role: "columnheader", "aria-sort": "none" }, button);
      head.dataset.name = name;
      head.className = name;
      this.table.tHead.rows[0].append(head);
    }
  }

  #measure() {
    const row = element("tr", {}, element("td", {}, "F"));
    this.body.replaceChildren(row);
    const height = row.getBoundingClientRect().height;
    this.body.replaceChildren();
    return height || 32;
  }

  #soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.#draw(); });
  }

  #draw() {
    const inSight = Math.ceil(this.viewport.clientHeight / this.rowHeight);
    const top = Math.floor(this.viewport.scrollTop / this.rowHeight) - MARGIN_ROWS;
    const last = Math.max(0, this.rows.length - inSight - 2 * MARGIN_ROWS);
    const first = Math.min(Math.max(0, top), last);
    const end = Math.min(this.rows.length, first + inSight + 2 * MARGIN_ROWS);
    const visible = document.createDocumentFragment();
    visible.append(this.#space(first));
    for (let index = first; index < end; index++) visible.append(this.#row(index));
    visible.append(this.#space(this.rows.length - end));
    this.body.replaceChildren(visible);
    this.#markActive();
  }

  #space(rows) {
    const space = element("tr", { "aria-hidden": "true", class: "space" });
    space.style.height = `${rows * this.rowHeight}px`;
    return space;
  }

  #row(index) {
    const row = this.rows[index];
    const made = element("tr", { role: "row", id: `row-${index}`, "aria-rowindex": index + 2 });
    made.dataset.index = index;
    for (const [name] of HEADS) {
      const text = this.ledger.text(name, row);
      const cell = element("td", { role: "gridcell", class: name }, text);
      if (text.length > 20) cell.title = text;
      if (name === "status") cell.classList.add(text);
      made.append(cell);
    }
    return made;
  }

  #markActive() {
    for (const row of this.body.querySelectorAll("[aria-selected]")) row.removeAttribute("aria-selected");
    const row = document.getElementById(`row-${this.active}`);
    if (row) row.setAttribute("aria-selected", "true");
    if (row) this.table.setAttribute("aria-activedescendant", row.id);
    else this.table.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    if (event.target !== this.table) return;
    const page = Math.max(1, Math.floor(this.viewport.clientHeight / this.rowHeight) - 2);
    const moves = {
      ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page,
      Home: -this.rows.length, End: this.rows.length,
    };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (this.rows.length) this.open(this.rows[this.active]);
    } else if (event.key in moves) {
      event.preventDefault();
      this.active = Math.min(Math.max(0, this.active + moves[event.key]), this.rows.length - 1);
      this.#reveal();
    }
  }

  #reveal() {
    const head = this.table.tHead.getBoundingClientRect().height;
    const top = this.active * this.rowHeight;
    const room = this.viewport.clientHeight - head - this.rowHeight;
    if (top < this.viewport.scrollTop) this.viewport.scrollTop = top;
    if (top > this.viewport.scrollTop + room) this.viewport.scrollTop = top - room;
    this.#draw();
  }

  #click(event) {
    const row = event.target.closest("tr[data-index]");
    if (!row) return;
    this.active = Number(row.dataset.index);
    this.#markActive();
    this.open(this.rows[this.active]);
  }
}
