// The page: a source (microphone or file), the worklet, the loudspeaker, and what is shown of it.

import { Picture } from "./picture.mjs";
import { wav } from "./wav.mjs";

const $ = (id) => document.getElementById(id);
const NO_LIMIT = 31; // the slider's last place
const REFRESH_S = 0.05;

const loaded = load();
let session; // {context, node, source, stop}
let pieces; // of a recording

async function load() {
  const [spec, model, binary] = await Promise.all([
    fetch("model.json").then((answer) => answer.json()),
    fetch("model.onnx").then((answer) => answer.arrayBuffer()),
    WebAssembly.compileStreaming(fetch("runtime/ort-wasm-simd-threaded.wasm")),
  ]);
  $("model").textContent = `${spec.name} ${spec.version}`;
  say("Ready. Choose the microphone or a file.");
  return { spec, model, binary };
}

// Start with the source that `connect` makes in the context; it returns {node, stop}.
async function start(connect, monitored) {
  stop();
  const { spec, model, binary } = await loaded;
  const context = new AudioContext({ sampleRate: spec.sample_rate, latencyHint: "interactive" });
  session = { context, stop: () => {} };
  await context.audioWorklet.addModule("processor.mjs");
  const node = new AudioWorkletNode(context, "denoiser", {
    processorOptions: { binary, model, spec },
    channelCount: 1,
    channelCountMode: "explicit",
    outputChannelCount: [1],
  });
  await new Promise((done, failed) => {
    node.port.onmessage = ({ data }) => {
      if (data.ready) done();
      else if (data.count) figures(data.count, spec, context);
      else if (data.before) pieces.push(data);
      else {
        failed(new Error(data.error));
        if (session?.node === node) fail(new Error(data.error));
      }
    };
  });
  node.onprocessorerror = () => fail(new Error("The audio worklet failed."));
  const source = await connect(context);
  const ears = new GainNode(context, { gain: 0 });
  source.node.connect(node).connect(ears).connect(context.destination);
  session = { context, node, ears, stop: source.stop, pictures: pictures(context, source.node, node) };
  $("hear").checked = monitored;
  hear();
  mix();
  await context.resume();
  for (const id of ["stop", "record"]) $(id).disabled = false;
  document.body.dataset.state = "running";
}

function stop() {
  if (session === undefined) return;
  record(false);
  clearInterval(session.pictures);
  session.stop();
  session.context.close();
  session = undefined;
  for (const id of ["stop", "record"]) $(id).disabled = true;
  document.body.dataset.state = "stopped";
  say("Stopped.");
}

async function microphone() {
  const asked = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: asked });
  await start(async (context) => {
    const node = new MediaStreamAudioSourceNode(context, { mediaStream: stream });
    return { node, stop: () => stream.getTracks().forEach((track) => track.stop()) };
  }, false);
  say("The microphone is cleaned. Put on headphones before you listen to it.");
}

async function file(chosen) {
  const bytes = await chosen.arrayBuffer();
  await start(async (context) => {
    const node = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(bytes), loop: true });
    node.start();
    return { node, stop: () => node.stop() };
  }, true);
  say(`${chosen.name} is played and cleaned.`);
}

// What is heard

function mix() {
  const strength = Number($("strength").value);
  const share = strength >= NO_LIMIT ? 0 : 10 ** (-strength / 20);
  $("limit").textContent = strength >= NO_LIMIT ? "no limit" : `${strength} dB`;
  session?.node.port.postMessage({ wanted: $("original").checked ? 1 : share });
}

function hear() {
  session?.ears.gain.setTargetAtTime($("hear").checked ? 1 : 0, session.context.currentTime, 0.02);
}

// What is kept

function record(on) {
  if (on === ($("record").getAttribute("aria-pressed") === "true")) return;
  $("record").setAttribute("aria-pressed", String(on));
  session?.node.port.postMessage({ recording: on });
  if (on) {
    pieces = [];
    return;
  }
  for (const id of ["before", "after"]) {
    URL.revokeObjectURL($(id).src);
    $(id).src = URL.createObjectURL(wav(pieces.map((piece) => piece[id]), session.context.sampleRate));
    $(`save-${id}`).href = $(id).src;
  }
  $("recorded").hidden = false;
}

// What is shown

function figures({ hops, busy }, spec, context) {
  const budget = (1000 * spec.hop) / spec.sample_rate;
  const mean = busy / hops;
  $("compute").textContent = `${mean.toFixed(2)} ms of ${budget.toFixed(2)} ms`;
  document.body.dataset.compute = mean;
  $("delay").textContent =
    `${((1000 * spec.latency) / spec.sample_rate).toFixed(2)} ms by the network, ` +
    `${(1000 * (context.baseLatency + (context.outputLatency || 0))).toFixed(0)} ms by the browser's output`;
  $("slow").hidden = mean < 0.7 * budget;
}

function pictures(context, before, after) {
  const each = [
    [new Picture($("picture-before")), before],
    [new Picture($("picture-after")), after],
  ].map(([picture, node]) => {
    const analyser = new AnalyserNode(context, { fftSize: 1024, smoothingTimeConstant: 0 });
    node.connect(analyser);
    return () => picture.draw(analyser);
  });
  return setInterval(() => document.hidden || each.forEach((draw) => draw()), 1000 * REFRESH_S);
}

function say(sentence) {
  $("status").textContent = sentence;
}

function fail(error) {
  stop();
  document.body.dataset.state = "failed";
  say(`It did not work: ${error.message}`);
}

loaded.catch(fail);
$("microphone").addEventListener("click", () => microphone().catch(fail));
$("file").addEventListener("change", () => $("file").files[0] && file($("file").files[0]).catch(fail));
$("stop").addEventListener("click", stop);
$("record").addEventListener("click", () => record($("record").getAttribute("aria-pressed") !== "true"));
for (const id of ["strength", "original"]) $(id).addEventListener("input", mix);
$("hear").addEventListener("input", hear);
