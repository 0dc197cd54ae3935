// Tables as columns of numbers, filtered and sorted. No DOM here.

function bytes(base64) {
  const text = atob(base64);
  const array = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) array[i] = text.charCodeAt(i);
  return array;
}

function countOf(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

const LETTERS = { file_key: "F-", image_key: "I-" };

class Table {
  constructor({ rows, keys, columns }) {
    this.rows = rows;
    this.keys = {};
    for (const [name, packed] of Object.entries(keys)) this.keys[name] = bytes(packed);
    this.columns = {};
    for (const [name, column] of Object.entries(columns)) {
      const Codes = column.bits === 16 ? Uint16Array : Uint32Array;
      this.columns[name] = {
        values: column.values,
        codes: new Codes(bytes(column.codes).buffer),
      };
    }
  }

  text(name, row) {
    if (name === "status") return this.text("criterion", row) === "" ? "included" : "excluded";
    if (name in this.keys) return this.#key(name, row);
    const column = this.columns[name];
    return column.values[column.codes[row]];
  }

  // Rows on which all tests hold: [column, function of its text].
  select(tests) {
    const passes = tests.map(([name, holds]) => {
      if (name in this.keys) return (row) => holds(this.#key(name, row));
      const { values, codes } = this.columns[name];
      const passing = values.map(holds);
      return (row) => passing[codes[row]];
    });
    const rows = [];
    for (let row = 0; row < this.rows; row++) {
      if (passes.every((pass) => pass(row))) rows.push(row);
    }
    return rows;
  }

  // Rows on which one of the columns holds the text.
  search(rows, names, text) {
    const matches = new Set();
    for (const name of names) {
      for (const row of this.select([[name, (key) => key.includes(text)]])) matches.add(row);
    }
    return rows.filter((row) => matches.has(row));
  }

  // The same rows, sorted by a column, ties in the order of the table.
  sort(rows, name, descending) {
    const rank = this.#ranks(name === "status" ? "criterion" : name);
    const sign = descending ? -1 : 1;
    return [...rows].sort((a, b) => sign * (rank[a] - rank[b]) || a - b);
  }

  distinct(rows, name) {
    const { values, codes } = this.columns[name];
    const seen = new Set();
    for (const row of rows) seen.add(codes[row]);
    seen.delete(values.indexOf(""));
    return seen.size;
  }

  // A number by row that orders as the column's numbers or text do.
  #ranks(name) {
    if (name in this.keys) {
      // Six of eight bytes: all that a double holds, and enough to order keys.
      const view = new DataView(this.keys[name].buffer);
      return Float64Array.from({ length: this.rows }, (_, row) =>
        view.getUint32(8 * row) * 65536 + view.getUint16(8 * row + 4));
    }
    const { values, codes } = this.columns[name];
    const numbers = values.map((text) => (text === "" ? -Infinity : parseFloat(text)));
    const numeric = !numbers.some(Number.isNaN);
    const key = (code) => (numeric ? numbers[code] : values[code]);
    const order = values.map((_, code) => code).sort((a, b) =>
      key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
    const rank = new Uint32Array(values.length);
    order.forEach((code, position) => { rank[code] = position; });
    return Uint32Array.from(codes, (code) => rank[code]);
  }

  #key(name, row) {
    const digits = Array.from(this.keys[name].subarray(8 * row, 8 * row + 8), (byte) =>
      byte.toString(16).padStart(2, "0")).join("");
    return /^0+$/.test(digits) ? "" : LETTERS[name] + digits;
  }
}
