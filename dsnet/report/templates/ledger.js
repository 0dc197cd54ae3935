// The ledger as columns of numbers, filtered and sorted. No DOM here.

function bytes(base64) {
  const text = atob(base64);
  const array = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) array[i] = text.charCodeAt(i);
  return array;
}

class Ledger {
  constructor(data) {
    this.rows = data.rows;
    this.patients = data.patients;
    this.criteria = data.criteria;
    this.thumbnails = data.thumbnails;
    this.keys = { file: bytes(data.file), image: bytes(data.image) };
    this.columns = {};
    for (const [name, column] of Object.entries(data.columns)) {
      const Codes = column.bits === 16 ? Uint16Array : Uint32Array;
      this.columns[name] = {
        values: column.values,
        codes: new Codes(bytes(column.codes).buffer),
      };
    }
  }

  text(name, row) {
    if (name === "file_key") return this.#key("file", "F-", row);
    if (name === "image_key") return this.#key("image", "I-", row);
    if (name === "status") return this.text("criterion", row) === "" ? "included" : "excluded";
    const column = this.columns[name];
    return column.values[column.codes[row]];
  }

  // Rows that pass a filter: {criterion, every, status, patient, series}, each "" for any.
  select(filter) {
    const tests = [];
    const on = (name, holds) => {
      const { values, codes } = this.columns[name];
      const passes = values.map(holds);
      tests.push((row) => passes[codes[row]]);
    };
    if (filter.status) on("criterion", (slug) => (slug === "") === (filter.status === "included"));
    if (filter.criterion && filter.every) {
      on("all_criteria", (all) => all.replaceAll("?", "").split(";").includes(filter.criterion));
    } else if (filter.criterion) {
      on("criterion", (slug) => slug === filter.criterion);
    }
    if (filter.patient) on("patient_key", (key) => key.includes(filter.patient));
    if (filter.series) on("series_key", (key) => key.includes(filter.series));
    const rows = [];
    for (let row = 0; row < this.rows; row++) {
      if (tests.every((passes) => passes(row))) rows.push(row);
    }
    return rows;
  }

  // The same rows, sorted by a column, ties in the order of the ledger.
  sort(rows, name, descending) {
    const rank = this.#ranks(name);
    const sign = descending ? -1 : 1;
    return rows.sort((a, b) => sign * (rank[a] - rank[b]) || a - b);
  }

  patientRows(key) {
    const { values, codes } = this.columns.patient_key;
    const wanted = values.indexOf(key);
    const rows = [];
    for (let row = 0; row < this.rows; row++) if (codes[row] === wanted) rows.push(row);
    return rows;
  }

  countPatients(rows) {
    const { values, codes } = this.columns.patient_key;
    const seen = new Set();
    for (const row of rows) seen.add(codes[row]);
    const without = values.indexOf("");
    return seen.size - (seen.has(without) ? 1 : 0);
  }

  // A number by row that orders as the column's text does.
  #ranks(name) {
    if (name === "status") {
      const { values, codes } = this.columns.criterion;
      return Uint8Array.from(codes, (code) => (values[code] === "" ? 1 : 0));
    }
    if (name === "file_key") {
      // Six of eight bytes: all that a double holds, and enough to order keys.
      const view = new DataView(this.keys.file.buffer);
      return Float64Array.from({ length: this.rows }, (_, row) =>
        view.getUint32(8 * row) * 65536 + view.getUint16(8 * row + 4));
    }
    const { values, codes } = this.columns[name];
    const order = values.map((_, code) => code).sort((a, b) =>
      values[a] < values[b] ? -1 : values[a] > values[b] ? 1 : 0);
    const rank = new Uint32Array(values.length);
    order.forEach((code, position) => { rank[code] = position; });
    return Uint32Array.from(codes, (code) => rank[code]);
  }

  #key(kind, letter, row) {
    const digits = Array.from(this.keys[kind].subarray(8 * row, 8 * row + 8), (byte) =>
      byte.toString(16).padStart(2, "0")).join("");
    return /^0+$/.test(digits) ? "" : letter + digits;
  }
}
