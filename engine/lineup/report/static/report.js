// The list of a report: unpacks the rows, filters, orders and pages them.

const controls = ["search", "answer", "order", "size"];
let entries = [];
let chosen = [];
let page = 0;

const ORDERS = {
  path: (a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0),
  label: (a, b) => (a.label < b.label ? -1 : a.label > b.label ? 1 : 0),
  share: (a, b) => (b.share ?? -1) - (a.share ?? -1),
  ms: (a, b) => b.ms - a.ms,
};

/** Return the entries of one packed chunk. */
async function unpacked(node) {
  const text = atob(node.textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  node.remove();
  return new Response(stream).json();
}

function matches(entry, answer, words) {
  if (answer.startsWith("=") && entry.label !== answer.slice(1)) return false;
  if (answer === "declared" && !entry.declared) return false;
  if (answer === "disagreement" && !entry.disagreement) return false;
  if (!words.length) return true;
  const text = `${entry.path} ${entry.sha256} ${entry.declared ?? ""} ${entry.error ?? ""}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function choose() {
  const words = by("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const answer = by("answer").value;
  chosen = entries.filter((entry) => matches(entry, answer, words));
  const order = ORDERS[by("order").value];
  if (order) chosen.sort(order);
  page = 0;
  draw();
}

function draw() {
  const size = Number(by("size").value);
  const pages = Math.max(1, Math.ceil(chosen.length / size));
  page = Math.min(Math.max(page, 0), pages - 1);
  const some = chosen.slice(page * size, (page + 1) * size);
  by("list").replaceChildren(...some.map(entryNode));
  const number = (value) => value.toLocaleString("en");
  const first = page * size + 1;
  by("shown").textContent = some.length
    ? `Images ${number(first)} to ${number(first + some.length - 1)} of ${number(chosen.length)}` +
      (chosen.length < entries.length ? `, chosen from ${number(entries.length)}` : "")
    : "No image matches.";
  by("number").textContent = `Page ${number(page + 1)} of ${number(pages)}`;
  by("pager").hidden = pages === 1;
  by("first").disabled = by("previous").disabled = page === 0;
  by("next").disabled = by("last").disabled = page === pages - 1;
}

function turn(to) {
  page = to;
  draw();
  by("rows").scrollIntoView();
}

async function start() {
  by("controls").hidden = false;
  by("controls").addEventListener("submit", (event) => event.preventDefault());
  controls.forEach((id) => by(id).addEventListener("input", choose));
  by("first").addEventListener("click", () => turn(0));
  by("previous").addEventListener("click", () => turn(page - 1));
  by("next").addEventListener("click", () => turn(page + 1));
  by("last").addEventListener("click", () => turn(Infinity));
  const chunks = [...document.querySelectorAll("script.rows")];
  for (const chunk of chunks) {
    entries = entries.concat(await unpacked(chunk));
    if (chunk === chunks[0]) choose();
  }
  choose();
}

start();
