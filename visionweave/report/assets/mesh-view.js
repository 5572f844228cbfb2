"use strict";

/* Views of meshes: they turn by themselves until they are turned by hand. */
visionweave.meshView = (() => {
  const { make, load, forget, calm, mesh: meshes } = visionweave;
  const SPEED = 0.6; // radians a second
  const [NEAREST, FARTHEST] = [6, 0.5];
  const views = new Set();
  let running = false;

  /** One frame of every view that is in sight; slow machines get fewer frames, not a slow page. */
  function tick(now) {
    let moved = false;
    const began = performance.now();
    for (const view of views) moved = view.frame(now) || moved;
    const cost = performance.now() - began;
    if (!moved) {
      running = false;
      return;
    }
    if (cost < 12) requestAnimationFrame(tick);
    else setTimeout(() => requestAnimationFrame(tick), 3 * cost);
  }

  function wake() {
    if (running) return;
    running = true;
    requestAnimationFrame(tick);
  }

  const sight = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      const view = [...views].find((each) => each.element === target);
      if (view) view.seen(isIntersecting);
    }
  });

  class View {
    /** about: a mesh of a photo's details. byHand: whether it can be turned. */
    constructor(about, byHand) {
      this.about = about;
      this.pose = { yaw: -0.5, pitch: 0.3, zoom: 1 };
      this.spins = !calm.matches;
      this.stale = true;
      this.canvas = make("canvas", { "aria-hidden": "true" });
      this.note = make(
        "span",
        { class: "note" },
        meshes.works()
          ? "Reading…"
          : "This browser draws no 3D (WebGL 2 is missing or switched off)",
      );
      this.element = make("div", { class: "mesh" }, this.canvas, this.note);
      this.element.view = this;
      if (byHand) this.takeHands();
      views.add(this);
      sight.observe(this.element);
    }

    seen(isSeen) {
      this.isSeen = isSeen;
      if (isSeen && !this.asked && meshes.works()) this.read();
      if (isSeen) this.refresh();
    }

    async read() {
      this.asked = true;
      try {
        const form = await load(this.about.name, this.about.data);
        if (this.ended) return;
        this.mesh = meshes.upload(form);
        this.note.remove();
        this.element.dataset.ready = "true";
        this.refresh();
      } catch (error) {
        this.note.textContent = error.message;
      } finally {
        forget(this.about.name); // the card holds it now
      }
    }

    refresh() {
      this.stale = true;
      wake();
    }

    /** Draw if need be; return whether there will be more to draw. */
    frame(now) {
      if (!this.mesh || !this.isSeen) {
        this.before = null;
        return false;
      }
      if (this.spins && !this.held) {
        this.pose.yaw += SPEED * Math.min(0.2, (now - (this.before ?? now)) / 1000);
        this.stale = true;
      }
      this.before = now;
      if (this.stale) this.paint();
      this.stale = false;
      return this.spins;
    }

    paint() {
      const ratio = window.devicePixelRatio || 1;
      const { clientWidth, clientHeight } = this.element;
      const [w, h] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
      if (this.canvas.width !== w || this.canvas.height !== h)
        [this.canvas.width, this.canvas.height] = [w, h];
      meshes.draw(this.mesh, this.pose, this.canvas);
    }

    turn(yaw, pitch) {
      this.pose.yaw += yaw;
      this.pose.pitch = Math.max(-1.55, Math.min(1.55, this.pose.pitch + pitch));
      this.refresh();
    }

    zoom(factor) {
      this.pose.zoom = Math.max(FARTHEST, Math.min(NEAREST, this.pose.zoom * factor));
      this.refresh();
    }

    spin(on) {
      this.spins = on;
      this.whenSpun?.(on);
      this.refresh();
    }

    reset() {
      Object.assign(this.pose, { yaw: -0.5, pitch: 0.3, zoom: 1 });
      this.refresh();
    }

    takeHands() {
      const fingers = new Map();
      const apart = () => {
        const [a, b] = [...fingers.values()];
        return Math.hypot(a.x - b.x, a.y - b.y);
      };
      this.element.classList.add("turns");
      this.element.addEventListener("pointerdown", (event) => {
        this.element.setPointerCapture(event.pointerId);
        fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
        this.held = true;
      });
      this.element.addEventListener("pointermove", (event) => {
        const finger = fingers.get(event.pointerId);
        if (!finger) return;
        const spread = fingers.size === 2 ? apart() : 0;
        const [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y];
        Object.assign(finger, { x: event.clientX, y: event.clientY });
        if (fingers.size === 2) this.zoom(apart() / spread || 1);
        else this.turn(dx * 0.01, dy * 0.01);
        if (this.spins && Math.hypot(dx, dy) > 1) this.spin(false);
      });
      for (const kind of ["pointerup", "pointercancel"]) {
        this.element.addEventListener(kind, (event) => {
          fingers.delete(event.pointerId);
          this.held = fingers.size > 0;
        });
      }
      this.element.addEventListener(
        "wheel",
        (event) => {
          event.preventDefault();
          this.zoom(Math.exp(-event.deltaY * 0.0015));
        },
        { passive: false },
      );
    }

    /** Take a key; return whether it was one of ours. */
    key(event) {
      const keys = {
        ArrowLeft: () => this.turn(-0.15, 0),
        ArrowRight: () => this.turn(0.15, 0),
        ArrowUp: () => this.turn(0, -0.15),
        ArrowDown: () => this.turn(0, 0.15),
        "+": () => this.zoom(1.15),
        "=": () => this.zoom(1.15),
        "-": () => this.zoom(1 / 1.15),
        0: () => this.reset(),
        " ": () => this.spin(!this.spins),
      };
      const act = keys[event.key];
      if (act && event.key.startsWith("Arrow")) this.spin(false);
      act?.();
      return Boolean(act);
    }

    end() {
      this.ended = true;
      views.delete(this);
      sight.unobserve(this.element);
      if (this.mesh) meshes.free(this.mesh);
      this.mesh = null;
    }
  }

  new ResizeObserver(() => views.forEach((view) => view.refresh())).observe(
    document.documentElement,
  );

  return { View };
})();
