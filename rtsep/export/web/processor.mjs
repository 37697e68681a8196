// The audio worklet: a quantum of 128 samples is a hop, which the network cleans within the very call.

import { clock } from "./globals.mjs";
import make from "./runtime/ort-wasm-simd-threaded.mjs";
import { FlatGraph } from "./graph.mjs";

class Denoiser extends AudioWorkletProcessor {
  // processorOptions: {binary, model, spec} as FlatGraph.create takes them.
  constructor({ processorOptions }) {
    super();
    const { binary, model, spec } = processorOptions;
    this.spec = spec;
    this.dry = 0; // the share of the input in what is heard, and where it is going
    this.wanted = 0;
    this.recording = false;
    this.late = new Float32Array(spec.latency + spec.hop); // the input, delayed as the clean sound is
    this.count = { hops: 0, busy: 0 };
    this.port.onmessage = ({ data }) => Object.assign(this, data); // {wanted} or {recording}
    FlatGraph.create(make, binary, model, spec).then(
      (graph) => {
        const at = spec.sources.indexOf(spec.target) * spec.hop;
        this.clean = graph.audio.data.subarray(at, at + spec.hop);
        this.graph = graph;
        this.port.postMessage({ ready: true });
      },
      (error) => this.port.postMessage({ error: String(error) }),
    );
  }

  process([[heard]], [[out]]) {
    const { graph, clean, spec, late } = this;
    if (graph === undefined) return true;
    if (out.length !== spec.hop) {
      this.port.postMessage({ error: `The browser works in quanta of ${out.length}, not of ${spec.hop} samples.` });
      return false;
    }
    late.copyWithin(0, spec.hop);
    if (heard) late.set(heard, spec.latency);
    else late.fill(0, spec.latency);
    graph.hop.data.set(late.subarray(spec.latency));
    const began = clock();
    graph.run();
    this.count.busy += clock() - began;
    const step = (this.wanted - this.dry) / spec.hop;
    for (let i = 0; i < spec.hop; i += 1) {
      this.dry += step;
      out[i] = clean[i] + this.dry * (late[i] - clean[i]);
    }
    this.dry = this.wanted;
    if (this.recording) this.port.postMessage({ before: late.slice(spec.latency), after: out.slice() });
    this.count.hops += 1;
    if (this.count.hops >= spec.sample_rate / spec.hop) {
      this.port.postMessage({ count: this.count });
      this.count = { hops: 0, busy: 0 };
    }
    return true;
  }
}

registerProcessor("denoiser", Denoiser);
