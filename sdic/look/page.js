"use strict";
// Every section: its pictures become two layers, before over after, with a slider between them and one through the steps.
for (const section of document.querySelectorAll("section")) {
  const view = section.querySelector(".view");
  const befores = [...view.querySelectorAll("figure[data-before]")];
  const series = new Map();
  for (const figure of view.querySelectorAll("figure[data-series]")) {
    const name = figure.dataset.series;
    series.set(name, [...(series.get(name) || []), figure]);
  }
  if (!series.size && befores.length > 1) {
    series.set(befores[befores.length - 1].querySelector("figcaption").textContent, [befores.pop()]);
  }
  if (!befores.length || !series.size) continue;

  const make = (tag, kind, parent) => {
    const element = document.createElement(tag);
    element.className = kind;
    parent.append(element);
    return element;
  };
  const range = (kind, label, parent) => {
    const input = make("input", kind, parent);
    input.type = "range";
    input.setAttribute("aria-label", label);
    return input;
  };
  view.classList.add("live");
  make("div", "line", view);
  const split = range("split", "before and after", view);
  const controls = make("div", "controls", section);
  view.after(controls);
  const choice = (label, names) => {
    make("label", "", controls).textContent = label;
    const select = make("select", "", controls);
    select.setAttribute("aria-label", label);
    for (const name of names) select.append(new Option(name));
    select.disabled = names.length < 2;
    return select;
  };
  const left = choice("before", befores.map((figure) => figure.querySelector("figcaption").textContent));
  const right = choice("after", [...series.keys()]);
  const said = make("label", "", controls);
  said.textContent = "step";
  const step = range("step", "step", controls);

  const show = () => {
    const steps = [...series.values()][right.selectedIndex];
    const after = steps[Math.min(step.value, steps.length - 1)];
    for (const figure of view.querySelectorAll("figure")) {
      figure.classList.toggle("right", figure === after);
      figure.classList.toggle("left", figure === befores[left.selectedIndex]);
    }
    view.style.setProperty("--split", split.value + "%");
    step.setAttribute("aria-valuetext", after.querySelector("figcaption").textContent);
  };
  const begin = () => {
    const count = [...series.values()][right.selectedIndex].length;
    step.min = 0;
    step.max = count - 1;
    step.value = count - 1;
    step.hidden = said.hidden = count < 2;
    show();
  };
  split.value = 50;
  for (const input of [left, split, step]) input.addEventListener("input", show);
  right.addEventListener("input", begin);
  begin();
}
