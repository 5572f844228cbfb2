"use strict";

/* What every part uses: reading data, building elements, colours, numbers in words. */
const visionweave = (() => {
  const waiting = new Map(); // name -> what takes the data that a script hands over
  const loaded = new Map(); // name -> promise of the data

  /** Called by the data scripts. */
  function deliver(name, data) {
    waiting.get(name)?.(data);
  }

  /** Read a data file once. A page from the disk may not fetch files, but it may run scripts. */
  function load(name, file) {
    if (!loaded.has(name)) {
      const promise = new Promise((resolve, reject) => {
        const script = document.createElement("script");
        const end = () => {
          waiting.delete(name);
          script.remove();
          reject(new Error(`${file} is missing or damaged; make the report again`));
        };
        waiting.set(name, resolve);
        script.onload = script.onerror = end; // rejecting what is resolved does nothing
        script.src = file;
        document.head.append(script);
      });
      promise.catch(() => loaded.delete(name));
      loaded.set(name, promise);
    }
    return loaded.get(name);
  }

  /** Let go of data that can be read again. */
  function forget(name) {
    loaded.delete(name);
  }

  /** Build an element. Text is only ever set as text, so that nothing in it is taken for HTML. */
  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "class") element.className = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "style")
        for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(
      ...children
        .flat(Infinity)
        .filter((child) => child !== null && child !== undefined && child !== false),
    );
    return element;
  }

  /** Words that stand back. */
  const quiet = (...text) => make("span", { class: "quiet" }, ...text);

  const find = (id) => document.getElementById(id);

  const PALETTE = [
    "#2e86de",
    "#e4572e",
    "#17a673",
    "#f2a900",
    "#8e5bd9",
    "#e84393",
    "#00a8b5",
    "#8db62f",
    "#c0663c",
    "#5c7cfa",
    "#d6336c",
    "#b08d57",
  ];
  const ranks = new Map(); // label -> its place among all labels, the most frequent first

  /** Tell which labels there are, so that the frequent ones get colours that differ most. */
  function rankLabels(labels) {
    labels.forEach(([label], rank) => ranks.set(label, rank));
  }

  /** The colour of an object: its label's; its own where labels tell nothing apart. */
  function colourOf(object) {
    const rank = object.label && ranks.size > 1 ? (ranks.get(object.label) ?? 0) : object.id;
    if (rank < PALETTE.length) return PALETTE[rank];
    const hue = (rank * 137.508) % 360; // the golden angle keeps neighbours apart
    return hexOf(hue, 0.62, 0.42 + 0.14 * ((rank % 3) / 2));
  }

  function hexOf(hue, saturation, lightness) {
    const channel = (n) => {
      const k = (n + hue / 30) % 12;
      const a = saturation * Math.min(lightness, 1 - lightness);
      const value = lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1));
      return Math.round(255 * value)
        .toString(16)
        .padStart(2, "0");
    };
    return `#${channel(0)}${channel(8)}${channel(4)}`;
  }

  function rgbOf(colour) {
    const value = parseInt(colour.slice(1), 16);
    return [value >> 16, (value >> 8) & 255, value & 255];
  }

  /** Black or white: what can be read on a colour. */
  function inkOn(colour) {
    const [r, g, b] = rgbOf(colour).map((c) => (c / 255) ** 2.2);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.3 ? "#10161d" : "#ffffff";
  }

  const whole = new Intl.NumberFormat("en");
  const number = (value) => whole.format(value);
  const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

  function duration(seconds) {
    if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 90) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }

  const nameOf = (object) => object.label || `object ${object.id}`;
  const STATUS = { ok: "good", partial: "in part", failed: "failed" };
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  return {
    deliver,
    load,
    forget,
    make,
    quiet,
    find,
    rankLabels,
    colourOf,
    rgbOf,
    inkOn,
    number,
    plural,
    duration,
    nameOf,
    STATUS,
    calm,
  };
})();
