"use strict";

/* Where photos lie: in rows that fill the width, each photo in its own shape. */
visionweave.rows = (() => {
  const GAP = 10;
  const CAPTION = 26; // the height of what is written below a photo
  const [NARROW, WIDE] = [0.5, 3.2]; // shapes beyond are shown with a margin

  const ratioOf = ({ size }) => Math.min(WIDE, Math.max(NARROW, size ? size[0] / size[1] : 4 / 3));

  /** Break photos into rows, near the height that is wanted.

      Returns {boxes, rows, height}: of each photo {x, y, w, h, row}; of each row {y, h, first, last},
      the photos from first up to last; and the height of it all. */
  function lay(entries, width, wanted) {
    const [boxes, rows] = [[], []];
    let [y, first, ratios] = [0, 0, 0];
    const close = (last, height) => {
      let x = 0;
      for (let i = first; i < last; i++) {
        const w = ratioOf(entries[i]) * height;
        boxes.push({ x, y, w, h: height, row: rows.length });
        x += w + GAP;
      }
      rows.push({ y, h: height, first, last });
      y += height + CAPTION + GAP;
      [first, ratios] = [last, 0];
    };
    entries.forEach((entry, index) => {
      ratios += ratioOf(entry);
      const height = (width - GAP * (index - first)) / ratios;
      if (height <= wanted) close(index + 1, height);
    });
    if (first < entries.length) close(entries.length, wanted); // it would be higher if it were full
    return { boxes, rows, height: Math.max(0, y - GAP) };
  }

  /** The first row that ends below a height. */
  function at({ rows }, y) {
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].y + rows[middle].h + CAPTION < y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The photo above or below one: that whose middle is nearest. */
  function beside({ boxes, rows }, index, step) {
    const row = rows[boxes[index].row + step];
    if (!row) return index;
    const middle = (i) => boxes[i].x + boxes[i].w / 2;
    let best = row.first;
    for (let i = row.first; i < row.last; i++) {
      if (Math.abs(middle(i) - middle(index)) < Math.abs(middle(best) - middle(index))) best = i;
    }
    return best;
  }

  return { GAP, CAPTION, lay, at, beside };
})();
