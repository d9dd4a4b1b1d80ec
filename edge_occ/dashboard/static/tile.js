// One camera in the overview.

import { duration, number } from "./format.js";
import { element, eventTimes, showChart, showCondition, showFacts, showHeatmap, showName, showScore } from "./view.js";

const SHOWN = 3; // events

export class Tile {
  // `open(camera)` is called when the user asks for details.
  constructor(camera, open) {
    this.camera = camera;
    this.root = document.getElementById("tile").content.firstElementChild.cloneNode(true);
    this.visible = false;
    showName(this.root, camera);
    this.root.querySelector(".open").addEventListener("click", () => open(camera));
  }

  // Everything that the overview counts on, also where nobody sees the tile.
  showState(now) {
    showCondition(this.root, this.camera, now);
  }

  show(now) {
    showScore(this.root, this.camera);
    showChart(this.root, this.camera, now);
    showHeatmap(this.root, this.camera);
    showFacts(this.root, this.camera, false);
    this.#showEvents(now);
  }

  #showEvents(now) {
    const events = this.camera.events.slice(0, SHOWN);
    const list = this.root.querySelector(".events");
    this.root.querySelector(".none").hidden = events.length > 0;
    list.hidden = events.length === 0;
    const lines = events.map((event) => {
      const { start } = eventTimes(event, now);
      let length = event.open ? "open" : "end not seen";
      if (event.ended !== undefined) length = event.started === undefined ? "ended" : duration(event.ended - event.started);
      return [start, `peak ${number(event.peak)}`, length, event.open ? "open" : ""];
    });
    const text = JSON.stringify(lines);
    if (list.dataset.text === text) return;
    list.dataset.text = text;
    list.replaceChildren(
      ...lines.map(([start, peak, length, className]) => {
        const line = element("li", className);
        line.append(element("span", "start", start), element("span", "peak", peak), element("span", "length", length));
        return line;
      }),
    );
  }
}
