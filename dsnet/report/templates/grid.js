// A table of any length, a page at a time: rows are as high as their text.

const PAGE_ROWS = 25;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

class Grid {
  // heads: [column, title, function of a row that returns text or an element].
  constructor(id, table, heads, open) {
    this.id = id;
    this.source = table;
    this.heads = heads;
    this.open = open;
    this.rows = [];
    this.active = 0;
    this.order = { name: "", descending: false };
    const container = document.getElementById(id);
    this.table = container.querySelector("table");
    this.body = this.table.tBodies[0];
    this.pager = container.querySelector(".pager");
    this.#makeHead();
    this.table.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("click", (event) => this.#click(event));
    const [previous, next] = this.pager.querySelectorAll("button");
    previous.addEventListener("click", () => this.#turn(-PAGE_ROWS));
    next.addEventListener("click", () => this.#turn(PAGE_ROWS));
  }

  show(rows) {
    this.unsorted = rows;
    const { name, descending } = this.order;
    this.rows = name ? this.source.sort(rows, name, descending) : rows;
    this.active = 0;
    this.table.setAttribute("aria-rowcount", rows.length + 1);
    this.#draw();
  }

  focus() {
    this.table.focus({ preventScroll: true });
  }

  #sortBy(name) {
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
    for (const [name, title] of this.heads) {
      const button = element("button", { type: "button" }, title);
      button.addEventListener("click", () => this.#sortBy(name));
      const head = element("th", { scope: "col", role: "columnheader", "aria-sort": "none" }, button);
      head.dataset.name = name;
      head.className = name;
      this.table.tHead.rows[0].append(head);
    }
  }

  get #first() {
    return this.active - (this.active % PAGE_ROWS);
  }

  #draw() {
    const first = this.#first;
    const end = Math.min(this.rows.length, first + PAGE_ROWS);
    const visible = document.createDocumentFragment();
    for (let index = first; index < end; index++) visible.append(this.#row(index));
    this.body.replaceChildren(visible);
    this.firstShown = first;
    this.#markActive();
    const [previous, next] = this.pager.querySelectorAll("button");
    previous.disabled = first === 0;
    next.disabled = end === this.rows.length;
    const number = (n) => n.toLocaleString("en");
    this.pager.querySelector("span").textContent = this.rows.length
      ? `${number(first + 1)} to ${number(end)} of ${number(this.rows.length)}` : "no row";
    this.pager.hidden = this.rows.length <= PAGE_ROWS;
  }

  #row(index) {
    const row = this.rows[index];
    const made = element("tr", { role: "row", id: `${this.id}-${index}`, "aria-rowindex": index + 2 });
    made.dataset.index = index;
    for (const [name, , cell] of this.heads) {
      made.append(element("td", { role: "gridcell", class: name }, cell(row)));
    }
    return made;
  }

  #markActive() {
    for (const row of this.body.rows) {
      row.setAttribute("aria-selected", Number(row.dataset.index) === this.active);
    }
    if (this.rows.length) {
      this.table.setAttribute("aria-activedescendant", `${this.id}-${this.active}`);
    } else {
      this.table.removeAttribute("aria-activedescendant");
    }
  }

  #key(event) {
    if (event.target !== this.table || event.ctrlKey || event.altKey || event.metaKey) return;
    const moves = {
      ArrowDown: 1, ArrowUp: -1, PageDown: PAGE_ROWS, PageUp: -PAGE_ROWS,
      Home: -this.rows.length, End: this.rows.length,
    };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (this.rows.length) this.open(this.rows[this.active]);
    } else if (event.key in moves) {
      event.preventDefault();
      this.#move(moves[event.key]);
    }
  }

  #move(step) {
    this.active = Math.max(0, Math.min(this.active + step, this.rows.length - 1));
    if (this.firstShown === this.#first) this.#markActive();
    else this.#draw();
    this.body.rows[this.active - this.#first]?.scrollIntoView({ block: "nearest" });
  }

  #turn(step) {
    this.active = this.#first + step;
    this.#draw();
    this.table.scrollIntoView({ block: "start" });
  }

  #click(event) {
    const row = event.target.closest("tr[data-index]");
    if (!row) return;
    this.active = Number(row.dataset.index);
    this.#markActive();
    this.open(this.rows[this.active]);
  }
}
