// What every page does with a script: the clock, copy buttons, menus that close, keys, unread
// marks, and live regions that read themselves again when the feed says they should. Each page
// reads and works without any of it.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// ---------------------------------------------------------------- clock and zone

function tick() {
  for (const clock of $$("[data-clock]")) {
    const local = new Date(Date.now() + 1000 * Number(clock.dataset.clock));
    clock.textContent = local.toISOString().slice(11, 19);
  }
}
setInterval(tick, 1000);

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
for (const link of $$("[data-local-zone]")) {
  if (!zone || zone === "UTC") continue;
  link.href = link.getAttribute("href").replace("zone=UTC", "zone=" + encodeURIComponent(zone));
  link.textContent = "Local, " + zone;
  link.hidden = false;
}

// ---------------------------------------------------------------- toasts

function toast(title, text, state, stays, priority) {
  const box = $(".toasts");
  const one = document.createElement("div");
  one.className = "toast";
  one.innerHTML = '<svg class="glyph" viewBox="0 0 12 12" aria-hidden="true"><use/></svg>' +
    '<div><b></b><p class="small dim"></p></div>' +
    '<button type="button" aria-label="Close"><svg viewBox="0 0 16 16"><use href="#i-close"/></svg></button>';
  $(".glyph", one).classList.add("s-" + state);
  if (priority) $(".glyph", one).classList.add("p-" + priority);
  $("use", one).setAttribute("href", "#g-" + state);
  $("b", one).textContent = title;
  $("p", one).textContent = text;
  $("button", one).onclick = () => one.remove();
  box.replaceChildren(one);
  if (!stays) setTimeout(() => one.remove(), 6000);
}

// ---------------------------------------------------------------- clicks and keys

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    try {
      await navigator.clipboard.writeText(copy.dataset.copy);
      toast("Copied", copy.dataset.copy.slice(0, 160), "sent");
    } catch {
      toast("The browser does not let this page copy", copy.dataset.copy.slice(0, 400), "failed", true);
    }
  }
  for (const open of $$("details[data-closes][open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});

const typing = (node) => node && node.matches("input, textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const open = $("details[data-closes][open]");
    if (open) { open.open = false; $("summary", open).focus(); }
    else if (typing(document.activeElement)) document.activeElement.blur();
    return;
  }
  if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "?") { $("#keys-help").showModal(); return; }
  if ($("dialog[open]")) return;
  const wanted = event.key === "/" && $("#bar textarea") ? $("#bar textarea")
    : $$("[data-key]").find((one) => one.dataset.key === event.key && one.offsetParent !== null);
  if (!wanted) return;
  event.preventDefault();
  if (typing(wanted)) wanted.focus();
  else wanted.click();
});

// ---------------------------------------------------------------- unread marks, kept here alone

const KEPT = 500;
const store = {
  get read() {
    try { return new Set(JSON.parse(localStorage.getItem("outrider.read") || "[]")); } catch { return new Set(); }
  },
  set read(ids) {
    try { localStorage.setItem("outrider.read", JSON.stringify([...ids].slice(-KEPT))); } catch { /* no storage: all stay unread */ }
  },
};
let announced = null;

async function notices() {
  let found;
  try {
    const answer = await fetch("/alerts/notices.json");
    if (!answer.ok) return;
    found = await answer.json();
  } catch { return; }
  const read = store.read;
  const unread = found.filter((one) => !read.has(one.id));
  for (const mark of $$("[data-unread-count], [data-unread-badge]")) {
    mark.textContent = unread.length > 99 ? "99+" : String(unread.length);
    mark.hidden = unread.length === 0;
  }
  const bell = $(".bell");
  if (bell) bell.setAttribute("aria-label", unread.length ? unread.length + " unread notifications" : "Notifications");
  if (announced !== null) {
    const fresh = unread.find((one) => !announced.has(one.id));
    if (fresh) toast(fresh.title, fresh.text, fresh.state, fresh.priority === "critical", fresh.priority);
  }
  announced = new Set(found.map((one) => one.id));
  marks(new Set(unread.map((one) => one.id)));
}

