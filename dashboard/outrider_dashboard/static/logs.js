// The log page: the light behind the filter, open rows, keys, the brush, the live tail.
"use strict";

// ---------------------------------------------------------------- filter

const field = $("#bar textarea");
const layer = $("#bar .layer");

// The same division as the server's, for what is being typed; the server's is what counts.
const TOKEN = /(\s+)|([()])|(OR|AND|NOT)(?=[\s()]|$)|(-)(?=[^\s)])|("(?:[^"\\]|\\.)*"\*?)|([^\s()":<>=!]+)((?:!=|[:<>=])+)|([^\s()"]+)|(.)/gs;
const COMPARISONS = [":", ">=", "<=", ">", "<"];

function paint() {
  const out = document.createDocumentFragment();
  let term = null;
  const put = (text, kind, alone) => {
    const letters = document.createElement("span");
    letters.className = "k-" + kind;
    letters.textContent = text;
    if (alone) { term = null; out.append(letters); return; }
    if (!term) {
      term = document.createElement("span");
      term.className = "term " + (kind === "minus" ? "out" : "in");
      out.append(term);
    }
    term.append(letters);
  };
  for (const [text, space, bracket, keyword, minus, phrase, name, sign, word] of field.value.matchAll(TOKEN)) {
    if (space) put(text, "space", true);
    else if (bracket) put(text, "parenthesis", true);
    else if (keyword) put(text, "keyword", true);
    else if (minus) { term = null; put(text, "minus"); }
    else if (phrase) put(text, term ? "value" : "phrase");
    else if (name) { put(name, "field"); put(sign, COMPARISONS.includes(sign) ? "comparison" : "error"); }
    else if (word) put(text, term && term.lastChild.className !== "k-minus" ? "value" : "word");
    else put(text, "error");
  }
  layer.replaceChildren(out);
  grow();
}

// What could stand at the caret: the server knows what exists in the range shown, and how often.
// It counts characters as people do, the input counts UTF-16 units.
const completions = {
  box: $("#completions"),
  timer: 0,
  asked: 0,
  of: null,  // the text that the list is of: one of an older text completes nothing

  get options() { return $$("[role=option]", this.box); },
  get open() { return !this.box.hidden; },

  ask(now) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetch(), now ? 0 : 150);
  },

  async fetch() {
    const number = ++this.asked;
    const query = new URLSearchParams(location.search);
    for (const name of ["columns", "after"]) query.delete(name);
    query.set("q", field.value);
    query.set("at", [...field.value.slice(0, field.selectionStart)].length);
    let text;
    try {
      const answer = await fetch("/logs/complete?" + query, { headers: { "HX-Request": "true" } });
      if (!answer.ok) return this.close();
      text = await answer.text();
    } catch { return this.close(); }
    if (number !== this.asked || document.activeElement !== field) return;
    this.of = field.value;
    const chosen = $("[aria-selected=true]", this.box)?.dataset.insert;
    this.box.innerHTML = text;
    const some = this.options.length > 0;
    this.box.hidden = !some;
    $(".tab-key").hidden = !some;
    if (some) field.setAttribute("aria-controls", "completion-list");
    this.settle();
    // A choice made while a newer list was on its way stays made.
    const again = this.options.find((one) => one.dataset.insert === chosen);
    if (again) this.choose(again);
  },

  // The list hangs below the word it completes.
  settle() {
    if (!this.open) return;
    const list = $("[role=listbox]", this.box);
    const range = document.createRange();
    let left = Number(list.dataset.start), spot = null;
    const walker = document.createTreeWalker(layer, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const letters = [...walker.currentNode.data];
      if (left <= letters.length) { spot = [walker.currentNode, letters.slice(0, left).join("").length]; break; }
      left -= letters.length;
    }
    const form = $("#bar").getBoundingClientRect();
    let at = $(".field").getBoundingClientRect();
    if (spot) { range.setStart(...spot); range.collapse(true); at = range.getBoundingClientRect().height ? range.getBoundingClientRect() : at; }
    const most = form.width - this.box.offsetWidth;
    this.box.style.setProperty("left", Math.max(0, Math.min(most, at.left - form.left - 8)) + "px");
    this.box.style.setProperty("top", Math.max(at.bottom, $(".filter").getBoundingClientRect().bottom) - form.top + 4 + "px");
  },

  close() {
    clearTimeout(this.timer);
    this.asked++;
    this.box.hidden = true;
    $(".tab-key").hidden = true;
    field.removeAttribute("aria-activedescendant");
  },

  choose(option) {
    for (const one of this.options) one.setAttribute("aria-selected", String(one === option));
    field.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  },

  take(option) {
    const list = $("[role=listbox]", this.box);
    const letters = [...field.value];
    const unit = (n) => letters.slice(0, n).join("").length;
    const end = unit(Number(list.dataset.end));
    field.setRangeText(option.dataset.insert, unit(Number(list.dataset.start)), end, "end");
    this.close();
    paint();
    if (option.dataset.insert.endsWith(":")) this.ask(true);
  },

  // Whether the list took the key.
  key(event) {
    const chosen = $("[aria-selected=true]", this.box);
    const moves = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (moves && !(this.open && this.of === field.value)) { if (moves < 0) return false; event.preventDefault(); this.ask(true); return true; }
    if (!this.open) return false;
    if (this.of !== field.value && event.key !== "Escape") { if (event.key === "Enter") this.close(); return false; }
    if (moves) {
      const all = this.options, place = all.indexOf(chosen);
      this.choose(all[place < 0 ? (moves > 0 ? 0 : all.length - 1) : (place + moves + all.length) % all.length]);
    } else if (event.key === "Enter" && chosen) this.take(chosen);
    else if (event.key === "Tab" && !event.shiftKey) this.take(chosen || this.options[0]);
    else if (event.key === "Escape") { this.close(); event.stopPropagation(); }
    else { if (event.key === "Enter") this.close(); return false; }
    event.preventDefault();
    return true;
  },
};

