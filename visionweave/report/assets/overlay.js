"use strict";

/* Drawing what was found over a photo: masks, boxes, labels. */
visionweave.overlay = (() => {
  const SIDE = 2048; // the long side of the pictures of masks; finer ones cost memory
  const FONT = "600 {}px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";

  /** Make a canvas as large as its place, in the screen's own pixels; return its context. */
  function prepare(canvas, width, height) {
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  }

  /** Draw objects.

      objects: what to draw, each with label, score, id, box and perhaps mask.
      size: [width, height] of the photo, in whose pixels the boxes are.
      place: {x, y, scale}, from the photo's pixels to the canvas.
      show: {boxes, labels, masks}. letters: their height. lit: the object that stands out, or null. */
  function draw(context, { objects, size, place, show, letters, lit = null, keep = false }) {
    const faded = (object) => (lit && lit !== object ? 0.25 : 1);
    const at = ([x1, y1, x2, y2]) => [
      place.x + x1 * place.scale,
      place.y + y1 * place.scale,
      (x2 - x1) * place.scale,
      (y2 - y1) * place.scale,
    ];
    if (show.masks)
      for (const object of objects) drawMask(context, object, size, at, faded(object), keep);
    context.globalAlpha = 1;
    if (show.boxes)
      for (const object of objects) drawBox(context, object, at(object.box), faded(object));
    if (show.labels) {
      const order = [...objects].sort((a, b) => (a === lit) - (b === lit) || a.score - b.score);
      for (const object of order)
        drawLabel(context, object, at(object.box), faded(object), letters);
    }
    context.globalAlpha = 1;
  }

  function drawMask(context, object, size, at, alpha, keep) {
    if (!object.mask) return;
    const picture = visionweave.masks.picture(
      object.mask,
      visionweave.colourOf(object),
      SIDE,
      keep,
    );
    if (!picture) return;
    const [down, across] = [size[1] / object.mask[0], size[0] / object.mask[1]];
    const { x, y, width, height } = picture;
    const [left, top, w, h] = at([x * across, y * down, (x + width) * across, (y + height) * down]);
    context.globalAlpha = alpha;
    context.imageSmoothingEnabled = w < picture.canvas.width * 3; // near by, pixels are pixels
    context.drawImage(picture.canvas, left, top, w, h);
  }

  function drawBox(context, object, [x, y, w, h], alpha) {
    context.globalAlpha = alpha;
    context.lineJoin = "round";
    context.strokeStyle = "rgb(0 0 0 / 35%)";
    context.lineWidth = 3;
    context.strokeRect(x, y, w, h);
    context.strokeStyle = visionweave.colourOf(object);
    context.lineWidth = 1.75;
    context.strokeRect(x, y, w, h);
  }

  function drawLabel(context, object, [x, y, w, h], alpha, letters) {
    context.font = FONT.replace("{}", letters);
    const score = object.score < 1 ? ` ${object.score.toFixed(2)}` : "";
    const name = visionweave.nameOf(object);
    let text = name + score;
    const room = letters < 12 ? Math.max(w, 34) : Infinity; // on a thumbnail, not beyond its box
    if (context.measureText(text).width + 8 > room) text = name;
    if (context.measureText(text).width + 8 > room) return;
    const width = context.measureText(text).width + 8;
    const height = letters + 5;
    const right = context.canvas.width / (window.devicePixelRatio || 1);
    const left = Math.max(0, Math.min(x - 1, right - width));
    const above = y - height >= 0;
    if (letters < 12 && !above && h < 3 * height) return; // it would hide what it names
    const top = above ? y - height : Math.max(0, y);
    context.globalAlpha = alpha;
    context.fillStyle = visionweave.colourOf(object);
    context.beginPath();
    context.rect(left, top, width, height);
    context.fill();
    context.fillStyle = visionweave.inkOn(context.fillStyle);
    context.textBaseline = "middle";
    context.fillText(text, left + 4, top + height / 2 + 0.5);
  }

  return { prepare, draw };
})();
