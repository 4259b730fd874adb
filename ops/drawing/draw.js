// Runs in Chromium: draws each picture with Mermaid and takes away what a strict content security policy forbids.
"use strict";

// What says where and how large something is, as attributes; the colours are the page's own, by class.
const KEPT = ["text-anchor", "dominant-baseline", "font-size", "font-weight", "stroke-width", "stroke-dasharray", "display"];
const TEXT = new Set(["text", "tspan"]);
const DEFAULTS = { "stroke-dasharray": "none", display: "inline", "dominant-baseline": "auto", "text-anchor": "start", "stroke-width": "1px", "font-weight": "400" };

const plain = (svg, name) => {
  for (const unwanted of svg.querySelectorAll("script, title, desc, foreignObject, symbol, filter")) unwanted.remove();
  const elements = [...svg.querySelectorAll("*")];
  const looks = elements.map((element) => getComputedStyle(element));
  const said = elements.map((element, number) => attributesOf(element, looks[number]));
  for (const sheet of svg.querySelectorAll("style")) sheet.remove();
  elements.forEach((element, number) => {
    for (const { name: attribute } of [...element.attributes]) {
      if (/^(on|data-|aria-)|^(style|name|filter|fill|stroke|fill-opacity|alignment-baseline|tabindex)$/.test(attribute)) element.removeAttribute(attribute);
    }
    said[number].forEach(([property, value]) => element.setAttribute(property, value));
  });
  keepOnlyWhatIsReferredTo(svg, name);
};

const attributesOf = (element, seen) => {
  const isText = TEXT.has(element.localName);
  const said = KEPT.filter((property) => isText || !/^(font|text|dominant)/.test(property))
    .filter((property) => seen[property] && seen[property] !== DEFAULTS[property])
    .map((property) => [property, seen[property]]);
  return seen.fill === "none" ? [...said, ["fill", "none"]] : said;
};

// Arrowheads are drawn by reference, and ids are those of the whole page.
const keepOnlyWhatIsReferredTo = (svg, name) => {
  const referred = new Set();
  for (const element of svg.querySelectorAll("*")) {
    for (const { name: attribute, value } of [...element.attributes]) {
      const id = /^url\(["']?#([^"')]+)["']?\)$/.exec(value)?.[1];
      if (!id) continue;
      referred.add(id);
      element.setAttribute(attribute, `url(#${name}-${id.replaceAll(`${name}_`, "").replaceAll(`${name}-`, "")})`);
    }
  }
  for (const element of [...svg.querySelectorAll("[id]")]) {
    if (referred.has(element.id)) element.id = `${name}-${element.id.replaceAll(`${name}_`, "").replaceAll(`${name}-`, "")}`;
    else if (element.localName === "marker") element.remove();
    else element.removeAttribute("id");
  }
  for (const empty of [...svg.querySelectorAll("defs, g")].reverse()) if (!empty.children.length) empty.remove();
};

const dressed = (svg) => {
  const [x, y, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  for (const { name } of [...svg.attributes]) svg.removeAttribute(name);
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("class", "drawing");
  svg.setAttribute("viewBox", [x, y, width, height].join(" "));
  svg.setAttribute("width", Math.ceil(width));
  svg.setAttribute("height", Math.ceil(height));
  svg.setAttribute("aria-hidden", "true");
  return svg.outerHTML.replace(/(\d+\.\d)\d+/g, "$1");
};

const drawAll = async () => {
  const drawn = {};
  mermaid.initialize({
    startOnLoad: false,
    securityLevel: "strict",
    theme: "base",
    htmlLabels: false,
    fontFamily: 'Arial, "Liberation Sans", Helvetica, sans-serif',
    flowchart: { htmlLabels: false, useMaxWidth: false, wrappingWidth: 400 },
    sequence: { useMaxWidth: false, mirrorActors: false },
  });
  for (const { name, source } of JSON.parse(document.querySelector("#pictures").textContent)) {
    try {
      await mermaid.parse(source);
      const { svg } = await mermaid.render(name, source);
      const place = document.createElement("div");
      document.body.append(place);
      place.innerHTML = svg;
      const drawing = place.querySelector("svg");
      const kind = drawing.getAttribute("aria-roledescription");
      plain(drawing, name);
      drawn[name] = { svg: dressed(drawing), kind };
      place.remove();
    } catch (error) {
      drawn[name] = { error: String(error) };
    }
  }
  const result = document.createElement("pre");
  result.id = "drawn";
  const bytes = new TextEncoder().encode(JSON.stringify(drawn));
  result.textContent = btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
  document.body.append(result);
};

drawAll();
