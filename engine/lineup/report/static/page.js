"use strict";
// The page of the server: asks about pictures one by one, and enrols folders.

const PART_FILES = 8;
const PART_BYTES = 32e6;
const MOST_TRIES = 20;
const IMAGE_NAMES = /\.(avif|bmp|gif|heic|heif|jpe?g|png|tiff?|webp)$/i;

/** Ask the server, with the key if there is one; a busy server is asked again when it says so. */
async function ask(path, body) {
  const key = by("key")?.value.trim();
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  for (let tries = 1; ; tries += 1) {
    const response = await fetch(path, { method: body ? "POST" : "GET", headers, body });
    const answer = await response.json();
    const busy = response.status === 429 || response.status === 503;
    if (!busy || tries === MOST_TRIES) return answer;
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  }
}

function formOf(files) {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  return form;
}

/** Return an entry of a picture, whatever comes of it. */
async function entryOf(file) {
  try {
    const answer = await ask("v1/attribute?view=entry", formOf([file]));
    return answer.rows?.[0] ?? { path: file.name, label: "failed", error: answer.error.message };
  } catch (error) {
    return { path: file.name, label: "failed", error: `The server does not answer: ${error.message}` };
  }
}

let waiting = 0;
let answered = 0;
let turn = Promise.resolve();

function tell() {
  const pictures = (count) => `${count} picture${count === 1 ? "" : "s"}`;
  by("status").textContent = waiting
    ? `${pictures(waiting)} waiting for an answer.`
    : `${pictures(answered)} answered.`;
}

/** Ask about pictures in turn; the latest answer stands first. */
function attribute(files) {
  if (by("key")?.value === "") {
    by("status").textContent = "Enter the key for this server first.";
    by("key").focus();
    return;
  }
  for (const file of files) {
    waiting += 1;
    turn = turn.then(async () => {
      const entry = await entryOf(file);
      waiting -= 1;
      answered += 1;
      by("list").prepend(entryNode({ ...entry, picture: URL.createObjectURL(file) }));
      tell();
    });
  }
  tell();
}

/** Split files into requests that are small enough. */
function* parts(files) {
  let part = [];
  let bytes = 0;
  for (const file of files) {
    if (part.length && (part.length === PART_FILES || bytes + file.size > PART_BYTES)) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(file);
    bytes += file.size;
  }
  if (part.length) yield part;
}

async function enrol(name, files) {
  const told = by("enrolled");
  const total = { added: 0, present: 0, failed: [] };
  if (!files.length) {
    told.textContent = "That folder has no pictures.";
    return;
  }
  for (const part of parts(files)) {
    told.textContent = `${total.added + total.present} of ${files.length} pictures enrolled …`;
    const answer = await ask(`v1/sources/${encodeURIComponent(name)}`, formOf(part));
    if (answer.error) {
      told.textContent = answer.error.message;
      return;
    }
    total.added += answer.added;
    total.present += answer.present;
    total.failed.push(...answer.failed);
  }
  const failed = total.failed.map((one) => `${one.path}: ${one.message}`).join("; ");
  told.textContent =
    `${name}: ${total.added} added, ${total.present} known before` +
    (failed ? `, ${total.failed.length} failed (${failed}).` : ".");
  await showSources();
}

async function showSources() {
  const answer = await ask("v1/sources").catch(() => ({}));
  const rows = (answer.sources ?? []).map((one) =>
    element(
      "tr",
      "",
      headed(element("th", "", one.name), "row"),
      element("td", "number", String(one.images)),
      element("td", "", one.provenance),
    ),
  );
  by("sources").replaceChildren(...rows);
}

function start() {
  const drop = by("drop");
  by("files").addEventListener("change", (event) => {
    attribute([...event.target.files]);
    event.target.value = "";
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
    });
  }
  document.addEventListener("drop", (event) => attribute([...event.dataTransfer.files]));
  document.addEventListener("paste", (event) => attribute([...event.clipboardData.files]));
  by("key")?.addEventListener("change", showSources);
  by("access")?.addEventListener("submit", (event) => event.preventDefault());
  by("enrolment")?.addEventListener("submit", (event) => {
    event.preventDefault();
    const files = [...by("folder").files].filter((file) => IMAGE_NAMES.test(file.name));
    enrol(by("name").value, files).catch((error) => (by("enrolled").textContent = error.message));
  });
  if (!by("key")) showSources();
}

start();
