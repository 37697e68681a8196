/* A model's flat graph without Python: mono float32 at the model's rate, standard input to standard output, cleaned.
 *     cc clean_flat.c -o clean_flat -lonnxruntime && ./clean_flat denoise-small.onnx < noisy.f32 > clean.f32
 * What comes out is late by the stream's latency, 128 samples; ONNX Runtime 1.16 or newer. */
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>

static const OrtApi *ort;

static void check(OrtStatus *status) {
    if (status != NULL) {
        fprintf(stderr, "clean_flat: %s\n", ort->GetErrorMessage(status));
        exit(1);
    }
}

/* The shape of an input or output, and a tensor of zeros of that shape, whose numbers lie at *data. */
static OrtValue *tensor(OrtTypeInfo *info, float **data, int64_t shape[3], size_t *count) {
    const OrtTensorTypeAndShapeInfo *described;
    OrtMemoryInfo *memory;
    OrtValue *value;
    size_t rank;
    check(ort->CastTypeInfoToTensorInfo(info, &described));
    check(ort->GetDimensionsCount(described, &rank));
    check(ort->GetDimensions(described, shape, rank));
    *count = 1;
    for (size_t axis = 0; axis < rank; axis++) *count *= (size_t)shape[axis];
    *data = calloc(*count, sizeof(float));
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    check(ort->CreateTensorWithDataAsOrtValue(memory, *data, *count * sizeof(float), shape, rank,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &value));
    return value;
}

int main(int argc, char **argv) {
    OrtEnv *env;
    OrtSessionOptions *options;
    OrtSession *session;
    OrtTypeInfo *info;
    OrtValue *hop, *audio, *state[2]; /* the next state of one hop is the state of the following one */
    float *samples, *sources, *memory;
    int64_t shape[3];
    size_t hop_size, count;
    if (argc != 2) return fprintf(stderr, "clean_flat: name the model\n"), 2;
    ort = OrtGetApiBase()->GetApi(16);
    if (ort == NULL) return fprintf(stderr, "clean_flat: ONNX Runtime is too old\n"), 1;
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "clean_flat", &env));
    check(ort->DisableTelemetryEvents(env));
    check(ort->CreateSessionOptions(&options));
    check(ort->SetIntraOpNumThreads(options, 1)); /* a hop is too little work to share out */
    check(ort->CreateSession(env, argv[1], options, &session));
    check(ort->SessionGetInputTypeInfo(session, 0, &info)); /* hop [channels, hop] */
    hop = tensor(info, &samples, shape, &hop_size);
    if (shape[0] != 1) return fprintf(stderr, "clean_flat: the model is not mono\n"), 2;
    check(ort->SessionGetInputTypeInfo(session, 1, &info)); /* state [n], zero at first */
    for (int turn = 0; turn < 2; turn++) state[turn] = tensor(info, &memory, shape, &count);
    check(ort->SessionGetOutputTypeInfo(session, 0, &info)); /* audio [sources, channels, hop] */
    audio = tensor(info, &sources, shape, &count);
    const char *const inputs[] = {"hop", "state"}, *const outputs[] = {"audio", "next_state"};
    for (int turn = 0; fread(samples, sizeof(float), hop_size, stdin) == hop_size; turn = 1 - turn) {
        const OrtValue *given[] = {hop, state[turn]};
        OrtValue *made[] = {audio, state[1 - turn]};
        check(ort->Run(session, NULL, inputs, given, 2, outputs, 2, made));
        fwrite(sources, sizeof(float), hop_size, stdout); /* the first source; `rtsep export-flat` names them */
    }
    return 0;
}
