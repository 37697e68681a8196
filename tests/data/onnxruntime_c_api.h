/* Stands in for ONNX Runtime's header of this name where that is not installed: what examples/clean_flat.c uses, and
 * no more. The API is a table of functions that only ever grows, so the place of each is a part of its name. */
#include <stddef.h>
#include <stdint.h>

typedef struct OrtEnv OrtEnv;
typedef struct OrtStatus OrtStatus;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtValue OrtValue;
enum { ORT_LOGGING_LEVEL_WARNING = 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1 };
enum { OrtArenaAllocator = 1, OrtMemTypeDefault = 0 };
typedef void *unused;

typedef struct OrtApi {
    unused to_2[2];
    const char *(*GetErrorMessage)(const OrtStatus *);
    OrtStatus *(*CreateEnv)(int, const char *, OrtEnv **);
    unused to_6[2];
    OrtStatus *(*DisableTelemetryEvents)(const OrtEnv *);
    OrtStatus *(*CreateSession)(const OrtEnv *, const char *, const OrtSessionOptions *, OrtSession **);
    unused to_9[1];
    OrtStatus *(*Run)(OrtSession *, const OrtRunOptions *, const char *const *, const OrtValue *const *, size_t,
                      const char *const *, size_t, OrtValue **);
    OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **);
    unused to_24[13];
    OrtStatus *(*SetIntraOpNumThreads)(OrtSessionOptions *, int);
    unused to_33[8];
    OrtStatus *(*SessionGetInputTypeInfo)(const OrtSession *, size_t, OrtTypeInfo **);
    OrtStatus *(*SessionGetOutputTypeInfo)(const OrtSession *, size_t, OrtTypeInfo **);
    unused to_49[14];
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *, size_t, const int64_t *, size_t, int,
                                                 OrtValue **);
    unused to_55[5];
    OrtStatus *(*CastTypeInfoToTensorInfo)(const OrtTypeInfo *, const OrtTensorTypeAndShapeInfo **);
    unused to_61[5];
    OrtStatus *(*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo *, size_t *);
    OrtStatus *(*GetDimensions)(const OrtTensorTypeAndShapeInfo *, int64_t *, size_t);
    unused to_69[6];
    OrtStatus *(*CreateCpuMemoryInfo)(int, int, OrtMemoryInfo **);
} OrtApi;

typedef struct OrtApiBase {
    const OrtApi *(*GetApi)(uint32_t);
    const char *(*GetVersionString)(void);
} OrtApiBase;

const OrtApiBase *OrtGetApiBase(void);
