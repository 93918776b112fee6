/* NVIDIA's library with made-up GPUs, as far as docferry asks it.
 *
 * It is told by a file, a line for each GPU, and read again at every question, so that a test changes what a program sees while the program runs:
 *
 *     used_mib busy_percent      negative memory: the GPU is lost; negative share: this GPU does not tell it
 *
 * The file is named by NVML_STUB_STATE, in the environment or when this is compiled. With PARTIAL it lacks every function that can be lacking. Numbers of errors
 * and layouts are those of nvml.h.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUCCESS 0
#define UNINITIALIZED 1
#define INVALID_ARGUMENT 2
#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define GPU_IS_LOST 15
#define DRIVER_NOT_LOADED 9
#define MIB (1024ULL * 1024ULL)
#define TOTAL (16384ULL * MIB)

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned gpu, memory; } utilization;
/* A handle is the GPU's place, and one: none of them is null. */
typedef void *handle;

static int initialised;

static FILE *state(void) {
    const char *path = getenv("NVML_STUB_STATE");
#ifdef STATE
    if (!path) path = STATE;
#endif
    return path ? fopen(path, "r") : NULL;
}

/* The GPUs there are; `used` and `busy` are those of the one at `place`. */
static int look(long place, long long *used, long long *busy) {
    long long a, b;
    int count = 0;
    FILE *file = state();
    if (!file) return 0;
    while (fscanf(file, "%lld %lld", &a, &b) == 2) {
        if (count++ == place) { *used = a; *busy = b; }
    }
    fclose(file);
    return count;
}

int nvmlInit_v2(void) {
    FILE *file = state();
    if (!file) return DRIVER_NOT_LOADED;
    fclose(file);
    initialised = 1;
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    long long used, busy;
    *count = (unsigned)look(-1, &used, &busy);
    return initialised ? SUCCESS : UNINITIALIZED;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned place, handle *device) {
    long long used, busy;
    if ((int)place >= look(-1, &used, &busy)) return INVALID_ARGUMENT;
    *device = (handle)((long)place + 1);
    return SUCCESS;
}

#ifndef PARTIAL
static int ask(handle device, long long *used, long long *busy) {
    long place = (long)device - 1;
    if (!initialised) return UNINITIALIZED;
    if (place < 0 || place >= look(place, used, busy)) return INVALID_ARGUMENT;
    return *used < 0 ? GPU_IS_LOST : SUCCESS;
}

int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    snprintf(text, length, "580.0");
    return SUCCESS;
}

int nvmlDeviceGetName(handle device, char *text, unsigned length) {
    (void)device;
    snprintf(text, length, "Stub GPU");
    return SUCCESS;
}

int nvmlDeviceGetUUID(handle device, char *text, unsigned length) {
    snprintf(text, length, "GPU-0000000%ld-stub", (long)device - 1);
    return SUCCESS;
}

/* A part of a GPU: MIG-0, MIG-1. */
int nvmlDeviceGetHandleByUUID(const char *uuid, handle *device) {
    if (strncmp(uuid, "MIG-", 4) != 0) return NOT_FOUND;
    return nvmlDeviceGetHandleByIndex_v2((unsigned)atoi(uuid + 4), device);
}

int nvmlDeviceGetMemoryInfo_v2(handle device, memory_v2 *memory) {
    long long used = 0, busy = 0;
    int result = ask(device, &used, &busy);
    if (memory->version != (sizeof(memory_v2) | (2 << 24))) return INVALID_ARGUMENT;
    if (result == SUCCESS) {
        memory->total = TOTAL;
        memory->reserved = 0;
        memory->used = (unsigned long long)used * MIB;
        memory->free = TOTAL - memory->used;
    }
    return result;
}

int nvmlDeviceGetUtilizationRates(handle device, utilization *rates) {
    long long used = 0, busy = 0;
    int result = ask(device, &used, &busy);
    if (result == SUCCESS && busy < 0) return NOT_SUPPORTED;
    rates->gpu = (unsigned)busy;
    rates->memory = 0;
    return result;
}
#endif
