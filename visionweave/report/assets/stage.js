"use strict";

/* The large view of an opened photo: the photo with what was found, or one of its cutouts, pictures
   or meshes. It zooms with the wheel, two fingers or +/-, and moves by dragging. */
visionweave.stage = (() => {
  const { find, make, nameOf } = visionweave;
  const NEAREST = 40; // screen pixels per pixel of the photo, at most
  const SWIPE = 60;
  const FOOT = 72; // the height of what is written below a cutout or picture

  let shown = null; // {kind, element, size, ...} of what is shown
  let zoom = 1; // 1 fits the stage
  let [panX, panY] = [0, 0]; // of its middle from the stage's, in screen pixels
  let lit = null;
  let turned = () => {};
  let pointed = () => {};

  const stage = () => find("stage");

  /** How the photo lies on the stage: {x, y, scale}. */
  function placing() {
    const { clientWidth: width } = stage();
    const height = stage().clientHeight - (shown.kind === "photo" ? 0 : FOOT);
    const [w, h] = shown.size;
    const fit = Math.min(width / w, height / h, shown.kind === "photo" ? 8 : 3);
    const scale = fit * zoom;
    const most = (side, room) => Math.max(0, (side * scale - room) / 2);
    panX = Math.max(-most(w, width), Math.min(most(w, width), panX));
    panY = Math.max(-most(h, height), Math.min(most(h, height), panY));
    return { x: (width - w * scale) / 2 + panX, y: (height - h * scale) / 2 + panY, scale, fit };
  }

  function paint() {
    if (!shown || shown.kind === "mesh") return;
    const place = placing();
    const { clientWidth: width, clientHeight: height } = stage();
    const [w, h] = shown.size;
    Object.assign(shown.element.style, {
      width: `${w * place.scale}px`,
      height: `${h * place.scale}px`,
      transform: `translate(${place.x}px, ${place.y}px)`,
      imageRendering: place.scale > 3 ? "pixelated" : "auto",
    });
    stage().classList.toggle("near", zoom > 1);
    if (shown.kind !== "photo") return;
    const context = visionweave.overlay.prepare(shown.canvas, width, height);
    visionweave.overlay.draw(context, {
      objects: visible(),
      size: shown.size,
      place,
      show: visionweave.filters.state.show,
      letters: 13,
      lit,
      keep: true,
    });
  }

  const visible = () => shown.entry.objects.filter((object) => visionweave.filters.wants(object));

  function put(next, ...elements) {
    if (shown?.view) shown.view.end();
    shown = next;
    [zoom, panX, panY] = [1, 0, 0];
    stage().replaceChildren(...elements);
    stage().classList.toggle("checked", next?.kind === "cutout");
    stage().classList.toggle("photo", next?.kind === "photo");
    stage().setAttribute("aria-label", next?.about ?? "");
    stage().setAttribute("role", next?.kind === "mesh" ? "application" : "img");
    paint();
  }

  function clear() {
    put(null);
    lit = null;
  }

  /** Show the photo: its thumbnail until the file is there, and if that cannot be shown. */
  function showPhoto(entry, details) {
    const notice = make("p", { class: "notice", hidden: true });
    const say = (text) => {
      notice.textContent = text;
      notice.hidden = false;
    };
    const about = `${entry.name}: ${visionweave.plural(entry.objects.length, "object")}`;
    const canvas = make("canvas", { "aria-hidden": "true" });
    const picture = entry.thumbnail
      ? make("img", { src: entry.thumbnail, alt: "", draggable: "false" })
      : make("div", { class: "blank" });
    put(
      { kind: "photo", entry, element: picture, canvas, size: entry.size ?? [4, 3], about },
      picture,
      canvas,
      notice,
    );
    if (!details) return;
    const { state, path } = details.photo;
    if (state === "none") return;
    if (state === "gone") say(`The photo is not where it was: ${path}`);
    else if (details.trouble) say(`The photo cannot be read: ${details.trouble}`);
    else if (state === "changed")
      say(
        "The photo has changed since the job; what was found in it may not fit. Run the job again.",
      );
    const urls = details.preview ? [details.preview] : details.photo.urls;
    tryAll(urls, shown, () => say(`The photo cannot be shown from here: ${path}`));
  }

  /** Replace the thumbnail by the first of several addresses that holds a picture. */
  async function tryAll(urls, mine, failed) {
    for (const url of urls) {
      const full = make("img", { src: url, alt: "", draggable: "false" });
      const good = await full.decode().then(
        () => true,
        () => false,
      );
      if (shown !== mine) return;
      if (!good) continue;
      mine.element.replaceWith(full);
      mine.element = full;
      mine.full = true;
      paint();
      return;
    }
    if (urls.length) failed();
  }

  function caption(text) {
    return make(
      "p",
      { class: "caption-over" },
      make("button", { type: "button", class: "button", onclick: () => back() }, "← Photo"),
      make("span", { class: "grow" }, text),
    );
  }

  let back = () => {};

  /** Show a cutout or another picture among the results. */
  function showPicture(about, kind, whenBack) {
    back = whenBack;
    const title = titleOf(about);
    const picture = make("img", { src: about.url, alt: "", draggable: "false" });
    picture.addEventListener("error", () =>
      picture.replaceWith(
        make("p", { class: "notice" }, `${decodeURIComponent(about.url)} is gone`),
      ),
    );
    put(
      { kind, element: picture, size: about.size, about: title },
      picture,
      caption(`${title} · ${about.size[0]} × ${about.size[1]}`),
    );
  }

  function showMesh(about, whenBack) {
    back = whenBack;
    const view = new visionweave.meshView.View(about, true);
    const spin = make(
      "button",
      {
        type: "button",
        class: "button",
        "aria-pressed": view.spins,
        onclick: () => view.spin(!view.spins),
      },
      "Turn",
    );
    view.whenSpun = (on) => spin.setAttribute("aria-pressed", on);
    const bar = caption(`${titleOf(about)} · ${visionweave.plural(about.faces, "face")}`);
    bar.append(spin, make("a", { class: "button", href: about.url, download: "" }, "GLB"));
    put(
      {
        kind: "mesh",
        view,
        about: `3D model of ${titleOf(about)}; arrows turn it, + and - zoom, space stops and starts it`,
      },
      view.element,
      bar,
    );
  }

  const titleOf = (about) =>
    about.object === undefined ? about.output : nameOf({ label: about.label, id: about.object });

  /** Let an object stand out; null for none. */
  function light(object) {
    if (object === lit) return;
    lit = object;
    paint();
  }

  /** The smallest object at a place on the screen. */
  function objectAt(event) {
    if (shown?.kind !== "photo") return null;
    const place = placing();
    const box = stage().getBoundingClientRect();
    const [x, y] = [
      (event.clientX - box.left - place.x) / place.scale,
      (event.clientY - box.top - place.y) / place.scale,
    ];
    const size = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
    const hit = ({ box: [x1, y1, x2, y2] }) => x >= x1 && x < x2 && y >= y1 && y < y2;
    const inMask = ({ mask }) =>
      mask &&
      visionweave.masks.holds(mask, (x * mask[1]) / shown.size[0], (y * mask[0]) / shown.size[1]);
    const under = visible().filter(hit);
    const closest = under.filter(inMask);
    return (closest.length ? closest : under).sort((a, b) => size(a) - size(b))[0] ?? null;
  }

  function zoomAt(factor, clientX, clientY) {
    if (!shown || shown.kind === "mesh") return;
    const { fit } = placing();
    const next = Math.max(1, Math.min(NEAREST / fit, zoom * factor));
    const box = stage().getBoundingClientRect();
    const [dx, dy] = [clientX - box.left - box.width / 2, clientY - box.top - box.height / 2];
    panX = dx - ((dx - panX) * next) / zoom;
    panY = dy - ((dy - panY) * next) / zoom;
    zoom = next;
    paint();
  }

  function zoomBy(factor) {
    const box = stage().getBoundingClientRect();
    zoomAt(factor, box.left + box.width / 2, box.top + box.height / 2);
  }

  /** Take a key; return whether it was one of ours. */
  function key(event) {
    if (shown?.view) return shown.view.key(event);
    if (event.key === "+" || event.key === "=") zoomBy(1.4);
    else if (event.key === "-") zoomBy(1 / 1.4);
    else if (event.key === "0") zoomBy(0);
    else return false;
    return true;
  }

  function listen() {
    const fingers = new Map();
    let start = null;
    const pinch = () => {
      const [a, b] = [...fingers.values()];
      return { apart: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    };
    const ours = (event) => shown && shown.kind !== "mesh" && !event.target.closest("button, a");
    stage().addEventListener("pointerdown", (event) => {
      if (!ours(event)) return;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      start = fingers.size === 1 ? { x: event.clientX, y: event.clientY, zoom } : null;
      stage().setPointerCapture(event.pointerId);
    });
    stage().addEventListener("pointermove", (event) => {
      const finger = fingers.get(event.pointerId);
      if (!finger) {
        if (ours(event) && event.pointerType === "mouse") pointed(objectAt(event), false);
        return;
      }
      const spread = fingers.size === 2 ? pinch().apart : 0;
      panX += (event.clientX - finger.x) / fingers.size;
      panY += (event.clientY - finger.y) / fingers.size;
      Object.assign(finger, { x: event.clientX, y: event.clientY });
      if (fingers.size === 2) zoomAt(pinch().apart / spread || 1, pinch().x, pinch().y);
      else paint();
    });
    const up = (event) => {
      if (!fingers.delete(event.pointerId) || !start || event.type === "pointercancel") return;
      const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
      if (Math.hypot(dx, dy) < 6) pointed(objectAt(event), true);
      else if (
        event.pointerType === "touch" &&
        start.zoom === 1 &&
        Math.abs(dx) > SWIPE &&
        Math.abs(dx) > 2 * Math.abs(dy)
      )
        turned(dx < 0 ? 1 : -1);
    };
    stage().addEventListener("pointerup", up);
    stage().addEventListener("pointercancel", up);
    stage().addEventListener("pointerleave", () => pointed(null, false));
    stage().addEventListener(
      "dblclick",
      (event) => ours(event) && zoomAt(zoom > 1 ? 0 : 3, event.clientX, event.clientY),
    );
    stage().addEventListener(
      "wheel",
      (event) => {
        if (!ours(event)) return;
        event.preventDefault();
        zoomAt(Math.exp(-event.deltaY * 0.0015), event.clientX, event.clientY);
      },
      { passive: false },
    );
    new ResizeObserver(paint).observe(stage());
  }

  /** `whenTurned(step)` hears of swipes, `whenPointed(object, chosen)` of what the pointer is at. */
  function begin(whenTurned, whenPointed) {
    [turned, pointed] = [whenTurned, whenPointed];
    listen();
  }

  const kind = () => shown?.kind ?? null;

  return {
    start: begin,
    showPhoto,
    showPicture,
    showMesh,
    light,
    paint,
    key,
    clear,
    kind,
    titleOf,
  };
})();
