// Connects filters, tables and the view of a patient.

const DATA = JSON.parse(document.getElementById("data").textContent);
const CRITERIA = new Map(DATA.criteria.map((one) => [one.slug, { ...one, title: `${one.code} ${one.words}` }]));
const FILES = new Table(DATA.files);
const PATIENTS = new Table(DATA.patients);
const MOST_PRINTED = 5000;
const view = new PatientView(FILES, PATIENTS, CRITERIA, DATA.thumbnails);

function cellOf(table, name) {
  return (row) => table.text(name, row);
}

function statusOf(table) {
  return (row) => element("span", { class: table.text("status", row) }, table.text("status", row));
}

function titleOf(table) {
  return (row) => CRITERIA.get(table.text("criterion", row))?.title || "";
}

const PATIENT_HEADS = [
  ["patient_key", "Patient", cellOf(PATIENTS, "patient_key")],
  ["status", "Status", statusOf(PATIENTS)],
  ["criterion", "Criterion", titleOf(PATIENTS)],
  ["n_files", "Files", cellOf(PATIENTS, "n_files")],
  ["n_included", "Included", cellOf(PATIENTS, "n_included")],
  ["interval_days", "Days from DXA to CT", cellOf(PATIENTS, "interval_days")],
  ["subset", "Subset", cellOf(PATIENTS, "subset")],
  ["stratum", "Class", cellOf(PATIENTS, "stratum")],
];

const FILE_HEADS = [
  ["status", "Status", statusOf(FILES)],
  ["criterion", "Criterion", titleOf(FILES)],
  ["evidence", "Evidence", cellOf(FILES, "evidence")],
  ["all_criteria", "Also fails", (row) =>
    alsoFails(CRITERIA, FILES.text("criterion", row), FILES.text("all_criteria", row))],
  ["file_key", "File", cellOf(FILES, "file_key")],
  ["patient_key", "Patient", cellOf(FILES, "patient_key")],
];

const patientGrid = new Grid("patients-grid", PATIENTS, PATIENT_HEADS,
  (row) => view.open(PATIENTS.text("patient_key", row)));
const fileGrid = new Grid("files-grid", FILES, FILE_HEADS,
  (row) => view.open(FILES.text("patient_key", row), row));
const patientFilter = document.getElementById("patients-filter");
const fileFilter = document.getElementById("files-filter");

function fillOptions(select, table) {
  const count = new Map();
  const { values, codes } = table.columns.criterion;
  for (const code of codes) count.set(values[code], (count.get(values[code]) || 0) + 1);
  for (const [slug, { title }] of CRITERIA) {
    select.append(element("option", { value: slug }, `${title} (${(count.get(slug) || 0).toLocaleString("en")})`));
  }
}

function tests(chosen, names) {
  const wanted = names.filter((name) => chosen[name].value)
    .map((name) => [name, (text) => text.split(" and ").includes(chosen[name].value)]);
  if (chosen.status.value) {
    wanted.push(["criterion", (slug) => (slug === "") === (chosen.status.value === "included")]);
  }
  return wanted;
}

// Keys are written with a capital letter; text without one means any of them.
function keyText(field) {
  return field.value.trim().toLowerCase().replace(/^([fisp])-/, (_, letter) => `${letter.toUpperCase()}-`);
}

function applyPatients() {
  const chosen = patientFilter.elements;
  const key = keyText(chosen.key);
  let rows = PATIENTS.select(tests(chosen, ["criterion", "subset", "stratum"]));
  if (key) rows = PATIENTS.search(rows, ["patient_key"], key);
  patientGrid.show(rows);
  document.getElementById("patients-count").textContent =
    `${rows.length.toLocaleString("en")} of ${countOf(PATIENTS.rows, "patient")}`;
  document.getElementById("patients-hint").hidden = !key || /^P-[0-9a-f]*$/.test(key);
}

function applyFiles() {
  const chosen = fileFilter.elements;
  const criterion = chosen.criterion.value;
  const wanted = tests(chosen, chosen.every.checked ? [] : ["criterion"]);
  if (criterion && chosen.every.checked) {
    wanted.push(["all_criteria", (all) => all.replaceAll("?", "").split(";").includes(criterion)]);
  }
  let rows = FILES.select(wanted);
  const key = keyText(chosen.key);
  if (key) rows = FILES.search(rows, ["patient_key", "series_key", "file_key", "image_key"], key);
  fileGrid.show(rows);
  document.getElementById("files-count").textContent =
    `${rows.length.toLocaleString("en")} of ${countOf(FILES.rows, "file")}, ` +
    countOf(FILES.distinct(rows, "patient_key"), "patient");
}

function connect(form, apply) {
  fillOptions(form.elements.criterion, form === fileFilter ? FILES : PATIENTS);
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  apply();
}

// On paper there are no pages: all patients of the filter are printed, and what is folded.
function beforePrint() {
  for (const fold of document.querySelectorAll("details.printed")) fold.open = true;
  const rows = patientGrid.rows.slice(0, MOST_PRINTED);
  document.getElementById("patients-print").replaceChildren(...rows.map((row) =>
    element("tr", {}, ...PATIENT_HEADS.map(([name, , cell]) => element("td", { class: name }, cell(row))))));
  const count = document.getElementById("patients-count").textContent;
  document.getElementById("patients-printed").textContent = rows.length < patientGrid.rows.length
    ? `${count}; the first ${rows.length.toLocaleString("en")} are printed.` : count;
}

connect(patientFilter, applyPatients);
connect(fileFilter, applyFiles);
window.addEventListener("beforeprint", beforePrint);
window.addEventListener("afterprint", () => document.getElementById("patients-print").replaceChildren());
for (const button of document.querySelectorAll("button[data-criterion]")) {
  button.addEventListener("click", () => {
    fileFilter.reset();
    fileFilter.elements.criterion.value = button.dataset.criterion;
    fileFilter.elements.every.checked = "every" in button.dataset;
    applyFiles();
    document.getElementById("files").scrollIntoView();
    fileGrid.focus();
  });
}
