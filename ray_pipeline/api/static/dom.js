// Elements and texts. No part of the page interprets data as markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** A table: heads are texts or [text, class]; rows are lists of texts or elements. */
export function table(heads, rows) {
  const classes = heads.map((head) => (Array.isArray(head) ? head[1] : null));
  const names = heads.map((head) => (Array.isArray(head) ? head[0] : head));
  const cells = (row) => row.map((cell, at) => el("td", { class: classes[at] }, ...breakable(cell ?? "")));
  return el("div", { class: "wide" },
    el("table", {},
      el("thead", {}, el("tr", {}, ...names.map((name, at) =>
        el("th", { scope: "col", class: classes[at] }, name)))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells(row))))));
}

/** Long names of tables and jobs may break after an underscore. */
const breakable = (cell) => typeof cell !== "string" ? [cell]
  : cell.split(/(?<=_)/).flatMap((part, at) => (at ? [el("wbr"), part] : [part]));

export const empty = (text) => el("p", { class: "empty" }, text);

export const count = (number) => Number(number).toLocaleString("en-US");

export function clock(time) {
  if (!time) return "";
  const text = new Date(time).toISOString();
  return text.startsWith(new Date().toISOString().slice(0, 10))
    ? text.slice(11, 19) : text.slice(0, 16).replace("T", " ");
}

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "never";
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}
