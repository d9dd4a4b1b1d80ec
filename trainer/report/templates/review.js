"use strict";
// Marks stay in this browser until the file is saved; nothing leaves it otherwise.
const data = JSON.parse(document.getElementById("data").textContent);
const articles = [...document.querySelectorAll("article")];
const strip = [...document.querySelectorAll(".strip button")];
const marks = [...document.querySelectorAll("[data-label]")];
const names = articles.map((article) => article.dataset.name);
const known = marks.map((button) => button.dataset.label);
const text = document.getElementById("text");
const count = document.getElementById("count");
const key = `${data.schema}/${data.bundle}`;
const labels = new Map();
let current = 0;

function restore() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(key)) || {};
  } catch {
    // No storage, or another program's: the page starts without marks.
  }
  for (const name of names) if (known.includes(kept[name])) labels.set(name, kept[name]);
  const open = names.findIndex((name) => !labels.has(name));
  show(open < 0 ? 0 : open, false);
}

function keep() {
  try {
    localStorage.setItem(key, JSON.stringify(Object.fromEntries(labels)));
  } catch {
    count.textContent += " This browser does not keep marks: save the file before you close the page.";
  }
}

function review() {
  const ordered = names.filter((name) => labels.has(name)).map((name) => [name, labels.get(name)]);
  // fromEntries, as a name such as __proto__ would be lost in an assignment.
  return JSON.stringify({ schema: data.schema, bundle: data.bundle, labels: Object.fromEntries(ordered) }, null, 2) + "\n";
}

function draw() {
  const label = labels.get(names[current]);
  for (const button of marks) button.setAttribute("aria-pressed", String(button.dataset.label === label));
  strip.forEach((button, i) => {
    const own = labels.get(names[i]) || "";
    button.className = own;
    button.setAttribute("aria-current", String(i === current));
    button.setAttribute("aria-label", `image ${i + 1}, ${own || "not marked"}`);
  });
  const number = (wanted) => [...labels.values()].filter((own) => own === wanted).length;
  count.textContent =
    `${labels.size} of ${names.length} marked: ${number("good")} good, ` +
    `${number("defective")} defective, ${number("unsure")} unsure.`;
  text.value = review();
}

function show(index, follow = true) {
  current = Math.min(Math.max(index, 0), names.length - 1);
  articles.forEach((article, i) => { article.hidden = i !== current; });
  draw();
  const bar = strip[current].parentElement;
  bar.scrollLeft = strip[current].offsetLeft - (bar.clientWidth - strip[current].offsetWidth) / 2;
  const { top } = articles[current].getBoundingClientRect();
  if (follow && (top < 0 || top > innerHeight / 2)) bar.scrollIntoView();
}

function mark(label) {
  if (labels.get(names[current]) === label) {
    labels.delete(names[current]);
    draw();
  } else {
    labels.set(names[current], label);
    show(current + 1);
  }
  keep();
}

function save() {
  const url = URL.createObjectURL(new Blob([review()], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = "review.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

const keys = { ArrowLeft: () => show(current - 1), ArrowRight: () => show(current + 1) };
for (const button of marks) keys[button.dataset.label[0]] = () => mark(button.dataset.label);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target === text) return;
  const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act || event.repeat && event.key.length === 1) return;
  event.preventDefault();
  act();
});
for (const button of marks) button.addEventListener("click", () => mark(button.dataset.label));
for (const button of document.querySelectorAll("[data-step]")) {
  button.addEventListener("click", () => show(current + Number(button.dataset.step)));
}
strip.forEach((button, i) => button.addEventListener("click", () => show(i)));
document.getElementById("save").addEventListener("click", save);
text.addEventListener("focus", () => text.select());
restore();
