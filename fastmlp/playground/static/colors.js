// Values from -1 to 1 as colours: orange below zero, violet above, the surface between them.

const STEPS = 255;
let ramp = new Uint32Array(STEPS);
export const palette = {};

function parse(color) {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}

// Read the colours of the style sheet, after the theme has changed.
export function loadColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "muted", "line", "surface", "low", "high", "low-ink", "high-ink", "halo"]) {
    palette[name] = style.getPropertyValue(`--${name}`).trim();
  }
  const [low, middle, high] = ["low", "middle", "high"].map((name) =>
    parse(style.getPropertyValue(`--map-${name}`).trim()),
  );
  ramp = new Uint32Array(STEPS);
  for (let i = 0; i < STEPS; i++) {
    const value = (i - 127) / 127;
    const end = value < 0 ? low : high;
    const share = Math.abs(value) ** 0.85;
    // Mixing squares keeps the middle tones from turning muddy.
    const mix = (k) => Math.round(Math.sqrt(middle[k] ** 2 * (1 - share) + end[k] ** 2 * share));
    ramp[i] = (255 << 24) | (mix(2) << 16) | (mix(1) << 8) | mix(0);
  }
}

// Paint a square map of int8 or int16 values on a canvas of as many pixels.
export function paintMap(canvas, values) {
  const size = Math.sqrt(values.length);
  if (canvas.width !== size || canvas.height !== size) canvas.width = canvas.height = size;
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  const pixels = new Uint32Array(image.data.buffer);
  const scale = 127 / largest(values);
  for (let i = 0; i < values.length; i++) pixels[i] = ramp[Math.round(values[i] * scale) + 127];
  context.putImageData(image, 0, 0);
}

// What stands for 1 in a map.
export const largest = (values) => (values.BYTES_PER_ELEMENT === 1 ? 127 : 32767);

export function paintLegend(canvas) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, 1);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < canvas.width; i++) {
    pixels[i] = ramp[Math.round((i / (canvas.width - 1)) * (STEPS - 1))];
  }
  context.putImageData(image, 0, 0);
}

// Give a canvas as many pixels as the screen has for it; return its context in CSS pixels.
export function sharpContext(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  const [columns, rows] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns;
    canvas.height = rows;
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}
