"use strict";

/* Which photos and objects are shown, and in which order. */
visionweave.filters = (() => {
  const { find, make, quiet, number, plural, colourOf, nameOf } = visionweave;
  const MOST = 200; // labels in the list at a time
  const state = {
    text: "",
    status: "",
    labels: new Set(),
    low: 0,
    high: 1,
    output: "",
    sort: "name",
    turned: false,
    show: { boxes: true, labels: true, masks: true },
    size: 200,
  };
  let labels = [];
  let changed = () => {};
  let redrawn = () => {};

  /** Whether an object is among those that are asked for. */
  function wants(object) {
    return (
      (!state.labels.size || state.labels.has(object.label)) &&
      object.score >= state.low &&
      object.score <= state.high &&
      (!state.output || object.outputs.includes(state.output))
    );
  }

  const asksForObjects = () => state.labels.size > 0 || state.low > 0 || state.high < 1;

  const STATUSES = {
    "": () => true,
    empty: (entry) =>
      !entry.objects.some((object) => !state.output || object.outputs.includes(state.output)),
    photo: (entry) =>
      entry.state === "gone" || entry.state === "changed" || entry.state === "unreadable",
  };

  /** The entries that fit, in order. */
  function choose(entries) {
    const words = state.text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const fitsStatus = STATUSES[state.status] ?? ((entry) => entry.status === state.status);
    const found = entries.filter(
      (entry) =>
        words.every((word) => entry.haystack.includes(word)) &&
        fitsStatus(entry) &&
        (!asksForObjects() || entry.objects.some(wants)),
    );
    const rank = SORTS[state.sort];
    if (rank) {
      const ranks = new Map(found.map((entry) => [entry, rank(entry)]));
      found.sort(
        (a, b) => (ranks.get(b) ?? -Infinity) - (ranks.get(a) ?? -Infinity) || a.index - b.index,
      );
    }
    return state.turned ? found.reverse() : found;
  }

  const scores = (entry) => entry.objects.filter(wants).map((object) => object.score);
  const SORTS = {
    objects: (entry) => entry.objects.filter(wants).length,
    best: (entry) => Math.max(-1, ...scores(entry)),
    worst: (entry) => -Math.min(2, ...scores(entry)),
    seconds: (entry) => entry.seconds ?? -1,
    pixels: (entry) => (entry.size ? entry.size[0] * entry.size[1] : -1),
  };

  function isFiltered() {
    return Boolean(state.text || state.status || state.output || asksForObjects());
  }

  function clear() {
    Object.assign(state, { text: "", status: "", labels: new Set(), low: 0, high: 1, output: "" });
    for (const id of ["text", "status", "output"]) find(id).value = "";
    listLabels();
    update();
  }

  /** Show the state in the bar, and tell of the change. */
  function update() {
    [find("low").value, find("high").value] = [state.low, state.high];
    find("low-value").textContent = state.low.toFixed(2);
    find("high-value").textContent = state.high.toFixed(2);
    const any = state.low === 0 && state.high === 1;
    find("scores-chosen").textContent = any
      ? "Any score"
      : `${state.low.toFixed(2)} – ${state.high.toFixed(2)}`;
    const [first] = state.labels;
    const chosen =
      state.labels.size === 1
        ? nameOf({ label: first, id: "without label" })
        : `${state.labels.size} labels`;
    find("labels-chosen").textContent = state.labels.size ? chosen : "All labels";
    const used = [state.status, state.output, state.labels.size, !any].filter(Boolean).length;
    find("more").textContent = used ? `Filters · ${used}` : "Filters";
    changed();
  }

  function listLabels() {
    const part = find("labels-text").value.toLocaleLowerCase();
    const fit = labels.filter(([label]) => label.toLocaleLowerCase().includes(part));
    fit.sort((a, b) => state.labels.has(b[0]) - state.labels.has(a[0]));
    const rows = fit.slice(0, MOST).map(([label, count]) =>
      make(
        "label",
        {},
        make("input", {
          type: "checkbox",
          value: label,
          onchange: (event) => tick(label, event.target.checked),
        }),
        make("i", { class: "dot", style: { background: colourOf({ label, id: 0 }) } }),
        make("span", { class: "grow" }, label || "without label"),
        quiet(number(count)),
      ),
    );
    rows.forEach((row, index) => (row.firstChild.checked = state.labels.has(fit[index][0])));
    if (fit.length > MOST)
      rows.push(make("p", { class: "quiet" }, `and ${plural(fit.length - MOST, "more label")}`));
    if (!fit.length)
      rows.push(
        make("p", { class: "quiet" }, labels.length ? "No such label" : "No objects were found"),
      );
    find("labels-list").replaceChildren(...rows);
  }

  function tick(label, on) {
    if (on) state.labels.add(label);
    else state.labels.delete(label);
    update();
  }

  function show(what, on) {
    state.show[what] = on;
    for (const button of document.querySelectorAll(`[data-show=${what}]`))
      button.setAttribute("aria-pressed", on);
    redrawn();
  }

  const toggle = (what) => show(what, !state.show[what]);

  function bind(id, event, take) {
    find(id).addEventListener(event, (given) => {
      take(given.target);
      update();
    });
  }

  /** Set up the bar. `whenChanged` hears of other photos, `whenRedrawn` of other drawing. */
  function start(job, whenChanged, whenRedrawn) {
    labels = job.labels;
    [changed, redrawn] = [whenChanged, whenRedrawn];
    if (!job.counts.masks)
      for (const each of document.querySelectorAll("[data-show=masks]")) each.hidden = true;
    if (!job.labels.length)
      for (const each of document.querySelectorAll(".switches, #labels, #scores"))
        each.hidden = true;
    const outputs = find("output");
    outputs.append(
      make("option", { value: "" }, "All results"),
      ...job.outputs.map((name) => make("option", { value: name }, name)),
    );
    outputs.hidden = job.outputs.length < 2;
    find("bar").addEventListener("submit", (event) => event.preventDefault());
    bind("text", "input", (input) => (state.text = input.value));
    bind("status", "change", (input) => (state.status = input.value));
    bind("output", "change", (input) => (state.output = input.value));
    bind("sort", "change", (input) => (state.sort = input.value));
    bind("low", "input", (input) => (state.low = Math.min(Number(input.value), state.high)));
    bind("high", "input", (input) => (state.high = Math.max(Number(input.value), state.low)));
    bind("size", "input", (input) => (state.size = Number(input.value)));
    bind("turn", "click", (button) => {
      state.turned = !state.turned;
      button.setAttribute("aria-pressed", state.turned);
      button.textContent = state.turned ? "↑" : "↓";
    });
    find("labels-text").addEventListener("input", listLabels);
    find("labels").addEventListener("toggle", listLabels); // not on each tick: rows would jump
    find("clear").addEventListener("click", clear);
    for (const button of document.querySelectorAll("[data-show]")) {
      button.addEventListener("click", () => toggle(button.dataset.show));
    }
    startMenus();
    update();
  }

  /** Menus close by Esc, and when something else is used. */
  function startMenus() {
    find("more").addEventListener("click", () => {
      const open = find("filters").classList.toggle("open");
      find("more").setAttribute("aria-expanded", open);
    });
    const menus = [...document.querySelectorAll("details.menu")];
    for (const menu of menus) {
      menu.addEventListener("keydown", (event) => {
        if (event.key !== "Escape" || !menu.open) return;
        menu.open = false;
        menu.querySelector("summary").focus();
        event.stopPropagation();
      });
    }
    for (const kind of ["pointerdown", "focusin"]) {
      document.addEventListener(kind, (event) => {
        for (const menu of menus) if (!menu.contains(event.target)) menu.open = false;
      });
    }
  }

  return { state, wants, choose, isFiltered, clear, toggle, start };
})();
