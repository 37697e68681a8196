// The flat graph in ONNX Runtime's WebAssembly: one hop in, every source out, at once and without waiting.
//
// InferenceSession.run of onnxruntime-web gives a promise, whose result would come a quantum later. So the module that
// it is made of (ort-wasm-simd-threaded.mjs) is called directly, by the functions that its own lib/wasm/wasm-core-impl.ts
// calls. Runs on a page, in a worker and in an audio worklet, which can neither fetch nor compile: what is needed is
// handed over.

const FLOAT = 1; // DataType
const CPU = 1; // DataLocation
const ALL_OPTIMIZATIONS = 99;
const WARNING = 2;
const POINTER = 4; // bytes

export class FlatGraph {
  // make: the module's default export. binary: the WebAssembly.Module. model: ArrayBuffer of the flat graph.
  // spec: as in model.json.
  static async create(make, binary, model, spec) {
    const instantiateWasm = (imports, done) => {
      WebAssembly.instantiate(binary, imports).then((instance) => done(instance, binary));
      return {};
    };
    return new FlatGraph(await make({ numThreads: 1, instantiateWasm }), model, spec);
  }

  constructor(wasm, model, spec) {
    this.wasm = wasm;
    this.check(wasm._OrtInit(1, WARNING));
    const options = wasm._OrtCreateSessionOptions(ALL_OPTIMIZATIONS, true, true, 0, false, 0, this.text("rtsep"), WARNING, 0, 0);
    const place = wasm._malloc(model.byteLength);
    wasm.HEAPU8.set(new Uint8Array(model), place);
    this.session = wasm._OrtCreateSession(place, model.byteLength, options);
    wasm._free(place);
    if (!options || !this.session) this.fail();
    this.turn = 0;
    this.hop = this.tensor([spec.channels, spec.hop]);
    this.audio = this.tensor([spec.sources.length, spec.channels, spec.hop]);
    this.states = [this.tensor([spec.state]), this.tensor([spec.state])]; // the next of one hop is that of the following
    this.inputNames = this.pointers([this.text("hop"), this.text("state")]);
    this.outputNames = this.pointers([this.text("audio"), this.text("next_state")]);
    this.inputs = this.states.map((state) => this.pointers([this.hop.handle, state.handle]));
    this.outputs = this.states.map((_, turn) => this.pointers([this.audio.handle, this.states[1 - turn].handle]));
  }

  // One hop: `hop.data` was filled, `audio.data` holds every source. Nothing is allocated here.
  run() {
    const { wasm, turn } = this;
    this.turn = 1 - turn;
    this.check(wasm._OrtRun(this.session, this.inputNames, this.inputs[turn], 2, this.outputNames, 2, this.outputs[turn], 0));
  }

  // Forget everything.
  reset() {
    for (const state of this.states) state.data.fill(0);
  }

  // Zeros of a shape, as ONNX Runtime knows them (`handle`) and as an array (`data`), which are the same memory.
  tensor(shape) {
    const { wasm } = this;
    const size = shape.reduce((product, each) => product * each, 1);
    const place = wasm._malloc(4 * size);
    const handle = wasm._OrtCreateTensor(FLOAT, place, 4 * size, this.pointers(shape), shape.length, CPU);
    if (!handle) this.fail();
    const data = new Float32Array(wasm.HEAPU8.buffer, place, size).fill(0); // shared memory: stays valid when it grows
    return { handle, data };
  }

  pointers(values) {
    const place = this.wasm._malloc(POINTER * values.length);
    new Uint32Array(this.wasm.HEAPU8.buffer, place, values.length).set(values);
    return place;
  }

  // ASCII, ended by zero; a worklet has no TextEncoder.
  text(words) {
    const place = this.wasm._malloc(words.length + 1);
    this.wasm.HEAPU8.set([...words, "\0"].map((letter) => letter.charCodeAt(0)), place);
    return place;
  }

  check(code) {
    if (code !== 0) this.fail();
  }

  fail() {
    const { wasm } = this;
    const places = wasm._malloc(2 * POINTER);
    wasm._OrtGetLastError(places, places + POINTER);
    const [, words] = new Uint32Array(wasm.HEAPU8.buffer, places, 2);
    throw new Error(words ? wasm.UTF8ToString(words) : "ONNX Runtime refused.");
  }
}
