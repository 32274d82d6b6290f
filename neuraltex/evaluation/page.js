"use strict";
const at = (id) => document.getElementById(id);

if (at("data")) {
  const { titles, views } = JSON.parse(at("data").textContent);
  const [view, left, right, cut, stage] = ["view", "left", "right", "cut", "stage"].map(at);
  const show = () => {
    const shown = views[view.value];
    for (const [image, choice] of [[at("above"), left], [at("below"), right]]) {
      image.src = shown.pictures[choice.value];
      image.alt = `${titles[choice.value]}, ${shown.name}`;
    }
  };
  const move = () => {
    stage.style.setProperty("--cut", `${cut.value}%`);
    cut.setAttribute("aria-valuetext", `${Math.round(cut.value)} percent ${titles[left.value]}`);
  };
  const point = (event) => {
    const box = stage.getBoundingClientRect();
    cut.value = (100 * (event.clientX - box.left)) / box.width;
    move();
  };
  const names = Object.keys(titles);
  [left.value, right.value] = [names[0], names[1]];
  for (const choice of [view, left, right]) choice.addEventListener("change", () => { show(); move(); });
  cut.addEventListener("input", move);
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); point(event); });
  stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) point(event); });
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  show();
  move();
}

if (at("play")) {
  const videos = [...document.querySelectorAll("video")];
  at("play").addEventListener("click", () => {
    const stop = videos.some((video) => !video.paused);
    for (const video of videos) {
      if (stop) { video.pause(); } else { video.currentTime = 0; video.play(); }
    }
    at("play").textContent = stop ? "Play all" : "Stop all";
  });
}
