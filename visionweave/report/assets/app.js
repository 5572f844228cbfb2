"use strict";

/* The start: reads what there is, and connects the parts. */
(() => {
  const { find, make, load, plural, number, filters, grid, photo, jobView } = visionweave;
  const TABS = ["photos", "failures", "job"];
  const EVERY = 300; // milliseconds between showing photos while more are read
  const entries = [];

  /** Make entries of some photos as the data files have them (see visionweave/report/photos.py). */
  function take(rows, chunk) {
    const mine = rows.map((row) => {
      const objects = row.objects.map(([label, score, x1, y1, x2, y2, id, outputs]) => ({
        label,
        score,
        box: [x1, y1, x2, y2],
        id,
        outputs,
        mask: null,
      }));
      return { ...row, objects, chunk, haystack: `${row.name}\n${row.words}`.toLocaleLowerCase() };
    });
    chunk.take = (masks) => {
      mine.forEach((entry, at) =>
        entry.objects.forEach((object, index) => (object.mask ??= masks[at][index])),
      );
      chunk.ready = true;
    };
    for (const entry of mine) entries.push(Object.assign(entry, { index: entries.length }));
  }

  let total = 0;

  /** Show the photos that fit the filters; `anew` when these have changed. */
  function choose(anew) {
    const found = filters.choose(entries);
    const filtered = filters.isFiltered();
    find("clear").hidden = !filtered;
    const reading =
      entries.length < total ? `, ${number(total - entries.length)} still to be read` : "";
    find("found").textContent =
      (filtered
        ? `${number(found.length)} of ${plural(entries.length, "photo")}`
        : plural(entries.length, "photo")) + reading;
    find("grid").classList.toggle("none", !found.length);
    grid.show(found, anew);
  }

  function redraw() {
    grid.redraw();
    photo.redraw();
  }

  function showTab(name) {
    for (const each of TABS) {
      const on = each === name;
      find(each).hidden = !on;
      find(`tab-${each}`).setAttribute("aria-selected", on);
      find(`tab-${each}`).tabIndex = on ? 0 : -1;
    }
    if (name === "photos") grid.render();
  }

  function startTabs() {
    for (const [index, name] of TABS.entries()) {
      find(`tab-${name}`).addEventListener("click", () => showTab(name));
      find(`tab-${name}`).addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        const next = TABS[(index + by + TABS.length) % TABS.length];
        showTab(next);
        find(`tab-${next}`).focus();
      });
    }
  }

  const byName = (name) => entries.find((entry) => entry.name === name);

  /** Open the photo that the address names, or close the one that it names no more. */
  function follow() {
    const named = new URLSearchParams(location.hash.slice(1)).get("photo");
    const entry = named === null ? null : byName(named);
    if (!entry) photo.close();
    else if (photo.current() !== entry) photo.open(entry);
  }

  /** Open a photo by its address: going back closes it, however many were looked at. */
  function go(entry) {
    const hash = `#${new URLSearchParams({ photo: entry.name })}`;
    if (photo.current()) location.replace(hash);
    else location.hash = hash;
  }

  function closed(entry) {
    history.replaceState(null, "", location.pathname + location.search);
    if (entry && !find("photos").hidden) grid.focus(entry);
  }

  function startKeys() {
    document.addEventListener("keydown", (event) => {
      if (
        event.target.matches("input, select, textarea") ||
        event.altKey ||
        event.ctrlKey ||
        event.metaKey
      )
        return;
      const what = { b: "boxes", l: "labels", m: "masks" }[event.key.toLowerCase()];
      if (what) filters.toggle(what);
      if (event.key === "/" && !find("photo").open) {
        showTab("photos");
        find("text").focus();
        event.preventDefault();
      }
    });
    find("skip").addEventListener("click", (event) => {
      event.preventDefault();
      showTab("photos");
      const [first] = filters.choose(entries);
      if (first) grid.focus(first);
    });
  }

  function head(job) {
    document.title = `${job.name} · visionweave report`;
    find("name").textContent = job.name;
    const { counts } = job;
    const sums = [
      plural(job.photos, "photo"),
      counts.objects && plural(counts.objects, "object"),
      counts.cutouts && plural(counts.cutouts, "cutout"),
      counts.meshes && plural(counts.meshes, "3D model"),
    ];
    find("sums").textContent = sums.filter(Boolean).join(" · ");
    find("tab-failures").textContent = counts.failures
      ? `Failures ${number(counts.failures)}`
      : "Failures";
    find("tab-failures").classList.toggle("bad", counts.failures > 0);
  }

  async function start() {
    const job = await load("job", "job.js");
    total = job.photos;
    head(job);
    visionweave.rankLabels(job.labels);
    if (window.innerWidth < 600) find("size").value = filters.state.size = 130;
    startTabs();
    startKeys();
    grid.start(filters, go);
    photo.start(go, closed);
    filters.start(job, () => choose(true), redraw);
    let drawn = 0;
    for (const chunk of job.chunks) {
      take(await load(chunk.entries.id, chunk.entries.file), chunk);
      visionweave.forget(chunk.entries.id);
      if (performance.now() - drawn < EVERY) continue;
      choose(false);
      drawn = performance.now();
    }
    choose(false);
    jobView.show(job, entries, (name) => go(byName(name)));
    window.addEventListener("hashchange", follow);
    follow();
  }

  start().catch((error) => {
    find("found").textContent = "";
    document
      .querySelector("main")
      .prepend(make("p", { class: "empty" }, `The report cannot be shown: ${error.message}`));
  });
})();