function grow() {
  if (CSS.supports("field-sizing", "content")) return;
  field.style.height = "0";
  field.style.height = field.scrollHeight + "px";
}

if (field) {
  field.addEventListener("input", () => {
    if (field.value.includes("\n")) field.value = field.value.replace(/\s*\n\s*/g, " ");
    paint();
    completions.ask();
  });
  field.addEventListener("keydown", (event) => {
    if (!event.isComposing && completions.key(event)) return;
    if (event.key === "Enter" && !event.isComposing) { event.preventDefault(); $("#bar").requestSubmit($("#bar .filter button")); }
  });
  field.setAttribute("aria-autocomplete", "list");
  field.addEventListener("blur", () => completions.close());
  completions.box.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    const option = event.target.closest("[role=option]");
    if (option && completions.of === field.value) completions.take(option);
  });
  $("#bar").addEventListener("submit", (event) => {
    const exact = event.submitter && event.submitter.name === "exact";
    for (const one of $$("[data-exact]")) one.disabled = !exact;
    for (const one of $$("#bar [data-range]")) one.disabled = exact;
  });
  // The forward-back cache brings the page back as it was left.
  addEventListener("pageshow", () => { for (const one of $$("#bar input")) one.disabled = false; });
  grow();
}

// On narrow screens the facets lie behind their button.
if (matchMedia("(width <= 760px)").matches && $("#facets")) {
  $("#facets").open = location.hash === "#facets";
  $("[data-facets]").onclick = (event) => {
    event.preventDefault();
    $("#facets").open = !$("#facets").open;
  };
}

// ---------------------------------------------------------------- rows

const rows = $("#rows");

async function toggle(entry) {
  const caret = $(".caret", entry);
  const detail = $(".detail", entry);
  if (detail) {
    detail.remove();
    entry.classList.remove("open");
    caret.setAttribute("aria-expanded", "false");
    live.resume();
    return;
  }
  const box = document.createElement("div");
  box.className = "detail";
  box.setAttribute("role", "cell");
  entry.append(box);
  entry.classList.add("open");
  caret.setAttribute("aria-expanded", "true");
  live.pause("while a line is open");
  const here = new URLSearchParams(location.search);
  const asked = new URLSearchParams({ q: here.get("q") || "", range: here.get("range") || "" });
  try {
    await htmx.ajax("GET", caret.getAttribute("href") + "?" + asked, { target: box, swap: "innerHTML" });
  } catch { /* no answer: the row says so */ }
  if (!box.hasChildNodes()) failed(box);
}

// An answer that is no line leaves the row empty: htmx takes in no refusal.
function failed(box) {
  const text = document.createElement("p");
  text.className = "mistake";
  text.setAttribute("role", "alert");
  text.textContent = "The dashboard did not answer with this line. Close the row and open it again.";
  box.append(text);
}

function choose(entry, open) {
  for (const one of $$(".entry.chosen", rows)) one.classList.remove("chosen");
  if (!entry) return;
  entry.classList.add("chosen");
  entry.scrollIntoView({ block: "nearest" });
  const caret = $(".caret", entry);
  if (caret) caret.focus({ preventScroll: true });
  if (open && caret) toggle(entry);
}

function step(by, only) {
  const all = $$(only ? ".entry.e-ERROR, .entry.e-FATAL" : ".entry[data-line]", rows);
  if (!all.length) return;
  const now = $(".entry.chosen", rows);
  let next;
  if (!now) next = by > 0 ? 0 : all.length - 1;
  else if (only) {
    const order = $$(".entry", rows);
    const place = order.indexOf(now);
    const later = all.filter((one) => by > 0 ? order.indexOf(one) > place : order.indexOf(one) < place);
    choose(by > 0 ? later[0] : later[later.length - 1]);
    return;
  } else next = all.indexOf(now) + by;
  choose(all[Math.min(all.length - 1, Math.max(0, next))]);
}

