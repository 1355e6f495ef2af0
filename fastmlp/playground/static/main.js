// The page: it sends what the user does, and shows what the server answers.

import { Chart } from "./chart.js";
import { largest, loadColors, paintLegend, palette, sharpContext } from "./colors.js";
import { Connection } from "./connection.js";
import { Lens } from "./lens.js";
import { Network } from "./network.js";
import { Controls, fromHash, toHash } from "./settings.js";

const element = (id) => document.getElementById(id);

const page = {
  hello: null, // what there is to choose from
  settings: null, // as the user has them
  accepted: null, // as the server has them
  problem: null, // points, task, revision
  frame: null, // the last one
  pending: 0, // settings that were not answered yet
  isPlaying: false,
  pinned: null, // the unit that the lens keeps showing
  inspected: null, // the one that it shows for now
  isDirty: false,
};
let controls, network, lens, chart;

loadColors();

const connection = new Connection({
  hello(message) {
    if (page.hello === null) setUp(message);
    page.pending = 0;
    notify("");
    const { frame } = page;
    const resumes = frame && page.problem && toHash(page.settings) === toHash(page.accepted);
    page.isResuming = Boolean(resumes);
    sendSettings(resumes ? { params: [...frame.params], epoch: frame.epoch } : {});
    if (page.isPlaying) connection.send("play");
  },
  problem(message) {
    page.pending = Math.max(0, page.pending - 1);
    const isNew = message.revision !== page.problem?.revision && !page.isResuming;
    page.isResuming = false;
    page.problem = message;
    page.accepted = message.settings;
    if (isNew) chart.clear();
    if (page.pending === 0) showSettings(message.settings);
    network.task = message.task;
    element("python").textContent = message.python;
    lens.problem = message;
    lens.drawPoints();
    describeTask(message.task);
  },
  frame(frame) {
    page.frame = frame;
    chart.add(frame.epoch, frame.loss_train, frame.loss_test);
    requestDraw();
  },
  status({ status, condition }) {
    if (status === "preparing") {
      notify("Compiling the kernels: once on a machine, in half a minute or so …");
      return;
    }
    const wasPlaying = page.isPlaying;
    page.isPlaying = status === "running";
    showPlaying();
    if (condition === "diverged") {
      notify("The loss grew beyond all bounds: lower the learning rate, or reset.", true);
    } else if (condition === "converged") {
      notify("L-BFGS has converged.", true);
    } else if (condition === "exhausted") {
      notify("That is the largest number of epochs. Reset to start anew.", true);
    } else if (wasPlaying !== page.isPlaying) {
      notify("");
    }
  },
  error({ message }) {
    notify(message, true);
    if (page.pending === 0) return;
    page.pending = 0;
    // Back to what the server has, or, for a bad address, to the defaults.
    showSettings(page.accepted ?? page.hello.defaults);
    if (page.accepted === null) sendSettings();
  },
  lost(text) {
    notify(text, true);
    page.problem &&= { ...page.problem, revision: -1 };
  },
});

function setUp(hello) {
  page.hello = hello;
  page.settings = fromHash(location.hash, hello.defaults);
  controls = new Controls(hello, (name, value) => change({ [name]: value }));
  controls.addPresets(({ settings }) => change(settings));
  lens = new Lens(hello.extent);
  chart = new Chart(element("chart"));
  network = new Network(hello, {
    toggleFeature(id) {
      const { features } = page.settings;
      const chosen = features.includes(id)
        ? features.filter((feature) => feature !== id)
        : hello.features.map((feature) => feature.id).filter((f) => f === id || features.includes(f));
      if (chosen.length === 0) notify("The network needs at least one feature.", true);
      else change({ features: chosen });
    },
    resize(layer, by) {
      change({ hidden: page.settings.hidden.map((units, k) => units + (k === layer ? by : 0)) });
    },
    inspect(unit) {
      page.inspected = unit;
      requestDraw();
    },
    pin(unit) {
      const isSame = page.pinned?.layer === unit.layer && page.pinned.index === unit.index;
      pin(isSame || unit.layer === network.outputLayer ? null : unit);
    },
  });
  listen();
  repaint();
  element("main").removeAttribute("aria-busy");
  element("main").inert = false;
}

