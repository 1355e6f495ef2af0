// The diagram of the network: a column of units per layer, and the weights between them.

import { paintMap, palette, sharpContext } from "./colors.js";

export class Network {
  // actions: toggleFeature(id), resize(layer, change), inspect(unit or null), pin(unit)
  constructor(hello, actions) {
    this.hello = hello;
    this.actions = actions;
    this.box = document.getElementById("diagram");
    this.columns = document.getElementById("columns");
    this.links = document.getElementById("links");
    this.formula = document.getElementById("formula");
    this.features = hello.features.map((feature) => ({
      ...feature,
      values: Int8Array.from(atob(feature.map), (character) => character.charCodeAt(0)),
    }));
    this.unitButtons = []; // per layer; layer 0 holds the chosen features
    this.inspected = null;
    this.link = null;
    this.frame = null;
    new ResizeObserver(() => this.measure()).observe(this.box);
    this.box.addEventListener("pointermove", (event) => this.findLink(event));
    this.box.addEventListener("pointerleave", () => this.setLink(null));
  }

  // Build the columns for some settings; the focus stays on the control that had it.
  build(settings) {
    this.settings = settings;
    const focus = document.activeElement?.id;
    const layers = settings.hidden.length;
    this.columns.replaceChildren();
    this.unitButtons = [[]];
    this.link = null;

    const inputs = this.addColumn("Features", "features");
    for (const feature of this.features) {
      const isChosen = settings.features.includes(feature.id);
      const button = this.makeUnit(`feature-${feature.id}`, "feature");
      const name = document.createElement("span");
      name.className = "math";
      name.innerHTML = mathLabel(feature.label);
      button.prepend(name);
      button.setAttribute("aria-pressed", String(isChosen));
      button.addEventListener("click", () => this.actions.toggleFeature(feature.id));
      inputs.append(button);
      if (isChosen) this.unitButtons[0].push(button);
    }

    settings.hidden.forEach((units, layer) => {
      const column = this.addColumn(`<span>Layer ${layer + 1}</span> <i>${this.letterOf(layer + 1)}</i>`, "layer", (head) => {
        const change = (by, sign, word) => {
          const button = document.createElement("button");
          button.type = "button";
          button.id = `layer-${layer + 1}-${word}`;
          button.textContent = sign;
          button.setAttribute("aria-label", `Layer ${layer + 1}: one unit ${word}`);
          button.disabled = by < 0 ? units <= 1 : units >= this.hello.limits.units;
          button.addEventListener("click", () => this.actions.resize(layer, by));
          return button;
        };
        const count = document.createElement("span");
        count.textContent = units;
        count.setAttribute("aria-label", `${units} units`);
        count.setAttribute("role", "img");
        head.append(change(-1, "−", "less"), count, change(1, "+", "more"));
      });
      this.unitButtons.push([]);
      for (let unit = 0; unit < units; unit++) {
        column.append(this.addUnit(layer + 1, unit, `Layer ${layer + 1}, unit ${unit + 1}`));
      }
    });
    const output = this.addColumn("Output", "output");
    this.unitButtons.push([]);
    output.append(this.addUnit(layers + 1, 0, "Output"));
    this.box.classList.toggle("is-deep", layers > 3);

    this.paintFeatures();
    this.inspect(null);
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
    this.measure();
  }

  addColumn(title, kind, fill) {
    const column = document.createElement("div");
    column.className = `column ${kind}`;
    column.setAttribute("role", "group");
    column.setAttribute("aria-label", title.replace(/<.*?>/g, ""));
    const head = document.createElement("div");
    head.className = "column-head";
    const name = document.createElement("h3");
    name.innerHTML = title;
    head.append(name);
    if (fill) {
      const controls = document.createElement("div");
      controls.className = "counter";
      fill(controls);
      head.append(controls);
    }
    const units = document.createElement("div");
    units.className = "units";
    column.append(head, units);
    this.columns.append(column);
    return units;
  }

  makeUnit(id, kind) {
    const button = document.createElement("button");
    button.type = "button";
    button.id = id;
    button.className = `unit ${kind}`;
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    button.append(canvas);
    return button;
  }

