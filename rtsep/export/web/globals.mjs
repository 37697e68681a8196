// What ONNX Runtime's module expects of every place that it runs in, and an audio worklet lacks. Imported before it.
// `clock` is the finest there is: milliseconds, whole ones where a worklet has nothing but Date.

const precise = typeof globalThis.performance?.now === "function";
export const clock = precise ? () => performance.now() : () => Date.now();
globalThis.performance ??= { now: () => Date.now(), timeOrigin: 0 };
globalThis.self ??= globalThis;