function listen() {
  element("play").addEventListener("click", togglePlay);
  element("step").addEventListener("click", () => connection.send("step"));
  element("reset").addEventListener("click", reset);
  element("layers-less").addEventListener("click", () => {
    change({ hidden: page.settings.hidden.slice(0, -1) });
  });
  element("layers-more").addEventListener("click", () => {
    const { hidden } = page.settings;
    change({ hidden: [...hidden, Math.min(hidden.at(-1) ?? 4, 4)] });
  });
  element("draw").addEventListener("click", () => {
    change({ seed: 1 + Math.floor(9999 * Math.random()) });
  });
  element("show-test").addEventListener("change", ({ target }) => {
    lens.showsTest = target.checked;
    lens.drawPoints();
  });
  element("share").addEventListener("click", ({ currentTarget }) => copy(location.href, currentTarget));
  element("copy-python").addEventListener("click", ({ currentTarget }) => {
    copy(page.problem.python, currentTarget);
  });
  element("help-open").addEventListener("click", () => element("help").showModal());
  listenToKeys();
  listenToPointer();
  window.addEventListener("hashchange", () => {
    if (location.hash !== toHash(page.settings)) change(fromHash(location.hash, page.hello.defaults));
  });
  window.addEventListener("themechange", repaint);
  new ResizeObserver(repaint).observe(element("lens"));
}

