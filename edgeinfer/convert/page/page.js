// The page is complete without this: it adds zoom, the two scales, a cursor and tips that follow the pointer.
"use strict";
document.documentElement.classList.add("scripted");

const tip = document.body.appendChild(Object.assign(document.createElement("div"), { className: "tip", hidden: true }));
tip.setAttribute("role", "tooltip");

function placeTip(x, y) {
  const room = tip.getBoundingClientRect();
  const left = x + 16 + room.width > innerWidth ? x - 16 - room.width : x + 16;
  const top = y + 18 + room.height > innerHeight ? y - 12 - room.height : y + 18;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - room.width - 8))}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

function showTip(element, x, y) {
  tip.textContent = element.dataset.tip;
  tip.hidden = false;
  placeTip(x, y);
}

for (const element of document.querySelectorAll(".chart [title]")) {
  element.dataset.tip = element.title; // the browser's own tip would come on top of ours
  element.removeAttribute("title");
  element.addEventListener("pointermove", (event) => showTip(element, event.clientX, event.clientY));
  element.addEventListener("pointerleave", () => { tip.hidden = true; });
  element.addEventListener("focus", () => {
    const box = element.getBoundingClientRect();
    showTip(element, Math.max(0, Math.min(box.left + box.width / 2, innerWidth)), Math.max(0, box.top + box.height / 2));
  });
  element.addEventListener("blur", () => { tip.hidden = true; });
}

// The step that contains a place from 0 to 1 on the scale that is shown; groups are linear on both.
function stepAt(plan, share, byStep) {
  const steps = plan.steps.length;
  if (byStep) return Math.min(steps - 1, Math.floor(share * steps));
  let column = share * plan.columns;
  for (const [first, last, columns] of plan.groups) {
    if (column < columns) return first + Math.min(last - first, Math.floor((column / columns) * (last - first + 1)));
    column -= columns;
  }
  return steps - 1;
}

function describe(plan, step) {
  const [node, begin, end, used] = plan.steps[step];
  const [operator, name, rows] = plan.nodes[node];
  let band = end === begin + 1 ? `row ${begin} of ${rows}` : `rows ${begin} to ${end - 1} of ${rows}`;
  if (begin === 0 && end === rows) band = rows === 1 ? "one row" : `all ${rows} rows`;
  const share = plan.arena ? ` (${((100 * used) / plan.arena).toFixed(1)} % of the arena)` : "";
  return `step ${step}: ${operator} ${name}, ${band}; ${used.toLocaleString("en")} bytes in use${share}`;
}

for (const section of document.querySelectorAll(".program")) {
  const plan = JSON.parse(section.querySelector("script[type='application/json']").textContent);
  const chart = section.querySelector(".chart");
  const scroller = section.querySelector(".scroller");
  const track = section.querySelector(".track");
  const cursor = section.querySelector(".cursor");
  const readout = section.querySelector(".readout");
  const said = readout.textContent;
  const buffers = [...section.querySelectorAll(".buffer")];
  let zoom = 1;
  let height = parseFloat(getComputedStyle(chart).getPropertyValue("--plot"));

  // Keeps the place under `x`, in pixels of the window, where it is.
  function change(apply, x) {
    const view = scroller.getBoundingClientRect();
    const at = (x ?? view.left + view.width / 2) - view.left;
    const share = (scroller.scrollLeft + at) / track.offsetWidth;
    apply();
    scroller.scrollLeft = share * track.offsetWidth - at;
  }

  function setZoom(value, x) {
    zoom = Math.max(1, Math.min(value, 400));
    change(() => chart.style.setProperty("--zoom", zoom), x);
  }

  function showPeak() {
    const peak = section.querySelector(".plot .peak");
    scroller.scrollLeft = peak.offsetLeft + peak.offsetWidth / 2 - scroller.clientWidth / 2;
  }

  function press(name, chosen) {
    for (const button of section.querySelectorAll(`[data-${name}]`)) {
      button.setAttribute("aria-pressed", String(button.dataset[name] === chosen));
    }
  }

  function setScale(scale) {
    const middle = scroller.scrollLeft + scroller.clientWidth / 2;
    const step = stepAt(plan, middle / track.offsetWidth, chart.classList.contains("by-step"));
    chart.classList.toggle("by-step", scale === "step");
    chart.classList.toggle("by-operator", scale === "operator");
    press("scale", scale);
    let share = (step + 0.5) / plan.steps.length;
    if (scale === "operator") {
      let column = 0;
      for (const [first, last, columns] of plan.groups) {
        if (step <= last) { share = (column + ((step - first + 0.5) / (last - first + 1)) * columns) / plan.columns; break; }
        column += columns;
      }
    }
    scroller.scrollLeft = share * track.offsetWidth - scroller.clientWidth / 2;
  }

  const actions = {
    in: () => setZoom(zoom * 1.6),
    out: () => { if (zoom > 1) setZoom(zoom / 1.6); else change(() => chart.classList.add("fit")); },
    fit: () => { zoom = 1; chart.style.setProperty("--zoom", 1); chart.classList.add("fit"); },
    names: () => { chart.classList.remove("fit"); zoom = 1; chart.style.setProperty("--zoom", 1); showPeak(); },
    peak: showPeak,
    taller: () => { height = Math.min(height * 1.5, 4000); chart.style.setProperty("--plot", `${height}px`); },
    lower: () => { height = Math.max(height / 1.5, 120); chart.style.setProperty("--plot", `${height}px`); },
  };
  for (const button of section.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => actions[button.dataset.action]());
  }
  for (const button of section.querySelectorAll("[data-scale]")) {
    button.addEventListener("click", () => setScale(button.dataset.scale));
  }
  scroller.addEventListener("wheel", (event) => {
    if (!(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    setZoom(zoom * Math.exp(-event.deltaY / 300), event.clientX);
  }, { passive: false });

  track.addEventListener("pointermove", (event) => {
    const x = event.clientX - track.getBoundingClientRect().left;
    const step = stepAt(plan, Math.max(0, x / track.offsetWidth), chart.classList.contains("by-step"));
    cursor.style.display = "block";
    cursor.style.left = `${x}px`;
    readout.textContent = describe(plan, step);
    const touched = plan.touched[plan.steps[step][0]];
    for (const buffer of buffers) buffer.classList.toggle("lit", touched.includes(Number(buffer.dataset.buffer)));
  });
  track.addEventListener("pointerleave", () => {
    cursor.style.display = "none";
    readout.textContent = said;
    for (const buffer of buffers) buffer.classList.remove("lit");
  });
  showPeak();
}