if (rows) {
  rows.addEventListener("click", (event) => {
    if (event.target.closest(".detail") || (event.target.closest("a") && !event.target.closest(".caret"))) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || String(getSelection()).length) return;
    const entry = event.target.closest(".entry[data-line]");
    if (!entry) return;
    event.preventDefault();
    toggle(entry);
  });
  document.addEventListener("keydown", (event) => {
    if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "e") step(1, true);
    else if (event.key === "E") step(-1, true);
    else if (event.key === "t" && $("#live")) live.toggle();
    else if (event.key === "c" && !$(".entry.open", rows)) {
      const caret = $(".entry.chosen .caret", rows);
      if (caret) location.href = caret.getAttribute("href");
    }
  });
  const wrap = $("#wrap");
  if (wrap) {
    wrap.hidden = false;
    wrap.onclick = () => {
      const on = $("#lines").classList.toggle("wrapped");
      wrap.setAttribute("aria-pressed", String(on));
    };
  }
}

// ---------------------------------------------------------------- brush

const chart = $("[data-brush]");
if (chart) {
  const plot = $(".plot", chart);
  const since = Date.parse(chart.dataset.since), until = Date.parse(chart.dataset.until);
  const parts = Number(chart.dataset.parts) || 120;
  const at = (x) => {
    const box = plot.getBoundingClientRect();
    return Math.min(1, Math.max(0, (x - box.left) / box.width));
  };
  const snap = (share, up) => (up ? Math.ceil(share * parts - 0.01) : Math.floor(share * parts + 0.01)) / parts;
  const NS = "http://www.w3.org/2000/svg";
  let from = null, shown = null;
  const draw = (a, b) => {
    if (!shown) {
      $(".brush", plot)?.remove();
      shown = document.createElementNS(NS, "svg");
      shown.setAttribute("class", "brush");
      for (const name of ["shade", "shade", "chosen"]) {
        const rect = document.createElementNS(NS, "rect");
        rect.setAttribute("class", name);
        rect.setAttribute("height", "100%");
        shown.append(rect);
      }
      plot.append(shown);
    }
    const [left, right, chosen] = shown.children;
    const set = (rect, x, width) => { rect.setAttribute("x", x * 100 + "%"); rect.setAttribute("width", width * 100 + "%"); };
    set(left, 0, a); set(right, b, 1 - b); set(chosen, a, b - a);
  };
  const go = (a, b) => {
    const time = (share) => new Date(since + share * (until - since)).toISOString();
    const address = new URL(location.href);
    address.searchParams.delete("after");
    address.searchParams.set("selected", time(a) + "~" + time(b));
    location.href = address;
  };
  plot.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = at(event.clientX);
    plot.setPointerCapture(event.pointerId);
  });
  plot.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const to = at(event.clientX);
    draw(snap(Math.min(from, to)), snap(Math.max(from, to), true));
  });
  plot.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const to = at(event.clientX);
    const a = snap(Math.min(from, to)), b = snap(Math.max(from, to), true);
    from = null;
    if (b > a) go(a, b);
  });
  plot.addEventListener("pointercancel", () => { from = null; shown?.remove(); shown = null; });
}

// ---------------------------------------------------------------- live

const MOST_ROWS = 1000, MOST_WAITING = 500;

