// The curves of the losses, on a logarithmic scale.

import { palette, sharpContext } from "./colors.js";

const MOST = 600; // points kept; beyond that every other one is dropped
const MARGIN = { top: 8, right: 8, bottom: 20, left: 38 };

export class Chart {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
  }

  clear() {
    this.points = [];
    this.spacing = 0;
  }

  add(epoch, train, test) {
    const last = this.points.at(-1);
    if (last && epoch <= last.epoch) this.points = this.points.filter((p) => p.epoch < epoch);
    // The last point always is the present one, the others keep their distance.
    const before = this.points.at(-2);
    if (before && last.epoch - before.epoch < this.spacing) this.points.pop();
    this.points.push({ epoch, train, test });
    if (this.points.length > MOST) {
      this.points = this.points.filter((_, i) => i % 2 === 0 || i === this.points.length - 1);
      this.spacing = (2 * epoch) / MOST;
    }
  }

  draw() {
    const { context: c, width, height } = sharpContext(this.canvas);
    const right = width - MARGIN.right;
    const bottom = height - MARGIN.bottom;
    const values = this.points.flatMap((p) => [p.train, p.test]).filter((v) => v > 0 && isFinite(v));
    const high = Math.ceil(Math.log10(Math.max(1, ...values)) - 1e-9);
    const low = Math.min(-1, Math.floor(Math.log10(Math.min(1, ...values))));
    const y = (v) => {
      const share = (Math.log10(Math.max(v, 10 ** low)) - low) / (high - low);
      return bottom - share * (bottom - MARGIN.top);
    };
    const longest = Math.max(10, this.points.at(-1)?.epoch ?? 0);
    const x = (epoch) => MARGIN.left + (epoch / longest) * (right - MARGIN.left);

    c.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    c.textBaseline = "middle";
    c.strokeStyle = palette.line;
    c.fillStyle = palette.muted;
    c.lineWidth = 1;
    const every = Math.ceil((high - low) / 4);
    for (let power = high; power >= low; power -= every) {
      const level = Math.round(y(10 ** power)) + 0.5;
      c.beginPath();
      c.moveTo(MARGIN.left, level);
      c.lineTo(right, level);
      c.stroke();
      c.textAlign = "right";
      c.fillText(power < -3 ? `1e${power}` : String(10 ** power), MARGIN.left - 7, level);
    }
    c.textBaseline = "alphabetic";
    c.textAlign = "left";
    c.fillText("0", MARGIN.left, height - 4);
    c.textAlign = "right";
    c.fillText(`${longest.toLocaleString("en")} epochs`, right, height - 4);

    for (const [name, color, lineWidth] of [
      ["train", palette.muted, 1.5],
      ["test", palette.ink, 2.25],
    ]) {
      c.beginPath();
      for (const p of this.points) if (isFinite(p[name])) c.lineTo(x(p.epoch), y(p[name]));
      c.strokeStyle = color;
      c.lineWidth = lineWidth;
      c.lineJoin = "round";
      c.setLineDash(name === "train" ? [5, 3] : []);
      c.stroke();
      c.setLineDash([]);
      const last = this.points.at(-1);
      if (last && name === "test") {
        c.beginPath();
        c.arc(x(last.epoch), y(last.test), 3, 0, 2 * Math.PI);
        c.fillStyle = color;
        c.fill();
      }
    }
  }
}
