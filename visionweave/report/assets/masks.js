"use strict";

/* Masks: from COCO's compressed run-length encoding to pictures.

   Runs go down the columns, from the left; they begin with zeros. Each is written in characters of
   five bits (from "0" up, a sixth says that more follow), from the fourth on as the difference to
   the one two before. A mask comes as [height, width, counts]. */
visionweave.masks = (() => {
  const pictures = new WeakMap(); // mask -> its picture in the colour it was last drawn in

  /** The lengths of the runs. */
  function runs(counts) {
    const lengths = [];
    for (let at = 0; at < counts.length;) {
      let value = 0;
      let power = 1;
      let code;
      do {
        code = counts.charCodeAt(at++) - 48;
        value += (code & 31) * power;
        power *= 32;
      } while (code & 32);
      if (code & 16) value -= power;
      if (lengths.length > 2) value += lengths[lengths.length - 2];
      lengths.push(value);
    }
    return lengths;
  }

  /** Call `paint(x, y1, y2)` for each stretch of a column that is in the mask. */
  function stretches([height, , counts], paint) {
    let at = 0;
    runs(counts).forEach((length, index) => {
      const end = at + length;
      for (let start = at; index % 2 && start < end;) {
        const x = Math.floor(start / height);
        const stop = Math.min(end, (x + 1) * height);
        paint(x, start - x * height, stop - x * height);
        start = stop;
      }
      at = end;
    });
  }

  /** The part of a mask that is not empty, at most `side` pixels long: bits, and where they lie. */
  function bitmap(mask, side) {
    const [height, width] = mask;
    const scale = Math.min(1, side / Math.max(height, width));
    const columns = [];
    let [left, top, right, bottom] = [Infinity, Infinity, 0, 0];
    stretches(mask, (x, y1, y2) => {
      const column = Math.ceil(x * scale - 0.5); // a pixel stands for the one at its middle
      if (Math.floor((column + 0.5) / scale) !== x) return;
      const from = Math.ceil(y1 * scale - 0.5);
      const to = Math.ceil(y2 * scale - 0.5);
      if (from >= to) return;
      columns.push(column, from, to);
      left = Math.min(left, column);
      right = Math.max(right, column + 1);
      top = Math.min(top, from);
      bottom = Math.max(bottom, to);
    });
    if (!columns.length) return null;
    const w = right - left;
    const h = bottom - top;
    const bits = new Uint8Array(w * h);
    for (let i = 0; i < columns.length; i += 3) {
      for (let y = columns[i + 1] - top; y < columns[i + 2] - top; y++)
        bits[y * w + columns[i] - left] = 1;
    }
    return { bits, w, h, left, top, scale };
  }

  /** A mask as a picture in a colour, with a firm edge; `x`, `y`, `width`, `height` in the mask's pixels. */
  function picture(mask, colour, side, keep) {
    const kept = pictures.get(mask);
    if (kept && kept.colour === colour && kept.side === side) return kept;
    const map = bitmap(mask, side);
    if (!map) return null;
    const { bits, w, h, left, top, scale } = map;
    const canvas = document.createElement("canvas");
    canvas.width = w;
    canvas.height = h;
    const context = canvas.getContext("2d");
    const image = context.createImageData(w, h);
    const [r, g, b] = visionweave.rgbOf(colour);
    for (let y = 0, i = 0; y < h; y++) {
      for (let x = 0; x < w; x++, i++) {
        if (!bits[i]) continue;
        const inside =
          x > 0 &&
          x < w - 1 &&
          y > 0 &&
          y < h - 1 &&
          bits[i - 1] &&
          bits[i + 1] &&
          bits[i - w] &&
          bits[i + w];
        image.data.set([r, g, b, inside ? 105 : 235], i * 4);
      }
    }
    context.putImageData(image, 0, 0);
    const made = {
      canvas,
      colour,
      side,
      x: left / scale,
      y: top / scale,
      width: w / scale,
      height: h / scale,
    };
    if (keep) pictures.set(mask, made);
    return made;
  }

  /** Whether a pixel is in a mask. */
  function holds([height, width, counts], x, y) {
    if (x < 0 || y < 0 || x >= width || y >= height) return false;
    const wanted = Math.floor(x) * height + Math.floor(y);
    let end = 0;
    return runs(counts).findIndex((length) => wanted < (end += length)) % 2 === 1;
  }

  /** How many pixels are in a mask. */
  function area([, , counts]) {
    return runs(counts).reduce((sum, length, index) => sum + (index % 2 ? length : 0), 0);
  }

  return { runs, bitmap, picture, holds, area };
})();
