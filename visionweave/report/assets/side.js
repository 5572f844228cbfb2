"use strict";

/* What stands beside an opened photo: words, objects, cutouts, meshes, times, failures, files. */
visionweave.side = (() => {
  const { make, quiet, colourOf, nameOf, number, plural, duration, STATUS } = visionweave;
  const { section, failureOf, bars } = visionweave.parts;

  let views = []; // of meshes, to be ended

  /** A section for a list, or nothing for an empty one. */
  const listed = (title, list, build) =>
    list.length ? section(title, list.length, build(list)) : null;

  const problemOf = ({ output, file, message }) =>
    make(
      "div",
      { class: "failure" },
      make("p", {}, make("b", {}, output), " ", quiet(file)),
      make("p", { class: "message" }, message),
    );

  function textOf({ output, text, label, object }) {
    const whose = object === undefined ? output : nameOf({ label, id: object });
    return make(
      "figure",
      { class: "saying" },
      make("blockquote", {}, text || "(no words)"),
      make("figcaption", { class: "quiet" }, whose),
    );
  }

  function tagsOf({ output, tags, label, object }, several) {
    const chips = tags.map(([phrase, score]) =>
      make("li", { class: "chip" }, phrase, score < 1 && quiet(` ${score.toFixed(2)}`)),
    );
    const whose = object === undefined ? output : nameOf({ label, id: object });
    return make(
      "div",
      {},
      several && make("p", { class: "quiet" }, whose),
      make(
        "ul",
        { class: "chips" },
        chips.length ? chips : make("li", { class: "quiet" }, "no tags"),
      ),
    );
  }

  function objectRow(object, index, details, hooks) {
    const [x1, y1, x2, y2] = object.box.map(Math.round);
    const area = object.mask ? ` · ${plural(visionweave.masks.area(object.mask), "pixel")}` : "";
    const flags = details.flags[index] ?? [];
    const row = make(
      "button",
      { type: "button", class: "object", "aria-pressed": "false" },
      make("i", { class: "dot", style: { background: colourOf(object) } }),
      make(
        "span",
        { class: "grow" },
        make(
          "span",
          { class: "head" },
          make("b", {}, nameOf(object)),
          flags.map((flag) => make("span", { class: "flag" }, flag)),
        ),
        make("span", { class: "quiet small" }, `${x2 - x1} × ${y2 - y1} at ${x1}, ${y1}${area}`),
      ),
      make(
        "span",
        { class: "score" },
        object.score.toFixed(2),
        make("i", { style: { width: `${100 * object.score}%`, background: colourOf(object) } }),
      ),
    );
    row.object = object;
    row.addEventListener("pointerenter", () => hooks.light(object));
    row.addEventListener("pointerleave", () => hooks.light(null));
    row.addEventListener("focus", () => hooks.light(object));
    row.addEventListener("blur", () => hooks.light(null));
    row.addEventListener("click", () => hooks.choose(object));
    return row;
  }

  function objects(entry, details, hooks) {
    const wanted = entry.objects.filter(visionweave.filters.wants);
    const rows = entry.objects
      .map((object, index) => [object, index])
      .filter(([object]) => wanted.includes(object));
    rows.sort(([a], [b]) => b.score - a.score);
    const hidden = entry.objects.length - wanted.length;
    if (!entry.objects.length)
      return entry.status === "failed"
        ? null
        : section("Objects", 0, make("p", { class: "quiet" }, "Nothing was found."));
    return section(
      "Objects",
      wanted.length,
      make(
        "div",
        { class: "objects" },
        rows.map(([object, index]) => objectRow(object, index, details, hooks)),
      ),
      hidden > 0 &&
        make("p", { class: "quiet" }, `${plural(hidden, "more object")} left out by the filters`),
    );
  }

  const scoreOf = (about) =>
    typeof about.score === "number" && about.score < 1 ? about.score.toFixed(2) : null;

  /** A picture among the results, as a button that shows it large. */
  function pictureCard(about, kind, hooks) {
    const title = visionweave.stage.titleOf(about);
    const picture = make("img", { src: about.url, alt: "", loading: "lazy", decoding: "async" });
    picture.addEventListener("error", () =>
      picture.replaceWith(make("span", { class: "missing" }, "file is gone")),
    );
    return make(
      "button",
      {
        type: "button",
        class: "card",
        "aria-label": `${kind} of ${title}, show it large`,
        onclick: () => hooks.showPicture(about, kind),
      },
      make("span", { class: `small-stage ${kind}` }, picture),
      make(
        "span",
        { class: "caption" },
        make("span", { class: "grow" }, title),
        quiet(scoreOf(about)),
      ),
    );
  }

  function meshCard(about, hooks) {
    const title = visionweave.stage.titleOf(about);
    const view = new visionweave.meshView.View(about, false);
    views.push(view);
    view.element.classList.add("small-stage");
    return make(
      "button",
      {
        type: "button",
        class: "card",
        "aria-label": `3D model of ${title}, show it large`,
        onclick: () => hooks.showMesh(about),
      },
      view.element,
      make(
        "span",
        { class: "caption" },
        make("span", { class: "grow" }, title),
        quiet(scoreOf(about)),
      ),
    );
  }

  function otherOf({ output, type, about, url }) {
    return make(
      "div",
      { class: "other" },
      make(
        "p",
        {},
        url ? make("a", { href: url }, output) : make("b", {}, output),
        quiet(` ${type}`),
      ),
      make("pre", {}, about),
    );
  }

  function times(seconds) {
    const steps = Object.entries(seconds);
    const total = steps.reduce((sum, [, each]) => sum + each, 0);
    if (!steps.length) return null;
    return section(
      "Time",
      0,
      bars(steps),
      make("p", { class: "quiet" }, `${duration(total)} in all`),
    );
  }

  function file(entry, details) {
    const rows = [
      ["name", entry.name],
      ["size", entry.size && `${entry.size[0]} × ${entry.size[1]}`],
      ["file", details.photo.path],
      ["status", STATUS[entry.status]],
    ];
    return section(
      "Photo",
      0,
      make(
        "dl",
        {},
        rows
          .filter(([, value]) => value)
          .map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
      ),
    );
  }

  /** Everything beside a photo. hooks: light, choose, showPicture, showMesh. */
  function build(entry, details, hooks) {
    end();
    const tags = details.tags;
    return [
      listed("Failures", details.failures, (list) => list.map(failureOf)),
      listed("Results that are missing", details.problems, (list) => list.map(problemOf)),
      listed(details.texts.length > 1 ? "Texts" : "Text", details.texts, (list) =>
        list.map(textOf),
      ),
      tags.length
        ? section(
            "Tags",
            0,
            tags.map((each) => tagsOf(each, tags.length > 1)),
          )
        : null,
      objects(entry, details, hooks),
      listed("3D models", details.meshes, (list) =>
        make(
          "div",
          { class: "cards" },
          list.map((about) => meshCard(about, hooks)),
        ),
      ),
      listed("Cutouts", details.cutouts, (list) =>
        make(
          "div",
          { class: "cards" },
          list.map((about) => pictureCard(about, "cutout", hooks)),
        ),
      ),
      listed("Pictures", details.pictures, (list) =>
        make(
          "div",
          { class: "cards" },
          list.map((about) => pictureCard(about, "picture", hooks)),
        ),
      ),
      listed("Other results", details.others, (list) => list.map(otherOf)),
      times(details.seconds),
      file(entry, details),
    ].filter(Boolean);
  }

  function end() {
    views.forEach((view) => view.end());
    views = [];
  }

  return { build, end };
})();