function marks(unread) {
  for (const note of $$("[data-notice]")) {
    const is = unread.has(Number(note.dataset.notice));
    note.classList.toggle("unread", is);
    let word = $(".sr", note);
    if (is && !word) {
      word = document.createElement("span");
      word.className = "sr";
      word.textContent = "Unread. ";
      note.prepend(word);
    } else if (!is && word) word.remove();
  }
  for (const one of $$("[data-centre-tabs], [data-mark-read]")) one.hidden = false;
}

document.addEventListener("click", (event) => {
  const note = event.target.closest("[data-notice]");
  const all = event.target.closest("[data-mark-read]");
  if (note || all) {
    const read = store.read;
    for (const one of all ? $$("[data-notice]") : [note]) read.add(Number(one.dataset.notice));
    store.read = read;
    notices();
  }
  const tab = event.target.closest("[data-show]");
  if (tab) {
    for (const one of $$("[data-show]")) one.setAttribute("aria-pressed", String(one === tab));
    $(".centre").classList.toggle("only-unread", tab.dataset.show === "unread");
  }
});
addEventListener("storage", notices);
notices();

// ---------------------------------------------------------------- live regions

// One event stream a page. A region says which kinds of change concern it and how often it may be
// read again at most; htmx does the reading and takes only that region from the answer.
const due = new Map();

function changed(kinds) {
  if (kinds.includes("restored")) {
    toast("The database was restored from a copy", "What you see is read again. Lines of after the copy come back where an agent still holds them.", "unknown", true);
  }
  if (kinds.includes("alerts") || kinds.includes("admin")) notices();
  for (const region of $$("[data-live]")) {
    if (region.dataset.live.split(" ").some((kind) => kinds.includes(kind))) plan(region);
  }
}

function plan(region) {
  if (due.has(region.id)) return;
  const gap = 1000 * Number(region.dataset.liveGapS || 2);
  const since = Date.now() - Number(region.dataset.readAt || performance.timeOrigin);
  due.set(region.id, setTimeout(() => refresh(region.id), Math.max(0, gap - since)));
}

function refresh(id) {
  due.delete(id);
  const region = document.getElementById(id);
  if (!region) return;
  // Not under a reader's hands: an open menu, a table of figures, a selection of text.
  const busy = $("details[open]", region) || document.hidden || String(getSelection()).length > 0;
  if (busy) { due.set(id, setTimeout(() => refresh(id), 3000)); return; }
  htmx.trigger(region, "refresh");
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const kept = document.activeElement;
  const href = kept && event.detail.target.contains(kept) ? kept.getAttribute("href") : null;
  if (href) {
    document.addEventListener("htmx:afterSettle", () => {
      const again = $$("#page a").find((one) => one.getAttribute("href") === href);
      if (again) again.focus({ preventScroll: true });
    }, { once: true });
  }
});
document.addEventListener("htmx:afterSwap", () => {
  for (const region of $$("[data-live]")) region.dataset.readAt = String(Date.now());
  notices();
});

function listen() {
  const seen = document.body.dataset.feed;
  const stream = new EventSource("/live" + (seen ? "?after=" + seen : ""));
  let lost = null;
  stream.onopen = () => {
    if (lost) { clearTimeout(lost); lost = null; }
    document.body.classList.remove("is-lost");
  };
  stream.onerror = () => {
    lost ||= setTimeout(() => {
      document.body.classList.add("is-lost");
      toast("The dashboard does not answer", "What you see is from " + new Date().toISOString().slice(11, 19) + " UTC. It goes on by itself.", "silent", true);
    }, 5000);
    // A refused stream is not tried again by the browser itself.
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
  stream.addEventListener("change", (event) => {
    document.body.dataset.feed = event.lastEventId;
    changed(JSON.parse(event.data));
  });
}
if ($("[data-live]") || $("[data-unread-count]")) listen();

// ---------------------------------------------------------------- retry with a countdown

for (const button of $$("[data-retry-s]")) {
  let left = Number(button.dataset.retryS);
  const shown = $("[data-countdown]", button);
  const timer = setInterval(() => {
    if (!button.isConnected) { clearInterval(timer); return; }
    shown.textContent = "by itself in " + left + " s";
    if (left-- <= 0) { clearInterval(timer); location.reload(); }
  }, 1000);
  shown.textContent = "by itself in " + left + " s";
}
