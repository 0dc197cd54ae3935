// Wires filter, table and patient together.

const ledger = new Ledger(JSON.parse(document.getElementById("data").textContent));
const patientView = new PatientView(ledger);
const grid = new Grid(ledger, (row) => patientView.open(row));
const filter = document.getElementById("filter");
const count = document.getElementById("count");

function fillCriteria() {
  const files = new Map();
  const { values, codes } = ledger.columns.criterion;
  for (const code of codes) files.set(values[code], (files.get(values[code]) || 0) + 1);
  for (const { slug, code, words } of ledger.criteria) {
    const option = element("option", { value: slug }, `${code} ${words} (${files.get(slug) || 0})`);
    filter.elements.criterion.append(option);
  }
}

function apply() {
  const chosen = filter.elements;
  const rows = ledger.select({
    criterion: chosen.criterion.value,
    every: chosen.every.checked,
    status: chosen.status.value,
    patient: chosen.patient.value.trim().toLowerCase().replace(/^p-/, "P-"),
    series: chosen.series.value.trim().toLowerCase().replace(/^s-/, "S-"),
  });
  grid.show(rows);
  const say = (n) => n.toLocaleString("en");
  count.textContent = `${say(rows.length)} of ${say(ledger.rows)} files, ` +
    `${say(ledger.countPatients(rows))} patients`;
}

// On paper nothing can be unfolded.
function unfold() {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
}

fillCriteria();
window.addEventListener("beforeprint", unfold);
filter.addEventListener("input", apply);
filter.addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("reset", () => setTimeout(apply));
for (const button of document.querySelectorAll("button[data-criterion]")) {
  button.addEventListener("click", () => {
    filter.reset();
    filter.elements.criterion.value = button.dataset.criterion;
    filter.elements.every.checked = "every" in button.dataset;
    apply();
    document.getElementById("ledger").scrollIntoView();
    grid.table.focus({ preventScroll: true });
  });
}
apply();
