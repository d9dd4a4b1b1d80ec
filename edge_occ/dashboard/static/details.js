// The dialog with everything about one camera.

import { number } from "./format.js";
import { element, eventTimes, showChart, showCondition, showFacts, showHeatmap, showName, showScore } from "./view.js";

const PICTURES = [
  ["evidence_frame", "Frame"],
  ["evidence_heatmap", "Heatmap"],
];

export class Details {
  constructor() {
    this.root = document.getElementById("details");
    this.camera = null;
    this.root.querySelector("#close").addEventListener("click", () => this.root.close());
    this.root.addEventListener("close", () => (this.camera = null));
    this.root.addEventListener("click", (click) => {
      if (click.target === this.root) this.root.close(); // the ground around it
    });
  }

  open(camera, now, evidence, marks) {
    this.camera = camera;
    this.events = "";
    this.show(now, evidence, marks);
    this.root.showModal();
    this.root.scrollTop = 0;
  }

  show(now, evidence, marks) {
    if (!this.camera) return;
    showName(this.root, this.camera);
    showCondition(this.root, this.camera, now);
    showScore(this.root, this.camera);
    showChart(this.root, this.camera, now);
    showHeatmap(this.root, this.camera);
    showFacts(this.root, this.camera, true);
    this.#showEvents(now, evidence, marks);
  }

  #showEvents(now, evidence, marks) {
    const events = this.camera.events;
    this.root.querySelector(".none").hidden = events.length > 0;
    this.root.querySelector(".scroll").hidden = events.length === 0;
    const text = JSON.stringify([events, evidence, marks]);
    if (this.events === text) return;
    this.events = text;
    this.root.querySelector("tbody").replaceChildren(...events.map((event) => row(event, now, evidence, marks)));
  }
}

function row(event, now, evidence, marks) {
  const { start, end } = eventTimes(event, now);
  const made = element("tr", event.open ? "open" : "");
  const first = element("td", "", start);
  first.append(element("small", "", event.id));
  const frames = element("td", "", String(event.frames));
  if (event.historical) frames.append(element("small", "", "sent later"));
  if (event.muted) frames.append(element("small", "", "muted"));
  const all = evidenceCell(event, evidence);
  if (evidence && marks && event.evidence_record !== undefined) all.append(markButtons(event));
  made.append(first, element("td", "", number(event.peak)), element("td", "", end), frames, all);
  return made;
}

function evidenceCell(event, evidence) {
  const all = element("td", "evidence");
  const cell = element("div");
  all.append(cell);
  for (const [key, name] of PICTURES) {
    if (event[key] === undefined) continue;
    if (!evidence) {
      cell.append(element("code", "", event[key]));
      continue;
    }
    const link = element("a");
    link.href = evidenceUrl(event[key]);
    link.target = "_blank";
    link.rel = "noopener";
    const picture = element("img");
    picture.loading = "lazy";
    picture.alt = `${name} of the event`;
    picture.src = link.href;
    picture.onerror = () => link.replaceWith(element("span", "", `${name}: not there`));
    link.append(picture);
    cell.append(link);
  }
  if (evidence && event.evidence_record !== undefined) {
    const link = element("a", "", "Record");
    link.href = evidenceUrl(event.evidence_record);
    link.target = "_blank";
    link.rel = "noopener";
    cell.append(link);
  }
  if (!cell.hasChildNodes()) cell.textContent = "–";
  return all;
}

// What a person says of the event; the server keeps it next to the evidence.
function markButtons(event) {
  const group = element("div", "marks");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", `Your verdict on the event of ${event.id}`);
  const buttons = ["good", "defect"].map((label) => {
    const button = element("button", "", label === "good" ? "Good" : "Defect");
    button.type = "button";
    button.dataset.label = label;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => send(event.evidence_record, label, group));
    return button;
  });
  const words = element("span", "");
  words.setAttribute("role", "status");
  group.append(...buttons, words);
  fetch(`/mark?${new URLSearchParams({ evidence: event.evidence_record })}`)
    .then((answer) => answer.json())
    .then((kept) => press(group, kept.label))
    .catch(() => undefined); // the server is away, which the page says elsewhere
  return group;
}

async function send(path, label, group) {
  const words = group.querySelector("span");
  try {
    const answer = await fetch("/mark", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ evidence: path, label }),
    });
    words.textContent = answer.ok ? "Kept" : await answer.text();
    if (answer.ok) press(group, label);
  } catch {
    words.textContent = "The server does not answer";
  }
}

function press(group, label) {
  for (const button of group.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.label === label));
  }
}

function evidenceUrl(path) {
  return `/evidence/${path.split("/").map(encodeURIComponent).join("/")}`;
}
