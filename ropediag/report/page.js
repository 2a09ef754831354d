// Unpacks plotly and the figures, and draws them one after the other, in the colours of the reader's scheme.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const settings = JSON.parse(document.getElementById("settings").textContent);

async function unpack(name) {
  const packed = atob(document.getElementById(name).textContent.trim());
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function recolour(node) {
  if (typeof node === "string") return settings.dark[node] ?? node;
  if (Array.isArray(node)) return node.map(recolour);
  if (node === null || typeof node !== "object" || "bdata" in node) return node;
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, recolour(value)]));
}

function dress(figure) {
  return dark.matches ? recolour(figure) : structuredClone(figure);
}

async function drawAll() {
  const script = document.createElement("script");
  script.textContent = await unpack("plotly");
  document.head.append(script);
  const figures = JSON.parse(await unpack("figures"));
  for (const [name, figure] of figures) {
    await draw(name, figure).catch((error) => complain(document.getElementById(name), error));
    await new Promise((resolve) => setTimeout(resolve)); // the page answers in between
  }
  dark.addEventListener("change", () => {
    for (const [name, figure] of figures) {
      const { data, layout } = dress(figure);
      Plotly.react(name, data, layout, settings.config);
    }
  });
  document.documentElement.dataset.drawn = figures.length;
}

async function draw(name, figure) {
  const place = document.getElementById(name);
  place.replaceChildren();
  const { data, layout } = dress(figure);
  await Plotly.newPlot(place, data, layout, settings.config);
}

function complain(place, error) {
  console.error(error);
  const note = document.createElement("p");
  note.className = "without";
  note.textContent = `The figure could not be drawn in this browser (${error.message}).`;
  place.replaceChildren(note);
}

drawAll().catch((error) => document.querySelectorAll(".plot").forEach((place) => complain(place, error)));
