// One patient: outcome, what would have to change, thumbnails and every file.

const MOST_FILES = 1000;
const SVG = "http://www.w3.org/2000/svg";

function svgElement(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Criteria that a file fails, without those that only flag it for review.
function failing(allCriteria) {
  return allCriteria.split(";").filter((slug) => slug && !slug.endsWith("?"));
}

function intervals(days) {
  return days.split(", ").map(Number).map((number) => {
    if (number === 0) return "on the day of the CT";
    return `${countOf(Math.abs(number), "day")} ${number > 0 ? "before" : "after"} the CT`;
  }).join("; ");
}

class PatientView {
  constructor(files, patients, criteria, thumbnails) {
    this.files = files;
    this.patients = patients;
    this.criteria = criteria;
    this.thumbnails = thumbnails;
    this.dialog = document.getElementById("patient");
    this.content = document.getElementById("patient-content");
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
  }

  // `opened`: the file that was asked for, null where the patient was.
  open(key, opened = null) {
    const rows = this.files.select([["patient_key", (text) => text === key]]);
    const title = element("h2", { id: "patient-title" }, key || "Files without a patient");
    this.content.replaceChildren(title, this.#facts(key, rows), ...this.#pictures(rows),
      ...this.#list(rows, opened));
    this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }

  #facts(key, rows) {
    const list = element("dl", { class: "facts" });
    const add = (name, ...content) => list.append(
      element("div", {}, element("dt", {}, name), element("dd", {}, ...content)));
    if (!key) {
      add("Files", `${rows.length}: nothing of their header could be read`);
      return list;
    }
    const [patient] = this.patients.select([["patient_key", (text) => text === key]]);
    const text = (name) => this.patients.text(name, patient);
    add("Outcome", element("span", { class: text("status") }, text("status")));
    add("Files", `${rows.length.toLocaleString("en")}, ${Number(text("n_included")).toLocaleString("en")} of them included`);
    if (text("subset")) add("Subset", text("subset"));
    if (text("stratum")) add("Class", text("stratum"));
    if (text("interval_days")) add("DXA exam", intervals(text("interval_days")));
    if (text("criterion")) {
      const { title, reason, threshold } = this.criteria.get(text("criterion"));
      add("Criterion", `${title}: ${reason}${threshold ? ` Limit: ${threshold}.` : ""}`);
      const evidence = this.#evidence(rows, text("criterion"));
      if (evidence) add("Evidence", evidence);
      add("What would have to change", ...this.#changes(rows));
    }
    return list;
  }

  #evidence(rows, criterion) {
    const counts = new Map();
    for (const row of rows) {
      if (this.files.text("criterion", row) !== criterion) continue;
      const text = this.files.text("evidence", row);
      if (text) counts.set(text, (counts.get(text) || 0) + 1);
    }
    const texts = [...counts].map(([text, number]) => `${text} (${countOf(number, "file")})`);
    return texts.length > 3 ? `${texts.slice(0, 3).join("; ")}; ${texts.length - 3} more` : texts.join("; ");
  }

  // Of the file that fails the fewest criteria.
  #changes(rows) {
    let nearest = null;
    let fewest = [];
    for (const row of rows) {
      const slugs = failing(this.files.text("all_criteria", row));
      if (nearest === null || slugs.length < fewest.length) [nearest, fewest] = [row, slugs];
    }
    const list = element("ul", {}, ...fewest.map((slug) => element("li", {},
      `${this.criteria.get(slug).title}: ${this.criteria.get(slug).remedy}`)));
    const number = fewest.length === 1 ? "1 criterion" : `${fewest.length} criteria`;
    return ["The nearest file, ", element("code", {}, this.files.text("file_key", nearest)),
      `, fails ${number}:`, list];
  }

  #pictures(rows) {
    const pictured = rows.filter((row) => row in this.thumbnails);
    if (!pictured.length) return [element("p", { class: "note" }, "None of these images is among the thumbnails.")];
    const list = element("ul", { class: "pictures" });
    for (const row of pictured) list.append(this.#picture(row));
    return [element("h3", {}, `Thumbnails of ${pictured.length} of ${countOf(rows.length, "file")}`), list];
  }

  #picture(row) {
    const one = this.thumbnails[row];
    const [width, height] = [one.width_px, one.height_px];
    const criterion = this.files.text("criterion", row);
    const words = criterion ? `excluded: ${this.criteria.get(criterion).words}`
      : one.boxes.map((box) => `${box.level}, ${box.label}`).join("; ");
    const picture = svgElement("svg", {
      viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Slice ${this.files.text("file_key", row)}, ${words}`,
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

  #list(rows, opened) {
    const body = element("tbody");
    for (const row of rows.slice(0, MOST_FILES)) {
      const text = (name) => this.files.text(name, row);
      const why = text("evidence") || this.criteria.get(text("criterion"))?.reason || "";
      body.append(element("tr", row === opened ? { class: "opened" } : {},
        element("td", { class: text("status") }, text("status")),
        element("td", {}, this.criteria.get(text("criterion"))?.title || text("level")),
        element("td", {}, why),
        element("td", {}, alsoFails(this.criteria, text("criterion"), text("all_criteria"))),
        element("td", {}, text("decided_by") === "rule" ? "" : text("decided_by")),
        element("td", {}, element("code", {}, text("file_key")))));
    }
    const heads = ["Status", "Criterion or level", "Evidence", "Also fails", "Reader", "File"];
    const head = element("tr", {}, ...heads.map((words) => element("th", { scope: "col" }, words)));
    const table = element("table", {}, element("thead", {}, head), body);
    const all = rows.length > MOST_FILES
      ? [element("p", { class: "note" }, `The first ${MOST_FILES} of ${rows.length}; the table of files, filtered by this patient, has all.`)] : [];
    const wide = element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Files of the patient" }, table);
    return [element("h3", {}, "Files"), wide, ...all];
  }
}

// The other criteria that a file fails or that ask for a review, in words.
function alsoFails(criteria, first, allCriteria) {
  return allCriteria.split(";").filter((slug) => slug && slug !== first).map((slug) => {
    const name = criteria.get(slug.replace("?", "")).words;
    return slug.endsWith("?") ? `${name} (review)` : name;
  }).join(", ");
}
