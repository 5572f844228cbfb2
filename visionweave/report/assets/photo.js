"use strict";

/* The dialog of an opened photo. */
visionweave.photo = (() => {
  const { find, make, load, forget, plural, STATUS, stage, side, filters, grid } = visionweave;

  let entry = null;
  let details = null;
  let chosen = null; // the object that stays lit
  let moved = () => {};

  /** Open a photo; the hash in the address says which, so that it can be sent and gone back from. */
  async function open(next) {
    const mine = (entry = next);
    [details, chosen] = [null, null];
    const [place, count] = grid.position(entry);
    find("photo-name").textContent = entry.name;
    find("photo-name").title = entry.name;
    find("photo-about").textContent = [
      place
        ? `${visionweave.number(place)} of ${visionweave.number(count)}`
        : "not among the filtered photos",
      entry.size && `${entry.size[0]} × ${entry.size[1]}`,
      plural(entry.objects.length, "object"),
      entry.status !== "ok" && STATUS[entry.status],
    ]
      .filter(Boolean)
      .join(" · ");
    find("before").disabled = !grid.around(entry, -1);
    find("after").disabled = !grid.around(entry, 1);
    if (!find("photo").open) {
      find("photo").showModal();
      find("stage").focus();
    }
    stage.showPhoto(entry, null);
    side.end();
    find("side").replaceChildren(make("p", { class: "quiet" }, "Reading…"));
    try {
      const read = await load(entry.id, entry.details);
      forget(entry.id);
      if (entry === mine) fill(read);
    } catch (error) {
      if (entry === mine)
        find("side").replaceChildren(make("p", { class: "failure" }, error.message));
    }
  }

  function fill(read) {
    details = read;
    entry.objects.forEach((object, index) => {
      object.mask = details.masks[index] ?? object.mask;
    });
    stage.showPhoto(entry, details);
    find("side").replaceChildren(...side.build(entry, details, hooks));
    find("side").scrollTop = 0;
  }

  const hooks = {
    light: (object) => light(object),
    choose: (object) => choose(object === chosen ? null : object),
    showPicture: (about, kind) => turnTo(() => stage.showPicture(about, kind, toPhoto)),
    showMesh: (about) => turnTo(() => stage.showMesh(about, toPhoto)),
  };

  /** Show something else on the stage; on a phone it may be out of sight. */
  function turnTo(show) {
    show();
    find("stage").focus({ preventScroll: true });
    find("photo").scrollTo({ top: 0, behavior: visionweave.calm.matches ? "auto" : "smooth" });
  }

  function toPhoto() {
    stage.showPhoto(entry, details);
    find("stage").focus({ preventScroll: true });
  }

  function light(object) {
    const now = object ?? chosen;
    stage.light(now);
    for (const row of find("side").querySelectorAll(".object"))
      row.classList.toggle("lit", row.object === now);
  }

  function choose(object) {
    chosen = object;
    if (object && stage.kind() !== "photo") toPhoto();
    light(object);
    for (const row of find("side").querySelectorAll(".object")) {
      row.setAttribute("aria-pressed", row.object === chosen);
      const scrolls = find("side").scrollHeight > find("side").clientHeight; // not on a phone
      if (object && row.object === chosen && scrolls) row.scrollIntoView({ block: "nearest" });
    }
  }

  function step(by) {
    const next = entry && grid.around(entry, by);
    if (next) moved(next);
  }

  function close() {
    if (find("photo").open) find("photo").close();
  }

  function takeKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, select"))
      return;
    if (event.target === find("stage") && stage.key(event)) event.preventDefault();
    else if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
  }

  /** `whenMoved(entry)` hears of the next photo, `whenClosed(entry)` of the end. */
  function start(whenMoved, whenClosed) {
    moved = whenMoved;
    stage.start(step, (object, isChosen) => (isChosen ? choose(object) : light(object)));
    find("before").addEventListener("click", () => step(-1));
    find("after").addEventListener("click", () => step(1));
    find("close").addEventListener("click", close);
    find("photo").addEventListener("keydown", takeKey);
    find("photo").addEventListener("cancel", (event) => {
      if (stage.kind() === "photo" || !details) return;
      event.preventDefault(); // Esc first goes back to the photo
      toPhoto();
    });
    find("photo").addEventListener("close", () => {
      const last = entry;
      entry = null;
      stage.clear();
      side.end();
      find("side").replaceChildren();
      whenClosed(last);
    });
  }

  const redraw = () => entry && stage.paint();
  const current = () => entry;

  return { start, open, close, redraw, current };
})();
