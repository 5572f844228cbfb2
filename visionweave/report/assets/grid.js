"use strict";

/* The photos in rows, each in its own shape. Only rows near the window are in the page, so that ten
   thousand photos cost no more than fifty. */
visionweave.grid = (() => {
  const { find, make, quiet, load, plural, STATUS, rows } = visionweave;
  const { CAPTION } = rows;
  const BUDGET = 8; // milliseconds of drawing in a frame
  const AHEAD = 0.75; // windows' heights of rows above and below that are there already

  const STATES = {
    gone: "photo is gone",
    changed: "photo has changed",
    unreadable: "cannot be read",
    none: "without a photo",
  };

  let entries = []; // those that are shown, in order
  let plan = { boxes: [], rows: [], height: 0 }; // where they lie
  let tiles = new Map(); // entry -> its element
  const unpainted = new Map(); // elements whose drawing is out of date, with their entries
  let current = 0; // the one that the keyboard is at
  let opened = () => {};
  let state;
  let queued = false;

  /** Lay the photos out anew. */
  function lay() {
    const width = find("grid").clientWidth;
    plan = rows.lay(entries, width, Math.min(state.size, width));
    find("grid").style.height = `${plan.height}px`;
  }

  /** Put the tiles into the page that are near the window, and take the others out. */
  function render() {
    queued = false;
    if (find("photos").hidden) return;
    const top = -find("grid").getBoundingClientRect().top;
    const height = window.innerHeight;
    const wanted = new Set();
    for (
      let row = rows.at(plan, top - AHEAD * height);
      row < plan.rows.length && plan.rows[row].y < top + (1 + AHEAD) * height;
      row++
    ) {
      for (let i = plan.rows[row].first; i < plan.rows[row].last; i++) wanted.add(i);
    }
    const focused = tiles.get(entries[current])?.contains(document.activeElement);
    if (focused && entries.length) wanted.add(current);
    const shown = new Map();
    for (const i of wanted) {
      const tile = tiles.get(entries[i]) ?? makeTile(entries[i]);
      place(tile, i);
      shown.set(entries[i], tile);
    }
    for (const [entry, tile] of tiles) if (!shown.has(entry)) tile.remove();
    const ordered = [...shown].sort(([a], [b]) => a.place - b.place).map(([, tile]) => tile);
    ordered.forEach((tile, at) => {
      const here = find("grid").children[at];
      if (here !== tile) find("grid").insertBefore(tile, here ?? null);
    });
    tiles = shown;
  }

  function later() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(render);
  }

  function makeTile(entry) {
    const picture = entry.thumbnail
      ? make("img", {
          src: entry.thumbnail,
          alt: "",
          decoding: "async",
          draggable: "false",
          onerror: (event) => event.target.replaceWith(missing(entry, "thumbnail is missing")),
        })
      : missing(entry);
    const count = entry.objects.length;
    const marks = [
      entry.status !== "ok" &&
        make("span", { class: `mark ${entry.status}` }, STATUS[entry.status]),
      entry.state === "gone" && make("span", { class: "mark gone" }, "gone"),
      entry.state === "changed" && make("span", { class: "mark gone" }, "changed"),
    ];
    const short = entry.name.slice(entry.name.lastIndexOf("/") + 1);
    const about = [
      entry.name,
      plural(count, "object"),
      entry.status !== "ok" && STATUS[entry.status],
      STATES[entry.state],
    ];
    const button = make(
      "button",
      {
        type: "button",
        class: "tile",
        "aria-label": about.filter(Boolean).join(", "),
        title: entry.name,
        tabindex: "-1",
      },
      make(
        "span",
        { class: "frame" },
        picture,
        make("canvas", { "aria-hidden": "true" }),
        make("span", { class: "marks" }, marks),
      ),
      make(
        "span",
        { class: "caption" },
        make("span", { class: "grow" }, short),
        count > 0 && quiet(String(count)),
      ),
    );
    button.addEventListener("click", () => {
      current = entry.place;
      opened(entry);
    });
    button.addEventListener("focus", () => setCurrent(entry.place));
    return make("div", { role: "listitem", class: "item" }, button);
  }

  function missing(entry, why) {
    return make(
      "span",
      { class: "missing" },
      why ?? (entry.state === "gone" ? "" : (STATES[entry.state] ?? "no picture")),
    );
  }

  function place(tile, i) {
    const { x, y, w, h } = plan.boxes[i];
    entries[i].place = i;
    Object.assign(tile.style, {
      transform: `translate(${x}px, ${y}px)`,
      width: `${w}px`,
      height: `${h + CAPTION}px`,
    });
    tile.firstChild.firstChild.style.height = `${h}px`;
    tile.firstChild.tabIndex = i === current ? 0 : -1;
    tile.setAttribute("aria-posinset", i + 1);
    tile.setAttribute("aria-setsize", entries.length);
    const key = `${w}x${h}`;
    if (tile.drawn !== key) paintLater(tile, entries[i]);
    tile.drawn = key;
  }

  /** Draw over the tiles that need it, a few in each frame: who scrolls past should not wait. */
  function paintLater(tile, entry) {
    if (!unpainted.size) requestAnimationFrame(paintSome);
    unpainted.set(tile, entry);
  }

  function paintSome() {
    const end = performance.now() + BUDGET;
    for (const [tile, entry] of unpainted) {
      if (performance.now() > end) break;
      unpainted.delete(tile);
      const box = plan.boxes[entry.place];
      if (tile.isConnected && box) paint(tile, entry, box.w, box.h);
    }
    if (unpainted.size) requestAnimationFrame(paintSome);
  }

  /** Draw what was found over a thumbnail; masks are read when they are first drawn. */
  async function paint(tile, entry, w, h) {
    const canvas = tile.querySelector("canvas");
    const draw = () => {
      const context = visionweave.overlay.prepare(canvas, w, h);
      if (!entry.size) return;
      const scale = Math.min(w / entry.size[0], h / entry.size[1]);
      const at = { x: (w - entry.size[0] * scale) / 2, y: (h - entry.size[1] * scale) / 2, scale };
      const objects = entry.objects.filter(visionweave.filters.wants);
      visionweave.overlay.draw(context, {
        objects,
        size: entry.size,
        place: at,
        show: state.show,
        letters: 10,
      });
    };
    draw();
    if (!state.show.masks || entry.chunk.ready || !entry.objects.length) return;
    const masks = await load(entry.chunk.masks.id, entry.chunk.masks.file).catch(() => null);
    if (!masks) return;
    entry.chunk.take(masks);
    draw();
  }

  function redraw() {
    for (const [entry, tile] of tiles) paintLater(tile, entry);
  }

  /** Show these entries; drawn anew if what is wanted of them has changed. */
  function show(found, anew) {
    const at = entries[current];
    entries = found;
    current = Math.max(0, found.indexOf(at));
    found.forEach((entry, index) => (entry.place = index));
    lay();
    const top = find("grid").getBoundingClientRect().top - find("bar").offsetHeight - 40;
    if (anew && top < 0) window.scrollBy(0, top);
    render();
    if (anew) redraw();
  }

  function setCurrent(index) {
    for (const place of [current, index]) {
      const tile = tiles.get(entries[place]);
      if (tile) tile.firstChild.tabIndex = place === index ? 0 : -1;
    }
    current = index;
  }

  /** Bring an entry into the window, and the keyboard to it. */
  function focus(entry) {
    const index = entries.indexOf(entry);
    if (index < 0) return;
    setCurrent(index);
    const { y, h } = plan.boxes[index];
    const top = find("grid").getBoundingClientRect().top + window.scrollY + y;
    const bar = find("bar").offsetHeight + 12;
    if (top - bar < window.scrollY) window.scrollTo({ top: top - bar });
    else if (top + h + CAPTION > window.scrollY + window.innerHeight)
      window.scrollTo({ top: top + h + CAPTION + 12 - window.innerHeight });
    render();
    const tile = tiles.get(entries[index]) ?? makeTile(entries[index]);
    if (!tile.isConnected) {
      place(tile, index);
      tiles.set(entries[index], tile);
      find("grid").append(tile);
    }
    tile.firstChild.tabIndex = 0;
    tile.firstChild.focus({ preventScroll: true });
  }

  const KEYS = {
    ArrowLeft: (i) => i - 1,
    ArrowRight: (i) => i + 1,
    ArrowUp: (i) => rows.beside(plan, i, -1),
    ArrowDown: (i) => rows.beside(plan, i, 1),
    Home: () => 0,
    End: () => entries.length - 1,
    PageUp: (i) => page(i, -1),
    PageDown: (i) => page(i, 1),
  };

  function page(index, step) {
    const count = Math.max(
      1,
      Math.floor(window.innerHeight / (plan.rows[plan.boxes[index].row].h + CAPTION + rows.GAP)) -
        1,
    );
    for (let i = 0; i < count; i++) index = rows.beside(plan, index, step);
    return index;
  }

  /** `whenOpened` takes the entry that is chosen. */
  function start(filters, whenOpened) {
    state = filters.state;
    opened = whenOpened;
    find("grid").addEventListener("keydown", (event) => {
      const move = KEYS[event.key];
      if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      focus(entries[Math.min(entries.length - 1, Math.max(0, move(current)))]);
    });
    window.addEventListener("scroll", later, { passive: true });
    let width = 0;
    new ResizeObserver(() => {
      if (find("grid").clientWidth === width) return; // its height is our own doing
      width = find("grid").clientWidth;
      lay();
      later();
    }).observe(find("grid"));
    window.addEventListener("resize", later);
  }

  /** Whether all that is in the page is drawn. */
  const idle = () =>
    !unpainted.size &&
    [...tiles.keys()].every(
      (entry) => entry.chunk.ready || !state.show.masks || !entry.objects.length,
    );
  const around = (entry, step) => entries[entries.indexOf(entry) + step] ?? null;
  const position = (entry) => [entries.indexOf(entry) + 1, entries.length];

  return { start, show, redraw, render: later, focus, idle, around, position };
})();
