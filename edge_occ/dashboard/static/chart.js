// The history of scores as paths of one SVG; x is time, y the score from the lower edge.

import { number } from "./format.js";

const WIDTH = 300;
const HEIGHT = 80;
const SPAN = 300_000; // milliseconds, as many as the server keeps
const TIMES = 3; // the threshold: higher scores are drawn there, so that those of good parts remain visible
const GAP = 20_000; // beyond it, two points are not joined

export function draw(svg, points, score, now) {
  const shown = points.filter(([at]) => at > now - SPAN - 1000);
  const limits = [score?.threshold, score?.review_threshold].filter((limit) => limit !== undefined);
  const values = [...shown.map(([, value]) => value), ...limits];
  const highest = Math.max(...shown.map(([, value]) => value));
  const limit = score?.threshold > 0 ? TIMES * score.threshold : Infinity;
  const top = Math.min(Math.max(...values, 1e-9) * 1.08, limit);
  const bottom = Math.min(0, ...values);
  const x = (at) => (WIDTH * (1 - Math.min((now - at) / SPAN, 1))).toFixed(1);
  const y = (value) => (2 + (HEIGHT - 4) * (1 - (Math.min(value, top) - bottom) / (top - bottom))).toFixed(1);

  let line = "";
  let before = -Infinity;
  for (const [at, value] of shown) {
    line += at - before > GAP ? `M${x(at)} ${y(value)}h0` : `L${x(at)} ${y(value)}`;
    before = at;
  }
  const bars = shown.filter(([, , level]) => level === 2).map(([at, value]) => `M${x(at)} ${HEIGHT}V${y(value)}`);
  const across = (value) => (value === undefined ? "" : `M0 ${y(value)}H${WIDTH}`);
  set(svg.querySelector(".scores"), line);
  set(svg.querySelector(".bars"), bars.join(""));
  set(svg.querySelector(".threshold"), across(score?.threshold));
  set(svg.querySelector(".review"), across(score?.review_threshold));
  const words = score ? `Scores of the last 5 minutes: latest ${number(score.score)}, threshold ${number(score.threshold)}` : "No scores yet";
  svg.setAttribute("aria-label", shown.length ? `${words}, highest ${number(highest)}` : words);
}

function set(path, line) {
  if (path.getAttribute("d") !== line) path.setAttribute("d", line);
}
