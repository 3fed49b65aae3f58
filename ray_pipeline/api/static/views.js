// The views that are refreshed while they are visible: throughput, gaps, jobs, quotas, tables.

import { get } from "./api.js";
import { age, byId, clock, count, el, empty, svg, table } from "./dom.js";

const WIDTH = 800;
const HEIGHT = 160;
const TRACK = 400;

export async function flow(root) {
  const [{ samples }, { topics }] = await Promise.all([get("/v1/throughput"), get("/v1/health")]);
  if (samples.length < 2) return root.replaceChildren(empty("The first samples appear within ten seconds."));
  const feeds = Object.keys(samples.at(-1).feeds);
  root.replaceChildren(
    ...plot("Records stored per second", samples, feeds, (row) => row?.records_per_s),
    ...plot("Records in Kafka that are not stored yet", samples, feeds, (row) => row?.lag),
    ...topicTable(topics.filter((row) => row.trouble || row.notice)),
  );
}

function topicTable(rows) {
  if (!rows.length) return [];
  return [el("h2", {}, "Topics that differ from the settings, or that nothing reads"), table(
    ["Topic", ["Settings", "number"], ["Broker", "number"], ["Unread", "number"], ["Cause", "prose"]],
    rows.map((row) => [row.topic, count(row.configured), count(row.present), count(row.unread_records), row.trouble || row.notice]))];
}

