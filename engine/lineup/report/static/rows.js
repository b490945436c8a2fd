"use strict";
// Draws the entries of lineup/report/entries.py. Text is only ever set as text: no markup in a
// file's name can take effect.

const NOBODY = ["generated", "photograph"];
const BARS = 3;
const by = (id) => document.getElementById(id);

/** Return an element with a class, and children that are elements or texts; null is left out. */
function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children.filter((one) => one !== null && one !== undefined));
  return made;
}

function percent(share) {
  return share === null ? "–" : `${(100 * share).toFixed(1)} %`;
}

/** Return a number with two decimals, and its sign if asked for; nothing where there is none. */
function fixed(value, signed = false) {
  if (value === null || value === undefined) return "";
  return (value < 0 ? "−" : signed ? "+" : "") + Math.abs(value).toFixed(2);
}

/** Return the picture of an entry; nothing where a browser cannot show the file. */
function pictureOf(address) {
  const box = element("div", "picture");
  if (address) {
    const image = element("img");
    image.loading = "lazy";
    image.decoding = "async";
    image.alt = "";
    image.addEventListener("error", () => image.remove());
    image.src = address;
    box.append(image);
  }
  return box;
}

/** Return the likeliest answers, each with its name, a bar and a number. */
function barsOf(entry) {
  const bars = element("ul", "bars");
  for (const [name, share] of entry.posterior.slice(0, BARS)) {
    const fill = element("span", NOBODY.includes(name) ? "fill nobody" : "fill");
    fill.style.width = `${100 * (share ?? 0)}%`;
    const track = element("span", "track", fill);
    track.setAttribute("aria-hidden", "true");
    bars.append(
      element("li", "", element("span", "name", name), track, element("span", "value", percent(share))),
    );
  }
  return bars;
}

function headed(cell, scope) {
  cell.scope = scope;
  return cell;
}

/** Return a table of the posterior, and of every evidence's score and log likelihood ratio. */
function evidenceOf(entry) {
  const head = element("tr", "", headed(element("th", "", "source"), "col"));
  head.append(headed(element("th", "number", "posterior"), "col"));
  for (const one of entry.evidence) {
    const scored = Object.keys(one.scores).length > 0;
    if (scored) head.append(headed(element("th", "number", `${one.name} score`), "col"));
    head.append(headed(element("th", "number", scored ? "LLR" : `${one.name} LLR`), "col"));
  }
  const body = element("tbody");
  for (const [name, share] of entry.posterior) {
    const row = element("tr", entry.named.includes(name) ? "named" : "");
    row.append(headed(element("th", "", name), "row"), element("td", "number", percent(share)));
    for (const one of entry.evidence) {
      const scored = Object.keys(one.scores).length > 0;
      if (scored) row.append(element("td", "number", fixed(one.scores[name])));
      row.append(element("td", "number", fixed(one.llr[name], true)));
    }
    body.append(row);
  }
  return element("div", "wide", element("table", "", element("thead", "", head), body));
}

/** Return lines that follow the table: what the evidence saw and what was remarked. */
function remarksOf(entry) {
  const lines = [];
  for (const one of entry.evidence) {
    if (one.nearest.length) lines.push(`Nearest images by ${one.name}: ${one.nearest.join(", ")}`);
    if (one.in_words) lines.push(one.in_words);
  }
  if (entry.channel) lines.push(`Channel: ${entry.channel}`);
  if (entry.set.length) lines.push(`Conformal set: ${entry.set.join(", ")}`);
  if (entry.caption) lines.push(`Caption: ${entry.caption}`);
  lines.push(...entry.claims.map((text) => `Declared, ${text}`), ...entry.remarks);
  if (entry.sha256) lines.push(`SHA-256 ${entry.sha256}`);
  lines.push(`${Math.round(entry.ms)} ms`);
  return element("ul", "remarks", ...lines.map((line) => element("li", "", line)));
}

/** Return what the candidates made of the caption, the closest one of each. */
function resynthesesOf(entry) {
  const figures = element("div", "resyntheses");
  for (const one of entry.resyntheses ?? []) {
    const image = element("img");
    image.src = one.picture;
    image.alt = `Resynthesis by ${one.candidate}`;
    figures.append(
      element("figure", "", image, element("figcaption", "", `${one.candidate}, closest of ${one.count}`)),
    );
  }
  return figures.childElementCount ? figures : null;
}

function detailsOf(entry) {
  const summary = element("summary", "", "Evidence");
  return element("details", "", summary, evidenceOf(entry), resynthesesOf(entry), remarksOf(entry));
}

/** Return an entry as it is shown in report and page. */
function entryNode(entry) {
  const what = element("div", "what", element("h3", "path", entry.path));
  if (entry.size) what.append(element("p", "dim", entry.size));
  if (entry.declared) what.append(element("p", "declared", entry.declared));
  const node = element("article", "entry", pictureOf(entry.picture), what);
  if (entry.label === "failed") {
    what.append(element("p", "warning", `Failed. ${entry.error}`));
    return node;
  }
  what.append(element("p", "sentence", entry.sentence));
  if (entry.disagreement) what.append(element("p", "warning", `They disagree: ${entry.disagreement}.`));
  what.append(element("p", "dim", entry.remarks[0] ?? entry.caveat));
  node.append(element("div", "likely", barsOf(entry)), detailsOf(entry));
  return node;
}