  addUnit(layer, index, label) {
    const button = this.makeUnit(`unit-${layer}-${index + 1}`, "neuron");
    const unit = { layer, index, label };
    button.setAttribute("aria-label", label);
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-describedby", "formula");
    button.addEventListener("pointerenter", () => this.inspect(unit));
    button.addEventListener("pointerleave", () => this.inspect(null));
    button.addEventListener("focus", () => this.inspect(unit));
    button.addEventListener("blur", () => this.inspect(null));
    button.addEventListener("click", () => this.actions.pin(unit));
    this.unitButtons[layer].push(button);
    return button;
  }

  get outputLayer() {
    return this.settings.hidden.length + 1;
  }

  // Where the units are, for the links between them.
  measure() {
    if (!this.settings) return;
    const origin = this.box.getBoundingClientRect();
    this.places = this.unitButtons.map((buttons) =>
      buttons.map((button) => {
        const { left, right, top, height } = button
          .querySelector("canvas")
          .getBoundingClientRect();
        return { left: left - origin.left, right: right - origin.left, y: top + height / 2 - origin.top };
      }),
    );
    this.drawLinks();
  }

  // The weights and biases of a layer in the vector of all parameters.
  weightsOf(layer) {
    const units = [this.settings.features.length, ...this.settings.hidden, 1];
    let start = 0;
    for (let k = 1; k < layer; k++) start += units[k - 1] * units[k];
    let biases = 0;
    for (let k = 1; k < units.length; k++) biases += units[k - 1] * units[k];
    for (let k = 1; k < layer; k++) biases += units[k];
    const { params } = this.frame;
    return {
      weight: (from, to) => params[start + from * units[layer] + to],
      bias: (to) => params[biases + to],
      fanIn: units[layer - 1],
      fanOut: units[layer],
    };
  }

  paintFeatures() {
    for (const feature of this.features) {
      const button = document.getElementById(`feature-${feature.id}`);
      if (button) paintMap(button.querySelector("canvas"), feature.values);
    }
  }

  draw(frame) {
    this.frame = frame;
    let k = 0;
    for (let layer = 1; layer < this.outputLayer; layer++) {
      for (const button of this.unitButtons[layer]) {
        paintMap(button.firstChild, frame.hidden[k++]);
      }
    }
    paintMap(this.unitButtons[this.outputLayer][0].firstChild, frame.output);
    this.drawLinks();
    this.writeFormula();
  }

  drawLinks() {
    const { context: c } = sharpContext(this.links);
    if (!this.frame || !this.places) return;
    c.lineCap = "round";
    for (let layer = 1; layer <= this.outputLayer; layer++) {
      const { weight, fanIn, fanOut } = this.weightsOf(layer);
      for (let to = 0; to < fanOut; to++) {
        const isShown =
          this.inspected && this.inspected.layer === layer && this.inspected.index === to;
        for (let from = 0; from < fanIn; from++) {
          const value = weight(from, to);
          const size = Math.tanh(Math.abs(value) / 2.5);
          const isPicked =
            this.link?.layer === layer && this.link.from === from && this.link.to === to;
          c.globalAlpha = isShown || isPicked ? 1 : (this.inspected ? 0.25 : 0.35) + 0.5 * size;
          c.lineWidth = 0.6 + 5.4 * size + (isPicked ? 1.5 : 0);
          c.strokeStyle = value < 0 ? palette.low : palette.high;
          this.traceLink(c, layer, from, to);
          c.stroke();
        }
      }
    }
    c.globalAlpha = 1;
  }

  traceLink(c, layer, from, to) {
    const start = this.places[layer - 1][from];
    const end = this.places[layer][to];
    const bend = (end.left - start.right) / 2;
    c.beginPath();
    c.moveTo(start.right, start.y);
    c.bezierCurveTo(start.right + bend, start.y, end.left - bend, end.y, end.left, end.y);
  }

