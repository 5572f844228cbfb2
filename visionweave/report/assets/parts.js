"use strict";

/* Parts that stand both beside an opened photo and on the pages about the job. */
visionweave.parts = (() => {
  const { make, quiet, nameOf, number, duration } = visionweave;

  /** A section; `count` stands in its title when there are several. */
  function section(title, count, ...children) {
    return make(
      "section",
      {},
      make("h3", {}, title, count > 1 && quiet(` ${number(count)}`)),
      ...children,
    );
  }

  /** A line of failures.jsonl. */
  function failureOf(failure) {
    const where = [
      failure.step,
      failure.object !== null &&
        failure.object !== undefined &&
        nameOf({ label: failure.label, id: failure.object }),
    ];
    return make(
      "div",
      { class: "failure" },
      make(
        "p",
        {},
        make("b", {}, where.filter(Boolean).join(" · ")),
        " ",
        quiet(failure.error ?? ""),
      ),
      make("p", { class: "message" }, failure.message ?? ""),
      failure.retry && make("code", { class: "command" }, failure.retry),
    );
  }

  /** Times as bars, in the order of the steps. */
  function bars(steps) {
    const most = Math.max(...steps.map(([, seconds]) => seconds), 1e-9);
    return make(
      "div",
      { class: "bars" },
      steps.map(([step, seconds]) => [
        make("span", {}, step),
        make(
          "span",
          { class: "track" },
          make("i", { style: { width: `${(100 * seconds) / most}%` } }),
        ),
        quiet(duration(seconds)),
      ]),
    );
  }

  return { section, failureOf, bars };
})();
