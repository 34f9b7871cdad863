#include "base/dtype.h"

typedef struct ei_dtype_facts {
    const char *name;
    uint32_t bytes;
    int64_t min, max;
} ei_dtype_facts;

static const ei_dtype_facts dtypes[] = {
    [EI_INT8] = {"int8", 1, INT8_MIN, INT8_MAX},
    [EI_UINT8] = {"uint8", 1, 0, UINT8_MAX},
    [EI_INT16] = {"int16", 2, INT16_MIN, INT16_MAX},
    [EI_INT32] = {"int32", 4, INT32_MIN, INT32_MAX},
    [EI_INT64] = {"int64", 8, INT64_MIN, INT64_MAX},
    [EI_FLOAT32] = {"float32", 4, 0, 0},
    [EI_BOOL] = {"bool", 1, 0, 1},
    [EI_FLOAT16] = {"float16", 2, 0, 0},
};

static const ei_dtype_facts *find(uint32_t dtype) {
    static const ei_dtype_facts unknown = {"unknown dtype", 0, 0, 0};
    if (dtype >= sizeof dtypes / sizeof dtypes[0] || dtypes[dtype].bytes == 0) {
        return &unknown;
    }
    return &dtypes[dtype];
}

uint32_t ei_dtype_bytes(uint32_t dtype) {
    return find(dtype)->bytes;
}
const char *ei_dtype_name(uint32_t dtype) {
    return find(dtype)->name;
}
int64_t ei_dtype_min(uint32_t dtype) {
    return find(dtype)->min;
}
int64_t ei_dtype_max(uint32_t dtype) {
    return find(dtype)->max;
}
