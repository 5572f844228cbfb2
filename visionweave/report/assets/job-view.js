"use strict";

/* The parts about the job as a whole: its failures, and what made the results. */
visionweave.jobView = (() => {
  const { find, make, quiet, number, plural, duration, parts } = visionweave;
  const MOST = 50; // failures of a kind that are listed

  /** Failures by step and error, the most frequent first. */
  function failures(job, open) {
    const kinds = new Map();
    for (const failure of job.failures) {
      const kind = `${failure.step} · ${failure.error}`;
      if (!kinds.has(kind)) kinds.set(kind, []);
      kinds.get(kind).push(failure);
    }
    const sorted = [...kinds].sort((a, b) => b[1].length - a[1].length);
    const shown = sorted.map(([kind, list]) =>
      make(
        "details",
        { class: "kind", open: sorted.length < 4 },
        make("summary", {}, make("b", {}, kind), quiet(` ${number(list.length)}`)),
        list
          .slice(0, MOST)
          .map((failure) =>
            make(
              "div",
              {},
              make(
                "button",
                { type: "button", class: "text", onclick: () => open(failure.photo) },
                failure.photo,
              ),
              parts.failureOf(failure),
            ),
          ),
        list.length > MOST &&
          make(
            "p",
            { class: "quiet" },
            `and ${plural(list.length - MOST, "more failure")}, in failures.jsonl`,
          ),
      ),
    );
    find("failures").replaceChildren(
      ...(shown.length ? shown : [make("p", { class: "empty" }, "No failures.")]),
    );
  }

  function facts(rows) {
    return make(
      "dl",
      {},
      rows
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
    );
  }

  const time = (text) =>
    text ? new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : null;

  function aboutRun({ run, pipeline, counts, photos, unfinished, visionweave: version }) {
    const here = [
      counts["photo gone"] && `${plural(counts["photo gone"], "photo")} gone`,
      counts["photo changed"] && `${plural(counts["photo changed"], "photo")} changed since`,
    ];
    return parts.section(
      "This job",
      0,
      facts([
        [
          "status",
          unfinished
            ? `${run.status ?? "unknown"}; ${plural(unfinished, "photo")} not finished`
            : run.status,
        ],
        ["photos", [number(photos), ...here.filter(Boolean)].join(", ")],
        ["given", (run.given ?? []).join(" ")],
        ["started", time(run.started)],
        ["finished", time(run.finished)],
        ["took", run.seconds ? duration(run.seconds) : null],
        ["device", [run.device, run.precision].filter(Boolean).join(", ")],
        ["machine", run.machine && `${run.machine.system}, ${run.machine.processor}`],
        ["profile", pipeline.profile],
        ["pipeline hash", pipeline.hash],
        ["report by", `visionweave ${version}`],
      ]),
    );
  }

  function models({ run }) {
    const rows = (run.models ?? []).map(({ step, node, checkpoint }) => [
      step,
      node,
      checkpoint?.name,
      checkpoint?.license,
      checkpoint?.commercial,
    ]);
    if (!rows.length) return null;
    return parts.section(
      "Models",
      rows.length,
      table(["step", "node", "checkpoint", "licence", "commercial use"], rows),
    );
  }

  function runs({ run }) {
    const list = (run.runs ?? []).slice().reverse();
    if (list.length < 2) return null;
    const rows = list.map((each) => [
      each.run,
      each.status,
      time(each.started),
      each.seconds ? duration(each.seconds) : "",
      each.failures,
    ]);
    return parts.section(
      "Runs",
      rows.length,
      table(["run", "status", "started", "took", "failures"], rows),
    );
  }

  /** What each step took in all, in the last run that did something. */
  function steps({ run }) {
    const runs = [run, ...(run.runs ?? []).slice().reverse()];
    const timed = runs.find((each) => Object.keys(each.timings ?? {}).length);
    if (!timed) return null;
    const rows = Object.entries(timed.timings).map(([step, each]) => [
      step,
      each.calls,
      each.found,
      duration(each.seconds),
      each.load_seconds === undefined ? "" : duration(each.load_seconds),
    ]);
    const peak = Object.entries(timed.peak_memory ?? {}).map(
      ([where, bytes]) => `${(bytes / 1e9).toFixed(2)} GB (${where})`,
    );
    return parts.section(
      "Time per step",
      rows.length,
      table(["step", "calls", "found in the cache", "took", "loading the model"], rows),
      make(
        "p",
        { class: "quiet" },
        `${timed.photos_per_second} photos per second; most memory: ${peak.join(", ") || "unknown"}. ` +
          "What is in brackets is done beside the steps.",
      ),
    );
  }

  function table(names, rows) {
    return make(
      "div",
      { class: "wide" },
      make(
        "table",
        {},
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            names.map((name) => make("th", { scope: "col" }, name)),
          ),
        ),
        make(
          "tbody",
          {},
          rows.map((row) =>
            make(
              "tr",
              {},
              row.map((cell) =>
                make("td", {}, cell === null || cell === undefined ? "" : String(cell)),
              ),
            ),
          ),
        ),
      ),
    );
  }

  /** The mean time of each step over the photos that have times. */
  function times(entries) {
    const timed = entries.filter((entry) => entry.seconds);
    if (!timed.length)
      return parts.section(
        "Time per photo",
        0,
        make("p", { class: "quiet" }, "The job has not noted how long each photo took."),
      );
    const sorted = timed.map((entry) => entry.seconds).sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    return parts.section(
      "Time per photo",
      0,
      parts.bars([
        ["fastest", sorted[0]],
        ["median", at(0.5)],
        ["slowest tenth", at(0.9)],
        ["slowest", sorted[sorted.length - 1]],
      ]),
      make(
        "p",
        { class: "quiet" },
        `of ${plural(timed.length, "photo")} with times; sort the photos by time to see which`,
      ),
    );
  }

  function diagram({ diagram: svg, pipeline }) {
    if (!svg && !pipeline.yaml) return null;
    const picture =
      svg &&
      make("img", {
        class: "diagram",
        alt: "The steps of the pipeline, and how they are connected",
        src: `data:image/svg+xml,${encodeURIComponent(svg)}`,
      });
    return parts.section(
      "Pipeline",
      0,
      picture && make("div", { class: "wide" }, picture),
      pipeline.yaml &&
        make(
          "details",
          {},
          make("summary", {}, "As a file"),
          make("pre", { class: "code" }, pipeline.yaml),
        ),
    );
  }

  function versions({ run }) {
    return run.versions ? parts.section("Versions", 0, facts(Object.entries(run.versions))) : null;
  }

  function show(job, entries, open) {
    failures(job, open);
    find("job").replaceChildren(
      ...[
        aboutRun(job),
        models(job),
        times(entries),
        steps(job),
        runs(job),
        diagram(job),
        versions(job),
      ].filter(Boolean),
    );
  }

  return { show };
})();