  // Which weight the pointer is at.
  findLink(event) {
    if (!this.frame || event.target.closest("button")) return this.setLink(null);
    const origin = this.box.getBoundingClientRect();
    const [x, y] = [event.clientX - origin.left, event.clientY - origin.top];
    let best = null;
    let nearest = 6;
    for (let layer = 1; layer <= this.outputLayer; layer++) {
      this.places[layer - 1].forEach((start, from) =>
        this.places[layer].forEach((end, to) => {
          if (x < start.right || x > end.left) return;
          // Half of the way across, the curve is half of the way down.
          const across = (x - start.right) / (end.left - start.right);
          const t = solveBezier(across);
          const curve = start.y + (end.y - start.y) * t * t * (3 - 2 * t);
          const distance = Math.abs(curve - y);
          if (distance < nearest) [nearest, best] = [distance, { layer, from, to }];
        }),
      );
    }
    this.setLink(best);
  }

  setLink(link) {
    if (JSON.stringify(link) === JSON.stringify(this.link)) return;
    this.link = link;
    this.drawLinks();
    this.writeFormula();
  }

  inspect(unit) {
    this.inspected = unit;
    this.actions.inspect(unit);
    if (this.frame) this.drawLinks();
    this.writeFormula();
  }

  showPinned(unit) {
    this.unitButtons.slice(1).forEach((buttons, k) =>
      buttons.forEach((button, index) => {
        const isPinned = unit !== null && unit.layer === k + 1 && unit.index === index;
        button.setAttribute("aria-pressed", String(isPinned));
      }),
    );
    this.pinned = unit;
    this.writeFormula();
  }

  nameOf(layer, index) {
    if (layer === 0) {
      const id = this.settings.features[index];
      return mathLabel(this.features.find((feature) => feature.id === id).label);
    }
    if (layer === this.outputLayer) return "<i>y</i>";
    return `<i>${this.letterOf(layer)}</i>${subscript(index + 1)}`;
  }

  letterOf(layer) {
    return this.settings.hidden.length === 1 ? "h" : "abcdef"[layer - 1];
  }

  // The formula of a unit, or the weight at the pointer.
  writeFormula() {
    if (!this.frame || !this.settings) return;
    if (this.link) {
      const { layer, from, to } = this.link;
      const value = number(this.weightsOf(layer).weight(from, to));
      const text = `weight of ${this.nameOf(layer - 1, from)} in ${this.nameOf(layer, to)} <b>${value}</b>`;
      this.formula.innerHTML = text;
      return;
    }
    const { layer, index } = this.inspected ?? this.pinned ?? { layer: this.outputLayer, index: 0 };
    const { weight, bias, fanIn } = this.weightsOf(layer);
    let sum = number(bias(index));
    for (let from = 0; from < fanIn; from++) {
      const value = weight(from, index);
      const tone = value < 0 ? "low" : "high";
      sum += ` ${value < 0 ? "−" : "+"} <span class="term"><b class="${tone}">${number(Math.abs(value))}</b>\u2009${this.nameOf(layer - 1, from)}</span>`;
    }
    const isOutput = layer === this.outputLayer;
    const name = isOutput
      ? this.task === "regression" ? "" : "logistic"
      : this.settings.activation === "identity" ? "" : this.settings.activation;
    this.formula.innerHTML = `<span class="term">${this.nameOf(layer, index)} =</span> ${name}${name ? "(" : ""}${sum}${name ? ")" : ""}`;
  }
}

function number(value) {
  const text = Math.abs(value) >= 1000 ? value.toExponential(1) : value.toFixed(2);
  return text.replace("-", "−");
}

// Solve 1.5 t (1 - t) + ... for the control points at half of the way: x(t) = across.
function solveBezier(across) {
  let t = across;
  for (let k = 0; k < 6; k++) {
    const x = 1.5 * t * (1 - t) ** 2 + 1.5 * t * t * (1 - t) + t ** 3;
    const slope = 1.5 - 3 * t + 3 * t * t;
    t -= (x - across) / slope;
  }
  return Math.min(Math.max(t, 0), 1);
}

// Labels hold no markup; their letter x becomes italic.
export function mathLabel(label) {
  return label.replace(/x(?=[₁₂])/g, "<i>x</i>");
}

const subscript = (number) => String.fromCharCode(0x2080 + number);