const live = {
  button: $("#live"),
  stream: null,
  state: "off",
  why: "",
  waiting: [],
  waits: 0,
  skipped: 0,
  rates: [],

  start() {
    this.button.hidden = false;
    this.button.onclick = () => this.toggle();
    this.connect();
    setInterval(() => this.say(), 1000);
  },

  connect() {
    this.state = this.state === "paused" ? "paused" : "connecting";
    const query = new URLSearchParams({ q: this.button.dataset.query, after: this.button.dataset.feed, columns: this.button.dataset.columns });
    this.stream = new EventSource("/logs/tail?" + query);
    this.stream.onopen = () => { if (this.state === "connecting") this.state = "live"; this.say(); };
    this.stream.onerror = () => {
      if (this.state === "live") this.state = "connecting";
      // Goes on where it stopped: the browser sends the last number it saw.
      if (this.stream.readyState === EventSource.CLOSED) setTimeout(() => this.connect(), 5000);
      this.say();
    };
    this.stream.addEventListener("lines", (event) => {
      this.button.dataset.feed = event.lastEventId;
      this.take(JSON.parse(event.data));
    });
  },

  take(news) {
    const now = Date.now();
    this.rates.push([now, news.lines, news.shown]);
    this.rates = this.rates.filter(([at]) => now - at < 10000);
    if (!news.shown && !news.skipped) return;
    if (this.state === "paused") {
      this.waits += news.lines;
      this.waiting.push(news);
      let held = this.waiting.reduce((sum, one) => sum + one.shown, 0);
      while (held > MOST_WAITING && this.waiting.length > 1) { const gone = this.waiting.shift(); held -= gone.shown; this.skipped += gone.shown; }
    } else this.show(news);
    this.say();
  },

  show(news) {
    this.skipped += news.skipped;
    rows.insertAdjacentHTML("afterbegin", news.html);
    const all = $$(".entry", rows);
    for (const gone of all.slice(MOST_ROWS)) gone.remove();
    announce(news);
  },

  pause(why) {
    if (this.state === "off") return;
    this.state = "paused";
    this.why = why || "";
    this.say();
  },

  resume() {
    if (this.state !== "paused" || $(".entry.open", rows)) return;
    this.state = this.stream && this.stream.readyState === EventSource.OPEN ? "live" : "connecting";
    for (const news of this.waiting) this.show(news);
    this.waiting = [];
    this.waits = 0;
    this.say();
  },

  toggle() {
    if (this.state === "paused") {
      for (const open of $$(".entry.open", rows)) toggle(open);
      this.resume();
    } else this.pause();
  },

  say() {
    if (!this.button) return;
    const span = (Math.max(1000, Date.now() - (this.rates[0]?.[0] ?? Date.now()))) / 1000;
    const sum = (i) => this.rates.reduce((total, one) => total + one[i], 0);
    const rate = sum(1) / Math.max(span, 3), skips = sum(1) > sum(2);
    const text = rate >= 10 || rate === 0 ? Math.round(rate).toLocaleString("en-US") : rate.toFixed(1);
    const parts = {
      live: [skips ? "skips" : "", "Live", text + "/s" + (skips ? ", shows 1 in " + Math.round(sum(1) / Math.max(1, sum(2))) : "")],
      paused: [null, "Resume live", ""],
      connecting: ["waits", "Connecting", ""],
    }[this.state];
    if (!parts) return;
    const state = $("[data-live-state]", this.button);
    const mark = parts[0] === null ? drawn("play") : document.createElement("i");
    if (parts[0] !== null) mark.className = "ring " + parts[0];
    const rest = document.createElement("span");
    rest.textContent = parts[2];
    state.replaceChildren(mark, parts[1], rest);
    const note = $("#paused");
    note.hidden = this.state !== "paused";
    const count = document.createElement("b");
    count.textContent = this.waits.toLocaleString("en-US") + (this.waits === 1 ? " newer line" : " newer lines");
    $("[data-paused-text]").replaceChildren("Live is paused" + (this.why ? " " + this.why : "") + ". ", count, this.waits === 1 ? " waits." : " wait.");
    $("#show-new").hidden = this.waits === 0;
  },
};

function drawn(name) {
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("viewBox", "0 0 16 16");
  icon.setAttribute("aria-hidden", "true");
  const use = icon.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "use"));
  use.setAttribute("href", "#i-" + name);
  return icon;
}

// A search that takes longer goes on by itself; Stop leaves what was found and a link to go on.
document.addEventListener("htmx:load", stops);
function stops() {
  for (const link of $$("[data-reading] [data-stop]")) {
    if (link.dataset.armed) continue;
    link.dataset.armed = "1";
    link.textContent = "Stop";
    link.addEventListener("click", (event) => {
      const box = link.closest("[data-reading]");
      if (box.classList.contains("stopped")) return;
      event.preventDefault();
      htmx.trigger(box, "htmx:abort");
      box.classList.add("stopped");
      link.textContent = "Go on";
    });
  }
}
stops();

let said = { lines: 0, errors: 0, timer: null };
function announce(news) {
  said.lines += news.lines;
  said.errors += news.errors;
  said.timer ||= setTimeout(() => {
    const errors = said.errors ? ", " + said.errors + (said.errors === 1 ? " error" : " errors") : "";
    $("#announce").textContent = said.lines + " new lines" + errors;
    said = { lines: 0, errors: 0, timer: null };
  }, 5000);
}

if (live.button && !rows) {
  // Nothing matched so far: the first line that does brings the table.
  live.button.hidden = false;
  $("[data-live-state]", live.button).innerHTML = '<i class="ring"></i>Live<span>0/s</span>';
  const query = new URLSearchParams({ q: live.button.dataset.query, after: live.button.dataset.feed });
  new EventSource("/logs/tail?" + query).addEventListener("lines", (event) => {
    if (JSON.parse(event.data).lines) location.reload();
  });
} else if (live.button) {
  live.start();
  $("#show-new").onclick = () => live.toggle();
}
