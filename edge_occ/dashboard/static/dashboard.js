// The page of a line: takes pushes of the server, keeps what they say, and shows it.

import { Details } from "./details.js";
import { ATTENTION, WORDS, number } from "./format.js";
import { Tile } from "./tile.js";
import { element, nameOf, setText } from "./view.js";

const POINTS = 300; // of each camera, as many as the server keeps
const LOST = 16_000; // milliseconds without a push, of which there is one every 5 s
const RETRY = 3_000;
const ANNOUNCE = 3_000;

const list = document.getElementById("tiles");
const tiles = new Map(); // by place, device and camera
const numbers = new Map(); // the server's numbers
const details = new Details();
const order = new Intl.Collator(undefined, { numeric: true });
let line = { connected: false, address: "", problem: "" };
let evidence = false;
let marks = false;
let offset = 0; // of the server's clock, milliseconds
let heard = performance.now();
let lost = false;
let attentionOnly = false;
let drawing = false;
let toAnnounce = new Map();

const now = () => Date.now() + offset;

const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const tile = [...tiles.values()].find((one) => one.root === entry.target);
      if (tile) tile.visible = entry.isIntersecting;
    }
    draw();
  },
  { rootMargin: "200px" },
);

function take(push) {
  offset = push.now - Date.now();
  line = push.broker;
  evidence = push.evidence;
  marks = push.marks;
  document.getElementById("review").hidden = !push.review;
  if (push.whole) begin(push.tiles);
  for (const change of push.tiles) merge(change);
  showLine(push);
  draw();
}

// A new connection, perhaps to a new server: what it does not name is gone.
function begin(changes) {
  const named = new Set(changes.map(keyOf));
  numbers.clear();
  for (const [key, tile] of tiles) {
    if (named.has(key)) continue;
    if (details.camera === tile.camera) details.root.close();
    seen.unobserve(tile.root);
    tile.root.remove();
    tiles.delete(key);
  }
  for (const tile of tiles.values()) tile.camera.points = [];
}

function merge(change) {
  let camera = numbers.get(change.id);
  if (!camera) {
    const key = keyOf(change);
    const tile = tiles.get(key) ?? add(key, change);
    camera = tile.camera;
    numbers.set(change.id, camera);
  }
  const before = camera.condition?.name;
  for (const part of ["condition", "score", "stats", "heatmap", "events"]) {
    if (change[part] !== undefined) camera[part] = change[part];
  }
  for (const point of change.points ?? []) addPoint(camera.points, point);
  const after = camera.condition?.name;
  if (before !== after && before !== undefined && ATTENTION.includes(after)) toAnnounce.set(camera.key, camera);
}

function keyOf({ place, device, camera }) {
  return JSON.stringify([place, device, camera]);
}

function add(key, { place, device, camera }) {
  const made = { key, place, device, camera, points: [], events: [] };
  const tile = new Tile(made, (of) => details.open(of, now(), evidence, marks));
  const next = [...tiles.values()]
    .filter((other) => compare(other.camera, made) > 0)
    .sort((a, b) => compare(a.camera, b.camera))[0];
  list.insertBefore(tile.root, next?.root ?? null);
  tiles.set(key, tile);
  seen.observe(tile.root);
  return tile;
}

function compare(a, b) {
  const parts = ["place", "device", "camera"].map((part) => order.compare(a[part], b[part]));
  return parts.find((sign) => sign !== 0) ?? (a.key < b.key ? -1 : 1);
}

// A point is replaced while its second lasts.
function addPoint(points, point) {
  while (points.length && points.at(-1)[0] >= point[0]) points.pop();
  points.push(point);
  if (points.length > POINTS) points.shift();
}

function showLine(push) {
  const counts = new Map();
  for (const { camera } of tiles.values()) {
    const name = camera.condition?.name ?? "waiting";
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const parts = Object.keys(WORDS).filter((name) => counts.has(name));
  const summary = document.getElementById("summary");
  const text = parts.map((name) => `${counts.get(name)} ${WORDS[name].toLowerCase()}`);
  if (summary.dataset.text !== text.join()) {
    summary.dataset.text = text.join();
    summary.replaceChildren(...parts.map((name, index) => {
      const item = element("li", "", text[index]);
      item.dataset.condition = name;
      return item;
    }));
    const urgent = text.filter((_, index) => ATTENTION.includes(parts[index]));
    document.title = [...urgent, "edge-occ"].join(" · ");
  }
  if (push?.left_out) notice(`${push.left_out} messages of further devices, or too large, are not shown.`);
  showConnection();
}

function notice(text) {
  const shown = document.getElementById("notice");
  shown.hidden = false;
  setText(shown, text);
}

function showConnection() {
  const broker = document.getElementById("broker");
  broker.dataset.connected = String(line.connected && !lost);
  document.body.dataset.lost = String(lost);
  let words = line.connected ? "Broker connected" : `No broker at ${line.address}: ${line.problem}`;
  if (lost) words = "No connection to the dashboard's server; trying again";
  setText(document.getElementById("broker-words"), words);
  const empty = document.getElementById("empty");
  empty.hidden = tiles.size > 0;
  setText(empty, line.connected ? "No device has published anything yet." : words);
}

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const moment = now();
    let shown = 0;
    for (const tile of tiles.values()) {
      tile.showState(moment);
      tile.root.hidden = attentionOnly && !ATTENTION.includes(tile.root.dataset.condition) && !isInUse(tile);
      shown += tile.root.hidden ? 0 : 1;
      if (tile.visible && !tile.root.hidden) tile.show(moment);
    }
    list.dataset.count = shown <= 2 ? String(shown) : shown <= 8 ? "few" : "many";
    details.show(moment, evidence, marks);
  });
}

// What has the focus, or will have it again, is not hidden.
function isInUse(tile) {
  return tile.root.contains(document.activeElement) || details.camera === tile.camera;
}

function filter(only) {
  attentionOnly = only;
  document.getElementById("all").setAttribute("aria-pressed", String(!only));
  document.getElementById("attention").setAttribute("aria-pressed", String(only));
  draw();
}

function connect() {
  const source = new EventSource("/stream");
  source.onmessage = (message) => {
    heard = performance.now();
    lost = false;
    take(JSON.parse(message.data));
  };
  source.onerror = () => {
    lost = true;
    showConnection();
    if (source.readyState === EventSource.CLOSED) setTimeout(reconnect, RETRY); // refused; otherwise it tries by itself
  };
}

async function reconnect() {
  try {
    const answer = await fetch("/healthz");
    if (answer.status === 401) {
      location.assign("/login");
      return;
    }
  } catch {
    // The server is away.
  }
  connect();
}

document.getElementById("all").addEventListener("click", () => filter(false));
document.getElementById("attention").addEventListener("click", () => filter(true));
setInterval(() => {
  lost ||= performance.now() - heard > LOST;
  showConnection();
  draw();
}, 1000);
setInterval(() => {
  if (!toAnnounce.size) return;
  const words = [...toAnnounce.values()].slice(0, 3).map((camera) => {
    const score = camera.score && camera.condition.name === "anomalous" ? `, score ${number(camera.score.score)}` : "";
    return `${nameOf(camera)}: ${WORDS[camera.condition.name]}${score}`;
  });
  if (toAnnounce.size > 3) words.push(`and ${toAnnounce.size - 3} more`);
  toAnnounce = new Map();
  setText(document.getElementById("announcer"), words.join("; "));
}, ANNOUNCE);
connect();