function plot(title, samples, feeds, value) {
  const from = samples[0].at_s;
  const span = Math.max(samples.at(-1).at_s - from, 1);
  const highest = Math.max(1, ...samples.flatMap((sample) => feeds.map((feed) => value(sample.feeds[feed]) ?? 0)));
  const x = (at) => ((at - from) / span) * WIDTH;
  const y = (number) => HEIGHT - (number / highest) * (HEIGHT - 24);
  const path = (feed) => samples
    .filter((sample) => typeof value(sample.feeds[feed]) === "number")
    .map((sample, at) => `${at ? "L" : "M"}${x(sample.at_s).toFixed(1)} ${y(value(sample.feeds[feed])).toFixed(1)}`)
    .join("");
  const now = (feed) => count(Math.round(value(samples.at(-1).feeds[feed]) ?? 0));
  const words = feeds.map((feed) => `${feed} ${now(feed)}`).join(", ");
  return [
    el("h2", {}, title),
    svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: now ${words}` },
      svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y(highest), y2: y(highest) }),
      ...feeds.map((feed, at) => svg("path", { class: `line-${at % 3}`, d: path(feed), "vector-effect": "non-scaling-stroke" }))),
    el("ul", { class: "legend" }, ...feeds.map((feed, at) =>
      el("li", {}, svg("svg", { viewBox: "0 0 20 6", "aria-hidden": "true" }, svg("line", { class: `line-${at % 3}`, x1: 0, x2: 20, y1: 3, y2: 3 })), ` ${feed}: ${now(feed)}`)),
      el("li", { class: "soft" }, `top ${count(Math.round(highest))}; ${age(span)} until ${clock(samples.at(-1).at_s * 1000)}`)),
  ];
}

export async function gaps(root) {
  const { rows } = await get("/v1/gaps?limit=100");
  if (!rows.length) return root.replaceChildren(empty("No gaps. Data that cannot be collected will be listed here, with the cause."));
  root.replaceChildren(table(
    ["Feed", "Kind", "From", "To", ["Symbols", "optional"], ["Cause", "prose"]],
    rows.map((row) => [
      `${row.feed}/${row.shard}`, row.kind.replaceAll("_", " "), clock(row.from_at), clock(row.to_at),
      row.symbols ? symbols(row.symbols) : "all of the shard", row.cause,
    ])));
}

const symbols = (names) => names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");

export async function jobs(root) {
  const [{ jobs: specs }, { runs }] = await Promise.all([get("/v1/jobs"), get("/v1/runs?limit=500")]);
  if (!runs.length) return root.replaceChildren(empty("No job has run yet. `ray-pipeline jobs` lists when each runs."));
  const begun = (run) => Date.parse(run.started_at ?? run.claimed_at);
  const to = Date.now();
  const from = Math.min(...runs.map(begun));
  const lanes = specs.map((job) => ({ job, runs: runs.filter((run) => run.job === job.name) }));
  lanes.sort((a, b) => b.runs.length - a.runs.length || a.job.name.localeCompare(b.job.name));
  root.replaceChildren(
    el("p", { class: "soft" }, `From ${clock(from)} to ${clock(to)}; each mark is a run.`),
    table(["Job", "Runs", "Last", ["Rows", "number optional"], ["Why", "prose"]], lanes.map(({ job, runs: jobRuns }) => [
      job.name, track(jobRuns, begun, from, to), state(job.last?.state),
      job.last ? count((job.last.rows_new ?? 0) + (job.last.rows_changed ?? 0)) : "", job.last?.why || (job.next ? `next ${clock(job.next)}` : "on request"),
    ])));
}

function track(runs, begun, from, to) {
  const scale = TRACK / Math.max(to - from, 1);
  return svg("svg", { class: "track", viewBox: `0 0 ${TRACK} 16`, preserveAspectRatio: "none", role: "img", "aria-label": `${runs.length} runs` },
    ...runs.map((run) => {
      const x = (begun(run) - from) * scale;
      const end = run.finished_at ? Date.parse(run.finished_at) : to;
      const width = Math.max((end - begun(run)) * scale, 3);
      return svg("rect", { class: `run-${run.state}`, x: Math.min(x, TRACK - 3), y: 2, width, height: 12 },
        svg("title", {}, `${clock(begun(run))} ${run.state}`));
    }));
}

const MARKS = { succeeded: ["✓", "good"], nothing_new: ["✓", "good"], failed: ["✗", "bad"], refused: ["✗", "bad"], deferred: ["…", "warn"] };

function state(name) {
  if (!name) return el("span", { class: "soft whole" }, "not yet");
  const [mark, kind] = MARKS[name] ?? ["▶", ""];
  return el("span", { class: `${kind} whole` }, `${mark} ${name.replaceAll("_", " ")}`);
}

export async function quotas(root) {
  const { quotas: rows } = await get("/v1/quotas");
  if (!rows.length) return root.replaceChildren(empty("No provider has a key. Add keys to PIPELINE_API_KEYS."));
  root.replaceChildren(table(["Provider", ["Key", "optional"], "Window", "Used", ["Left", "number"], "Room again"], rows.map((row) => {
    const all = row.used + row.left;
    const bar = el("meter", { min: 0, max: Math.max(all, 1), value: row.used, high: all * 0.8, "aria-label": `${row.used} of ${all} used` });
    const rests = row.rests_until ? `rests: ${row.reason}` : clock(row.resets_at);
    return [row.provider, row.key || "none needed", row.window.replace("/", " per "), bar, count(row.left), rests];
  })));
}

export async function tables(root) {
  const { tables: rows } = await get("/v1/freshness");
  root.replaceChildren(table(["Table", "State", ["Age", "number optional"], ["Why", "prose"]], rows.map((row) => [
    row.table,
    el("span", { class: row.fresh ? "good whole" : "bad whole" }, row.fresh ? "✓ fresh" : "✗ not fresh"),
    age(row.age_s), row.why,
  ])));
}

export async function feeds() {
  const page = await get("/v1/health");
  byId("simulated").hidden = !page.simulated.length;
  byId("simulated").textContent = `simulated: ${page.simulated.join(", ")}`;
  byId("feeds").replaceChildren(...Object.entries(page.feeds).map(([name, row]) => {
    const facts = {
      "records/s": row.records_per_s === null ? "…" : count(Math.round(row.records_per_s)),
      stored: count(row.stored),
      lag: count(row.lag),
      "last record": age(row.last_record_age_s),
      symbols: `${row.symbols_confirmed} of ${row.symbols_wanted}`,
      "gaps in 24 h": count(row.gaps_24h),
    };
    return el("article", { class: "card" }, el("h2", {}, name),
      el("dl", {}, ...Object.entries(facts).flatMap(([term, text]) => [el("dt", {}, term), el("dd", {}, text)])));
  }));
}
