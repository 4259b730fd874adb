// Runs in Chromium: draws each picture with Mermaid and takes away what a strict content security policy forbids.
"use strict";

// What says where and how large something is, as attributes; the colours are the page's own, by class.
const KEPT = ["text-anchor", "dominant-baseline", "font-size", "font-weight", "stroke-width", "stroke-dasharray", "display"];
const TEXT = new Set(["text", "tspan"]);
const DEFAULTS = { "stroke-dasharray": "none", display: "inline", "dominant-baseline": "auto", "text-anchor": "start", "stroke-width": "1px" };

const plain = (svg, name) => {
  for (const unwanted of svg.querySelectorAll("style, script, title, desc, foreignObject")) unwanted.remove();
  for (const element of svg.querySelectorAll("*")) {
    const seen = getComputedStyle(element);
    const isText = TEXT.has(element.localName);
    const said = KEPT.filter((property) => {
      if (property.startsWith("font") && !isText) return false;
      return seen[property] && seen[property] !== DEFAULTS[property];
    }).map((property) => [property, seen[property]]);
    if (seen.fill === "none") said.push(["fill", "none"]);
    said.forEach(([property, value]) => element.setAttribute(property, value));
  }
  for (const element of svg.querySelectorAll("*")) {
    element.removeAttribute("style");
    element.removeAttribute("fill-opacity");
    for (const { name: attribute, value } of [...element.attributes]) {
      if (attribute.startsWith("on") || attribute.startsWith("data-")) element.removeAttribute(attribute);
      else if (value.startsWith("url(#") && !value.includes(name)) element.setAttribute(attribute, value.replace("url(#", `url(#${name}-`));
    }
    if (element.id) element.id = element.id.includes(name) ? element.id : `${name}-${element.id}`;
  }
};

const dressed = (svg) => {
  const box = svg.viewBox.baseVal;
  for (const { name } of [...svg.attributes]) svg.removeAttribute(name);
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("class", "drawing");
  svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
  svg.setAttribute("width", Math.ceil(box.width));
  svg.setAttribute("height", Math.ceil(box.height));
  svg.setAttribute("aria-hidden", "true");
  return svg.outerHTML.replace(/(\d+\.\d{2})\d+/g, "$1");
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
