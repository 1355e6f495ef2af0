// The large map with the points on it.

import { largest, paintMap, palette, sharpContext } from "./colors.js";

export class Lens {
  constructor(extent) {
    this.extent = extent;
    this.map = document.getElementById("lens-map");
    this.overlay = document.getElementById("lens-points");
    this.buffer = document.createElement("canvas");
    this.problem = null;
    this.showsTest = true;
  }

  // values: the map; levels: where to draw lines of equal height, from -1 to 1.
  draw(values, levels) {
    paintMap(this.buffer, values);
    const { context: c, width } = sharpContext(this.map);
    c.imageSmoothingEnabled = true;
    c.imageSmoothingQuality = "high";
    c.drawImage(this.buffer, 0, 0, width, width);
    for (const level of levels) {
      c.beginPath();
      traceContour(c, values, level * largest(values), width);
      c.lineWidth = level === 0 ? 2 : 1;
      c.strokeStyle = palette.ink;
      c.globalAlpha = level === 0 ? 0.85 : 0.3;
      c.stroke();
      c.globalAlpha = 1;
    }
  }

  drawPoints() {
    const { context: c, width } = sharpContext(this.overlay);
    if (!this.problem) return;
    const { train, test, task } = this.problem;
    const scale = width / (2 * this.extent);
    const radius = Math.max(2.6, width / 110);
    const color = (y) => (task === "regression" ? y < 0 : y === 0) ? palette["low-ink"] : palette["high-ink"];
    const dot = ([x1, x2], r) => {
      c.beginPath();
      c.arc(width / 2 + x1 * scale, width / 2 - x2 * scale, r, 0, 2 * Math.PI);
    };
    if (this.showsTest) {
      for (const point of test) {
        dot(point, radius + 0.9);
        c.fillStyle = palette.halo;
        c.fill();
        dot(point, radius - 0.7);
        c.lineWidth = 1.4;
        c.strokeStyle = color(point[2]);
        c.globalAlpha = task === "regression" ? 0.25 + 0.75 * Math.min(1, Math.abs(point[2])) : 1;
        c.stroke();
        c.globalAlpha = 1;
      }
    }
    for (const point of train) {
      dot(point, radius + 0.9);
      c.fillStyle = palette.halo;
      c.fill();
      dot(point, radius);
      c.fillStyle = color(point[2]);
      c.globalAlpha = task === "regression" ? 0.25 + 0.75 * Math.min(1, Math.abs(point[2])) : 1;
      c.fill();
      c.globalAlpha = 1;
    }
  }
}

// Marching squares: in each cell of four pixels, join the points where the level is crossed.
function traceContour(c, values, level, width) {
  const size = Math.sqrt(values.length);
  const step = width / size;
  const at = (i) => (i + 0.5) * step;
  for (let row = 0; row < size - 1; row++) {
    for (let column = 0; column < size - 1; column++) {
      const i = row * size + column;
      const a = values[i] - level;
      const b = values[i + 1] - level;
      const d = values[i + size] - level;
      const e = values[i + size + 1] - level;
      // Zero counts as above.
      const sides = (a >= 0) + (b >= 0) + (d >= 0) + (e >= 0);
      if (sides === 0 || sides === 4) continue;
      const crossings = [];
      if (a >= 0 !== b >= 0) crossings.push([at(column + a / (a - b)), at(row)]);
      if (b >= 0 !== e >= 0) crossings.push([at(column + 1), at(row + b / (b - e))]);
      if (d >= 0 !== e >= 0) crossings.push([at(column + d / (d - e)), at(row + 1)]);
      if (a >= 0 !== d >= 0) crossings.push([at(column), at(row + a / (a - d))]);
      for (let k = 0; k + 1 < crossings.length; k += 2) {
        c.moveTo(...crossings[k]);
        c.lineTo(...crossings[k + 1]);
      }
    }
  }
}
