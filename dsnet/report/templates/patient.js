// One patient: outcome, thumbnails and every file.

const MOST_FILES = 1000;
const SVG = "http://www.w3.org/2000/svg";

function svgElement(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class PatientView {
  constructor(ledger) {
    this.ledger = ledger;
    this.dialog = document.getElementById("patient");
    this.content = document.getElementById("patient-content");
    this.words = new Map(ledger.criteria.map((one) => [one.slug, one]));
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
  }

  open(row) {
    const key = this.ledger.text("patient_key", row);
    const rows = this.ledger.patientRows(key);
    const title = element("h2", { id: "patient-title" }, key || "Files without a patient");
    this.content.replaceChildren(title, this.#facts(key, rows), ...this.#pictures(rows),
      ...this.#files(rows, row));
    this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }

  #facts(key, rows) {
    const list = element("dl", { class: "facts" });
    const say = (name, text) => list.append(
      element("div", {}, element("dt", {}, name), element("dd", {}, text)));
    if (key) {
      const [files, included, criterion, subset, stratum] = this.ledger.patients[key];
      say("Outcome", included ? "included" : "excluded");
      say("Files", `${files.toLocaleString("en")}, ${included.toLocaleString("en")} of them included`);
      if (criterion) say("Criterion", this.#criterion(criterion));
      if (subset) say("Subset", subset);
      if (stratum) say("Class", stratum);
    } else {
      say("Files", `${rows.length}: nothing of their header could be read`);
    }
    return list;
  }

  #criterion(slug) {
    const criterion = this.words.get(slug);
    return `${criterion.code} ${criterion.words}: ${criterion.reason}`;
  }

  #pictures(rows) {
    const pictured = rows.filter((row) => row in this.ledger.thumbnails);
    if (!pictured.length) return [element("p", { class: "note" }, "None of these images is among the thumbnails.")];
    const list = element("ul", { class: "pictures" });
    for (const row of pictured) list.append(this.#picture(row));
    return [element("h3", {}, `Thumbnails of ${pictured.length} of ${rows.length} files`), list];
  }

  #picture(row) {
    const one = this.ledger.thumbnails[row];
    const [width, height] = [one.width_px, one.height_px];
    const status = this.ledger.text("criterion", row);
    const words = status ? `excluded: ${this.words.get(status).words}` : this.#labels(one);
    const picture = svgElement("svg", {
      viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Slice ${this.ledger.text("file_key", row)}, ${words}`,
    });
    picture.append(svgElement("image", { href: one.source, width, height }));
    for (const box of one.boxes) {
      picture.append(svgElement("rect", {
        x: box.x_min * width, y: box.y_min * height, class: `box ${box.label}`,
        width: (box.x_max - box.x_min) * width, height: (box.y_max - box.y_min) * height,
      }));
    }
    return element("li", {}, picture, element("span", {}, words));
  }

  #labels(one) {
    return one.boxes.map((box) => `${box.level}, ${box.label}`).join("; ");
  }

  #files(rows, opened) {
    const body = element("tbody");
    for (const row of rows.slice(0, MOST_FILES)) {
      const text = (name) => this.ledger.text(name, row);
      const why = text("evidence") || this.words.get(text("criterion"))?.reason || "";
      const made = element("tr", row === opened ? { class: "opened" } : {},
        element("td", {}, element("code", {}, text("file_key"))),
        element("td", {}, text("level")),
        element("td", { class: text("status") }, text("status")),
        element("td", {}, text("all_criteria").replaceAll(";", ", ").replaceAll("_", " ")),
        element("td", {}, why),
        element("td", {}, text("decided_by") === "rule" ? "" : text("decided_by")));
      body.append(made);
    }
    const heads = ["File", "Level", "Status", "All that it fails (? review)", "Evidence", "Reader"];
    const head = element("tr", {}, ...heads.map((words) => element("th", { scope: "col" }, words)));
    const table = element("table", {}, element("thead", {}, head), body);
    const all = rows.length > MOST_FILES
      ? [element("p", { class: "note" }, `The first ${MOST_FILES} of ${rows.length}; the ledger filtered by this patient has all.`)] : [];
    return [element("h3", {}, "Files"), element("div", { class: "wide" }, table), ...all];
  }
}
