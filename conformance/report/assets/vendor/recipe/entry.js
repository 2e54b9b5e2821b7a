// What the page's plots use of d3, and nothing else of it.

export { extent, max, quantile } from "d3-array";
export { scaleLinear } from "d3-scale";
export { schemeObservable10 } from "d3-scale-chromatic";
export { line, stack } from "d3-shape";
