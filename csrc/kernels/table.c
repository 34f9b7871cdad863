#include "kernels/table.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

/// Fills every entry.
static void fill_scalar(ei_kernels *kernels) {
    kernels->conv2d_s8_s8c = ei_conv2d_s8_s8c_scalar;
    kernels->conv2d_s16_s8c = ei_conv2d_s16_s8c_scalar;
    kernels->depthwise_conv2d_s8_s8c = ei_depthwise_conv2d_s8_s8c_scalar;
    kernels->depthwise_conv2d_s16_s8c = ei_depthwise_conv2d_s16_s8c_scalar;
    kernels->transpose_conv2d_s8_s8c = ei_transpose_conv2d_s8_s8c_scalar;
    kernels->transpose_conv2d_s16_s8c = ei_transpose_conv2d_s16_s8c_scalar;
    kernels->fully_connected_s8_s8c = ei_fully_connected_s8_s8c_scalar;
    kernels->fully_connected_s16_s8c = ei_fully_connected_s16_s8c_scalar;
    kernels->batch_matmul_s8_s8 = ei_batch_matmul_s8_s8_scalar;
    kernels->batch_matmul_s16_s16 = ei_batch_matmul_s16_s16_scalar;
}

static int always(void) {
    return 1;
}

typedef struct ei_tier {
    const char *name;
    int (*supported)(void);            // by this CPU
    void (*fill)(ei_kernels *kernels); // overwrites the entries that this tier has
} ei_tier;

/// From slowest to fastest: a tier inherits the entries of the supported tiers above it.
static const ei_tier tiers[] = {
    {"scalar", always, fill_scalar},
};

#define EI_TIER_COUNT ((int)(sizeof tiers / sizeof tiers[0]))

static ei_kernels tables[EI_TIER_COUNT]; // .tier stays NULL where this CPU lacks the tier
static pthread_once_t built = PTHREAD_ONCE_INIT;

static void build_tables(void) {
    ei_kernels kernels = {0};
    for (int i = 0; i < EI_TIER_COUNT; i++) {
        if (!tiers[i].supported()) {
            continue;
        }
        tiers[i].fill(&kernels);
        tables[i] = kernels;
        tables[i].tier = tiers[i].name;
    }
}

const ei_kernels *ei_kernels_find(const char *tier) {
    pthread_once(&built, build_tables);
    for (int i = 0; i < EI_TIER_COUNT; i++) {
        if (tables[i].tier != NULL && strcmp(tables[i].tier, tier) == 0) {
            return &tables[i];
        }
    }
    return NULL;
}

const char *ei_kernels_tier(int index) {
    return index >= 0 && index < EI_TIER_COUNT ? tiers[index].name : NULL;
}
