// The settings: in the address of the page, and in the controls.

import { mathLabel } from "./network.js";

const CHOICES = {
  speed: [5, 20, 50, 100, 1000, 0],
  learning_rate: [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
  regularization_rate: [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1],
  batch_size: [1, 2, 4, 8, 16, 32, 64, 128],
};

const nameSpeed = (value) => (Number(value) === 0 ? "fastest" : `${value}/s`);
const plain = (value) => ({ value, text: String(value) });

// Read settings from the address; what is not there or cannot be read keeps its default.
export function fromHash(hash, defaults) {
  const settings = structuredClone(defaults);
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    const fallback = defaults[name];
    if (fallback === undefined) continue;
    if (Array.isArray(fallback)) {
      const parts = text === "" ? [] : text.split(",");
      settings[name] = typeof fallback[0] === "number" ? parts.map(Number) : parts;
    } else if (typeof fallback === "number") {
      if (text.trim() !== "" && !Number.isNaN(Number(text))) settings[name] = Number(text);
    } else {
      settings[name] = text;
    }
  }
  return settings;
}

export function toHash(settings) {
  const parts = Object.entries(settings).map(([name, value]) => {
    return `${name}=${encodeURIComponent(String(value)).replaceAll("%2C", ",")}`;
  });
  return `#${parts.join("&")}`;
}

export class Controls {
  // change(name, value) is called when the user sets something.
  constructor(hello, change) {
    this.hello = hello;
    this.inputs = [...document.querySelectorAll("[data-setting]")];
    const options = {
      activation: hello.activations.map(({ id }) => ({ value: id, text: id.replaceAll("_", " ") })),
      solver: hello.solvers.map(({ id, title }) => ({ value: id, text: title })),
      regularization: hello.regularizations.map(({ id, title }) => ({ value: id, text: title })),
      speed: CHOICES.speed.map((value) => ({ value, text: nameSpeed(value) })),
      learning_rate: CHOICES.learning_rate.map(plain),
      regularization_rate: CHOICES.regularization_rate.map(plain),
      batch_size: [
        ...CHOICES.batch_size.map(plain),
        { value: hello.limits.samples, text: "all" },
      ],
    };
    for (const input of this.inputs) {
      const name = input.dataset.setting;
      for (const { value, text } of options[name] ?? []) input.add(new Option(text, value));
      const isNumber = typeof hello.defaults[name] === "number";
      input.addEventListener(input.type === "range" ? "input" : "change", () => {
        change(name, isNumber ? Number(input.value) : input.value);
      });
    }
    this.addDatasets(change);
  }

  addDatasets(change) {
    const box = document.getElementById("datasets");
    this.thumbnails = this.hello.datasets.map(({ id, title, task, points }) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "radio";
      input.name = "dataset";
      input.value = id;
      input.addEventListener("change", () => change("dataset", id));
      const canvas = document.createElement("canvas");
      canvas.setAttribute("aria-hidden", "true");
      const text = document.createElement("span");
      text.textContent = title;
      label.append(input, canvas, text);
      box.append(label);
      return { canvas, points, task };
    });
  }

  drawDatasets(extent, palette, sharpContext) {
    for (const { canvas, points, task } of this.thumbnails) {
      const { context: c, width } = sharpContext(canvas);
      for (const [x1, x2, y] of points) {
        const isLow = task === "regression" ? y < 0 : y === 0;
        c.beginPath();
        c.arc((x1 / extent + 1) * width / 2, (1 - x2 / extent) * width / 2, 1.3, 0, 2 * Math.PI);
        c.globalAlpha = task === "regression" ? 0.3 + 0.7 * Math.min(1, Math.abs(y)) : 1;
        c.fillStyle = isLow ? palette["low-ink"] : palette["high-ink"];
        c.fill();
      }
      c.globalAlpha = 1;
    }
  }

  // Let the controls show some settings.
  show(settings) {
    for (const input of this.inputs) {
      const name = input.dataset.setting;
      const text = String(settings[name]);
      if (input instanceof HTMLSelectElement) {
        const isListed = [...input.options].some((option) => option.value === text);
        if (!isListed) input.add(new Option(name === "speed" ? nameSpeed(text) : text, text));
      }
      if (input.value !== text) input.value = text;
      const output = document.getElementById(`${name}-value`);
      if (output) output.textContent = `${settings[name]} %`;
    }
    for (const input of document.querySelectorAll("[name=dataset]")) {
      input.checked = input.value === settings.dataset;
    }
    const isLbfgs = settings.solver === "lbfgs";
    this.input("learning_rate").disabled = isLbfgs;
    this.input("batch_size").disabled = isLbfgs;
    this.input("regularization_rate").disabled = settings.regularization === "none";
    this.drawCurve(settings.activation);

    const layers = settings.hidden.length;
    document.getElementById("layers-count").textContent = layers;
    document.getElementById("layers-noun").textContent = layers === 1 ? "layer" : "layers";
    document.getElementById("layers-less").disabled = layers === 0;
    document.getElementById("layers-more").disabled = layers >= this.hello.limits.layers;
  }

  input(name) {
    return this.inputs.find((input) => input.dataset.setting === name);
  }

  drawCurve(activation) {
    const row = this.hello.activations.find(({ id }) => id === activation);
    const path = row.curve.map((y, i) => {
      const x = -3 + (6 * i) / (row.curve.length - 1);
      return `${i ? "L" : "M"}${x.toFixed(2)} ${(-y).toFixed(3)}`;
    });
    document.querySelector("#curve .curve").setAttribute("d", path.join(""));
    this.input("activation").title = `f(z) = ${row.equation}`;
  }

  addPresets(apply) {
    const list = document.getElementById("presets");
    this.presets = this.hello.presets.map((preset) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.id = `preset-${preset.id}`;
      button.className = "chip";
      button.textContent = preset.title;
      button.addEventListener("click", () => apply(preset));
      item.append(button);
      list.append(item);
      return { preset, button };
    });
  }

  // Mark the example whose settings these are, if any.
  showPreset(settings) {
    const text = document.getElementById("preset-text");
    text.textContent = "";
    for (const { preset, button } of this.presets) {
      const isIt = toHash(preset.settings) === toHash(settings);
      button.setAttribute("aria-pressed", String(isIt));
      if (isIt) text.innerHTML = mathLabel(preset.text);
    }
  }
}
