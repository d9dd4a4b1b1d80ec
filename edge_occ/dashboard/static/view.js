// What a tile and the details have in common.  Texts of devices are set as text, never as HTML.

import { draw } from "./chart.js";
import { WORDS, clock, duration, number } from "./format.js";

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function nameOf(camera) {
  return [camera.device, camera.camera, camera.place].filter(Boolean).join(" ");
}

export function showName(root, camera) {
  setText(root.querySelector(".device"), camera.device || "(no name)");
  setText(root.querySelector(".camera"), camera.camera);
  setText(root.querySelector(".place"), camera.place);
  root.querySelector(".device").parentElement.title = nameOf(camera);
}

export function showCondition(root, camera, now) {
  const { name, detail, seen } = camera.condition ?? { name: "waiting", detail: "" };
  root.dataset.condition = name;
  setText(root.querySelector(".condition .word"), WORDS[name] ?? name);
  setText(root.querySelector(".condition .since"), since(camera, name, seen, now));
  const line = root.querySelector(".detail");
  line.hidden = !detail;
  setText(line, detail);
}

function since(camera, name, seen, now) {
  if (name === "silent") return seen ? `since ${clock(seen, now)}` : "no live message yet";
  if (name === "offline") return seen ? `last heard ${clock(seen, now)}` : "";
  const latest = camera.events[0];
  return name === "anomalous" && latest?.open && latest.started ? `since ${clock(latest.started, now)}` : "";
}

export function showScore(root, camera) {
  const score = camera.score;
  setText(root.querySelector(".score .value"), score ? number(score.score) : "–");
  let limits = score ? `threshold ${number(score.threshold)}` : "no score yet";
  if (score?.review_threshold !== undefined) limits += `, review ${number(score.review_threshold)}`;
  setText(root.querySelector(".score .limits"), limits);
}

export function showChart(root, camera, now) {
  draw(root.querySelector(".chart svg"), camera.points, camera.score, now);
}

// The picture before stays until the next one is there; while one loads, no further one is asked for.
export function showHeatmap(root, camera) {
  const figure = root.querySelector(".heatmap");
  const image = figure.querySelector("img");
  const heatmap = camera.heatmap;
  const wanted = heatmap ? `${camera.key} ${heatmap.revision}` : "";
  if (!heatmap) {
    image.hidden = true;
    image.removeAttribute("src");
    image.dataset.shown = "";
  } else if (image.dataset.shown !== wanted && (image.hidden || image.complete || image.dataset.camera !== camera.key)) {
    image.dataset.shown = wanted;
    image.dataset.camera = camera.key;
    image.onload = () => {
      image.hidden = false;
      figure.querySelector("figcaption").hidden = true;
    };
    image.onerror = () => {
      image.hidden = true;
      figure.querySelector("figcaption").hidden = false;
    };
    image.alt = `Heatmap of ${nameOf(camera)}, ${heatmap.verdict}, score ${number(heatmap.score)}`;
    const { place, device, camera: name } = camera;
    const query = new URLSearchParams({ place, device, camera: name, v: heatmap.revision });
    image.src = `/snapshot.jpg?${query}`;
  }
  if (!heatmap) figure.querySelector("figcaption").hidden = false;
}

export function showFacts(root, camera, all) {
  const stats = camera.stats;
  const facts = [
    ["Frames/s", stats ? stats.fps.toFixed(1) : "–"],
    ["Latency p95", stats && stats.latency_p95_ms > 0 ? `${Math.round(stats.latency_p95_ms)} ms` : "–"],
    ["Dropped", stats ? String(stats.dropped + stats.lost) : "–"],
  ];
  facts.push(["Drift", !stats ? "–" : stats.drift_alarm ? "Alarm" : "None"]);
  if (all && stats) {
    facts.push(["Drift, log10", number(stats.drift_log10)], ["Drift, PSI", number(stats.drift_psi)]);
    facts.push(["Frames", String(stats.frames)], ["Faults", String(stats.faults)], ["Events lost", String(stats.events_lost)]);
    facts.push(["Engine", stats.engine], ["Bundle", stats.bundle]);
  }
  const list = root.querySelector(".facts");
  while (list.children.length > facts.length) list.lastElementChild.remove();
  facts.forEach(([name, value], index) => {
    if (!list.children[index]) {
      const pair = element("div");
      pair.append(element("dt"), element("dd"));
      list.append(pair);
    }
    const [term, words] = list.children[index].children;
    setText(term, name);
    setText(words, value);
    list.children[index].classList.toggle("alarm", name === "Drift" && value === "Alarm");
  });
}

// Times of an event in words.
export function eventTimes(event, now) {
  const start = event.started === undefined ? "before the page" : clock(event.started, now);
  let end = "still open";
  if (event.ended !== undefined) {
    end = event.started === undefined ? clock(event.ended, now) : `${clock(event.ended, now)} (${duration(event.ended - event.started)})`;
    if (event.reason) end += `, ${event.reason}`;
  } else if (!event.open) {
    end = "not seen";
  }
  return { start, end };
}