function listenToKeys() {
  const useKeys = element("use-keys");
  const key = "fastmlp-keys";
  try {
    useKeys.checked = localStorage.getItem(key) !== "off";
  } catch {
    // Storage may be forbidden.
  }
  useKeys.addEventListener("change", () => {
    try {
      localStorage.setItem(key, useKeys.checked ? "on" : "off");
    } catch {
      // As above.
    }
  });
  document.addEventListener("keydown", (event) => {
    if (!useKeys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    if (element("help").open || event.target.closest("input, select, textarea")) return;
    // Space presses the button that has the focus.
    if (event.key === " " && event.target.closest("button, summary, pre")) return;
    const actions = {
      " ": togglePlay,
      ".": () => connection.send("step"),
      r: reset,
      R: reset,
      Escape: () => pin(null),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });
}

// Tell what lies under the pointer in the large map.
function listenToPointer() {
  const readout = element("lens-readout");
  element("lens").addEventListener("pointermove", (event) => {
    const { left, top, width } = event.currentTarget.getBoundingClientRect();
    const { extent } = page.hello;
    const [x1, x2] = [
      ((2 * (event.clientX - left)) / width - 1) * extent,
      (1 - (2 * (event.clientY - top)) / width) * extent,
    ];
    page.pointer = { x1, x2 };
    writeReadout();
  });
  element("lens").addEventListener("pointerleave", () => {
    page.pointer = null;
    readout.textContent = "";
  });
}

function writeReadout() {
  const { pointer, frame, hello } = page;
  if (!pointer || !frame) return;
  const { values, peak } = shownMap();
  const size = Math.sqrt(values.length);
  const at = (share) => Math.min(size - 1, Math.max(0, Math.floor(share * size)));
  const column = at((pointer.x1 / hello.extent + 1) / 2);
  const row = at((1 - pointer.x2 / hello.extent) / 2);
  const value = (values[row * size + column] / largest(values)) * peak;
  const sign = (v) => v.toFixed(2).replace("-", "−");
  element("lens-readout").textContent = `(${sign(pointer.x1)}, ${sign(pointer.x2)}) → ${sign(value)}`;
}

function togglePlay() {
  page.isPlaying = !page.isPlaying;
  connection.send(page.isPlaying ? "play" : "pause");
  showPlaying();
}

function reset() {
  connection.send("reset");
}

// Apply changed settings at once, and send them.
function change(changes) {
  page.settings = { ...page.settings, ...changes };
  showSettings(page.settings);
  sendSettings();
}

function sendSettings(more = {}) {
  if (connection.send("settings", { settings: page.settings, ...more })) page.pending++;
}

function showSettings(settings) {
  const before = network.settings;
  page.settings = settings;
  controls.show(settings);
  controls.showPreset(settings);
  const isSameShape =
    before &&
    String(before.features) === String(settings.features) &&
    String(before.hidden) === String(settings.hidden);
  if (isSameShape) {
    network.settings = settings;
  } else {
    page.frame = null;
    network.frame = null;
    page.pinned = null;
    network.build(settings);
    network.showPinned(null);
  }
  const hash = toHash(settings);
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

function pin(unit) {
  page.pinned = unit;
  network.showPinned(unit);
  requestDraw();
}

function describeTask(task) {
  const isRegression = task === "regression";
  element("legend-low").textContent = isRegression ? "−1" : "class 0";
  element("legend-high").textContent = isRegression ? "+1" : "class 1";
  element("score-name").textContent = isRegression ? "Test R²" : "Test accuracy";
}

function showPlaying() {
  const button = element("play");
  button.classList.toggle("is-playing", page.isPlaying);
  button.setAttribute("aria-label", page.isPlaying ? "Pause" : "Play");
}

function requestDraw() {
  if (page.isDirty) return;
  page.isDirty = true;
  requestAnimationFrame(() => {
    page.isDirty = false;
    draw();
  });
}

// The map in the lens, and what its largest values stand for.
function shownMap() {
  const { frame } = page;
  const unit = page.inspected ?? page.pinned;
  if (!unit || unit.layer >= network.outputLayer) {
    return { values: frame.output, peak: 1, unit: null };
  }
  const before = page.settings.hidden.slice(0, unit.layer - 1).reduce((sum, units) => sum + units, 0);
  return { values: frame.hidden[before + unit.index], peak: frame.peaks[before + unit.index], unit };
}

function draw() {
  const { frame, problem, settings } = page;
  if (!frame || !problem) return;
  // The network may have been replaced, and the frame be one of the last of the one before.
  const units = [settings.features.length, ...settings.hidden, 1];
  if (String(units) !== String(problem.units) || frame.revision !== problem.revision) return;
  const { values, peak, unit } = shownMap();
  const isRegression = problem.task === "regression";
  lens.draw(values, unit || !isRegression ? [0] : [-0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75]);
  const name = unit ? `${unit.label}, ±${peak.toPrecision(2)}` : "output of the network";
  setText("lens-name", name);
  network.draw(frame);
  chart.draw();
  setText("epoch", frame.epoch.toLocaleString("en"));
  if (page.isPlaying) setText("rate", Math.round(frame.epochs_per_second).toLocaleString("en"));
  setText("loss-test", formatLoss(frame.loss_test));
  setText("loss-train", formatLoss(frame.loss_train));
  const score = frame.score_test;
  setText("score-test", isRegression ? score.toFixed(3).replace("-", "−") : `${(100 * score).toFixed(1)} %`);
  writeReadout();
}

function setText(id, text) {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

function formatLoss(loss) {
  if (!Number.isFinite(loss)) return "∞";
  if (loss !== 0 && loss < 0.0001) return loss.toExponential(1).replace("-", "−");
  return loss >= 100 ? loss.toExponential(1) : loss.toFixed(4);
}

function repaint() {
  loadColors();
  paintLegend(element("legend-bar"));
  controls.drawDatasets(page.hello.extent, palette, sharpContext);
  network.paintFeatures();
  lens.drawPoints();
  chart.draw();
  draw();
}

let noticeTimer;

function notify(text, isPassing = false) {
  clearTimeout(noticeTimer);
  const notice = element("notice");
  if (notice.textContent !== text) notice.textContent = text;
  if (isPassing && !text.startsWith("The connection")) {
    noticeTimer = setTimeout(() => notify(""), 6000);
  }
}

async function copy(text, button) {
  const label = button.querySelector("span") ?? button;
  const before = (button.dataset.label ??= label.textContent);
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    label.textContent = "Not allowed";
  }
  setTimeout(() => (label.textContent = before), 1500);
}
