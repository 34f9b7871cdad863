#include "kernels/table.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "base/cpu.h"

/// What float32 needs of tiers on x86. Every CPU with AVX2 has it, but for some emulated ones.
#define EI_CPU_X86_FLOATS (EI_CPU_FMA | EI_CPU_F16C)

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
    kernels->packed_gemm_s8_f4 = ei_packed_gemm_s8_f4_scalar;
    kernels->packed_gemm_s8_s8c = ei_packed_gemm_s8_s8c_scalar;
    kernels->fully_connected_f32_f4 = ei_fully_connected_f32_f4_scalar;
    kernels->batch_matmul_s16_s16 = ei_batch_matmul_s16_s16_scalar;
    kernels->conv2d_f32_f32 = ei_conv2d_f32_f32_scalar;
    kernels->conv2d_f32_f16 = ei_conv2d_f32_f16_scalar;
    kernels->depthwise_conv2d_f32_f32 = ei_depthwise_conv2d_f32_f32_scalar;
    kernels->transpose_conv2d_f32_f32 = ei_transpose_conv2d_f32_f32_scalar;
    kernels->fully_connected_f32_f32 = ei_fully_connected_f32_f32_scalar;
    kernels->fully_connected_f32_f16 = ei_fully_connected_f32_f16_scalar;
    kernels->batch_matmul_f32_f32 = ei_batch_matmul_f32_f32_scalar;
    kernels->add_s8 = ei_add_s8_scalar;
    kernels->add_s16 = ei_add_s16_scalar;
    kernels->mul_s8 = ei_mul_s8_scalar;
    kernels->mul_s16 = ei_mul_s16_scalar;
    kernels->maximum_s8 = ei_maximum_s8_scalar;
    kernels->maximum_u8 = ei_maximum_u8_scalar;
    kernels->maximum_s16 = ei_maximum_s16_scalar;
    kernels->maximum_s32 = ei_maximum_s32_scalar;
    kernels->minimum_s8 = ei_minimum_s8_scalar;
    kernels->minimum_u8 = ei_minimum_u8_scalar;
    kernels->minimum_s16 = ei_minimum_s16_scalar;
    kernels->minimum_s32 = ei_minimum_s32_scalar;
    kernels->lut8_b1 = ei_lut8_b1_scalar;
    kernels->lut8_b2 = ei_lut8_b2_scalar;
    kernels->lut8_b4 = ei_lut8_b4_scalar;
    kernels->lut8_b8 = ei_lut8_b8_scalar;
    kernels->lut16_s16 = ei_lut16_s16_scalar;
    kernels->quantize_s8 = ei_quantize_s8_scalar;
    kernels->quantize_u8 = ei_quantize_u8_scalar;
    kernels->quantize_s16 = ei_quantize_s16_scalar;
    kernels->dequantize_s8 = ei_dequantize_s8_scalar;
    kernels->dequantize_u8 = ei_dequantize_u8_scalar;
    kernels->dequantize_s16 = ei_dequantize_s16_scalar;
    kernels->dequantize_s32 = ei_dequantize_s32_scalar;
    kernels->avg_pool2d_s8 = ei_avg_pool2d_s8_scalar;
    kernels->avg_pool2d_s16 = ei_avg_pool2d_s16_scalar;
    kernels->max_pool2d_s8 = ei_max_pool2d_s8_scalar;
    kernels->max_pool2d_u8 = ei_max_pool2d_u8_scalar;
    kernels->max_pool2d_s16 = ei_max_pool2d_s16_scalar;
    kernels->reduce_sum_s8 = ei_reduce_sum_s8_scalar;
    kernels->reduce_sum_u8 = ei_reduce_sum_u8_scalar;
    kernels->reduce_sum_s16 = ei_reduce_sum_s16_scalar;
    kernels->accumulate_rows_s8 = ei_accumulate_rows_s8_scalar;
    kernels->accumulate_rows_u8 = ei_accumulate_rows_u8_scalar;
    kernels->accumulate_rows_s16 = ei_accumulate_rows_s16_scalar;
    kernels->rescale_sums_s8 = ei_rescale_sums_s8_scalar;
    kernels->rescale_sums_u8 = ei_rescale_sums_u8_scalar;
    kernels->rescale_sums_s16 = ei_rescale_sums_s16_scalar;
    kernels->softmax_s8 = ei_softmax_s8_scalar;
    kernels->softmax_s16 = ei_softmax_s16_scalar;
    kernels->argmax_s8 = ei_argmax_s8_scalar;
    kernels->argmax_u8 = ei_argmax_u8_scalar;
    kernels->argmax_s16 = ei_argmax_s16_scalar;
    kernels->argmax_s32 = ei_argmax_s32_scalar;
    kernels->argmax_f32 = ei_argmax_f32_scalar;
    kernels->resize_bilinear_s8 = ei_resize_bilinear_s8_scalar;
    kernels->resize_bilinear_u8 = ei_resize_bilinear_u8_scalar;
    kernels->resize_bilinear_s16 = ei_resize_bilinear_s16_scalar;
    kernels->copy2d = ei_copy2d_scalar;
    kernels->fill = ei_fill_scalar;
    kernels->take = ei_take_scalar;
    kernels->unary_f32 = ei_unary_f32_scalar;
    kernels->binary_f32 = ei_binary_f32_scalar;
    kernels->pool2d_f32 = ei_pool2d_f32_scalar;
    kernels->reduce_f32 = ei_reduce_f32_scalar;
    kernels->softmax_f32 = ei_softmax_f32_scalar;
    kernels->layer_norm_f32 = ei_layer_norm_f32_scalar;
    kernels->resize_f32 = ei_resize_f32_scalar;
}

#if EI_TIER_AVX2
static void fill_avx2(ei_kernels *kernels) {
    kernels->conv2d_s8_s8c = ei_conv2d_s8_s8c_avx2;
    kernels->depthwise_conv2d_s8_s8c = ei_depthwise_conv2d_s8_s8c_avx2;
    kernels->fully_connected_s8_s8c = ei_fully_connected_s8_s8c_avx2;
    kernels->batch_matmul_s8_s8 = ei_batch_matmul_s8_s8_avx2;
    kernels->packed_gemm_s8_f4 = ei_packed_gemm_s8_f4_avx2;
    kernels->packed_gemm_s8_s8c = ei_packed_gemm_s8_s8c_avx2;
    kernels->fully_connected_f32_f4 = ei_fully_connected_f32_f4_avx2;
    kernels->conv2d_f32_f32 = ei_conv2d_f32_f32_avx2;
    kernels->conv2d_f32_f16 = ei_conv2d_f32_f16_avx2;
    kernels->depthwise_conv2d_f32_f32 = ei_depthwise_conv2d_f32_f32_avx2;
    kernels->transpose_conv2d_f32_f32 = ei_transpose_conv2d_f32_f32_avx2;
    kernels->fully_connected_f32_f32 = ei_fully_connected_f32_f32_avx2;
    kernels->fully_connected_f32_f16 = ei_fully_connected_f32_f16_avx2;
    kernels->batch_matmul_f32_f32 = ei_batch_matmul_f32_f32_avx2;
    kernels->add_s8 = ei_add_s8_avx2;
    kernels->add_s16 = ei_add_s16_avx2;
    kernels->mul_s8 = ei_mul_s8_avx2;
    kernels->mul_s16 = ei_mul_s16_avx2;
    kernels->maximum_s8 = ei_maximum_s8_avx2;
    kernels->maximum_u8 = ei_maximum_u8_avx2;
    kernels->maximum_s16 = ei_maximum_s16_avx2;
    kernels->maximum_s32 = ei_maximum_s32_avx2;
    kernels->minimum_s8 = ei_minimum_s8_avx2;
    kernels->minimum_u8 = ei_minimum_u8_avx2;
    kernels->minimum_s16 = ei_minimum_s16_avx2;
    kernels->minimum_s32 = ei_minimum_s32_avx2;
    kernels->lut16_s16 = ei_lut16_s16_avx2;
    kernels->quantize_s8 = ei_quantize_s8_avx2;
    kernels->quantize_u8 = ei_quantize_u8_avx2;
    kernels->quantize_s16 = ei_quantize_s16_avx2;
    kernels->dequantize_s8 = ei_dequantize_s8_avx2;
    kernels->dequantize_u8 = ei_dequantize_u8_avx2;
    kernels->dequantize_s16 = ei_dequantize_s16_avx2;
    kernels->dequantize_s32 = ei_dequantize_s32_avx2;
    kernels->avg_pool2d_s8 = ei_avg_pool2d_s8_avx2;
    kernels->max_pool2d_s8 = ei_max_pool2d_s8_avx2;
    kernels->max_pool2d_u8 = ei_max_pool2d_u8_avx2;
    kernels->max_pool2d_s16 = ei_max_pool2d_s16_avx2;
    kernels->reduce_sum_s8 = ei_reduce_sum_s8_avx2;
    kernels->reduce_sum_u8 = ei_reduce_sum_u8_avx2;
    kernels->accumulate_rows_s8 = ei_accumulate_rows_s8_avx2;
    kernels->accumulate_rows_u8 = ei_accumulate_rows_u8_avx2;
    kernels->accumulate_rows_s16 = ei_accumulate_rows_s16_avx2;
    kernels->softmax_s8 = ei_softmax_s8_avx2;
    kernels->argmax_s8 = ei_argmax_s8_avx2;
    kernels->argmax_u8 = ei_argmax_u8_avx2;
    kernels->resize_bilinear_s8 = ei_resize_bilinear_s8_avx2;
    kernels->resize_bilinear_u8 = ei_resize_bilinear_u8_avx2;
    kernels->copy2d = ei_copy2d_avx2;
    kernels->unary_f32 = ei_unary_f32_avx2;
    kernels->binary_f32 = ei_binary_f32_avx2;
    kernels->pool2d_f32 = ei_pool2d_f32_avx2;
    kernels->reduce_f32 = ei_reduce_f32_avx2;
    kernels->softmax_f32 = ei_softmax_f32_avx2;
    kernels->layer_norm_f32 = ei_layer_norm_f32_avx2;
    kernels->resize_f32 = ei_resize_f32_avx2;
}

static int has_avx2(void) {
    const uint32_t needed = EI_CPU_AVX2 | EI_CPU_X86_FLOATS;
    return (ei_cpu_features() & needed) == needed;
}
#endif

#if EI_TIER_AVXVNNI
static void fill_avxvnni(ei_kernels *kernels) {
    kernels->conv2d_s8_s8c = ei_conv2d_s8_s8c_avxvnni;
    kernels->depthwise_conv2d_s8_s8c = ei_depthwise_conv2d_s8_s8c_avxvnni;
    kernels->fully_connected_s8_s8c = ei_fully_connected_s8_s8c_avxvnni;
    kernels->packed_gemm_s8_f4 = ei_packed_gemm_s8_f4_avxvnni;
    kernels->packed_gemm_s8_s8c = ei_packed_gemm_s8_s8c_avxvnni;
}

static int has_avxvnni(void) {
#if EI_AVXVNNI_AS_EVEX
    const uint32_t needed = EI_CPU_AVX2 | EI_CPU_X86_FLOATS | EI_CPU_AVX512 | EI_CPU_AVX512VNNI;
#else
    const uint32_t needed = EI_CPU_AVX2 | EI_CPU_X86_FLOATS | EI_CPU_AVXVNNI;
#endif
    return (ei_cpu_features() & needed) == needed;
}
#endif

#if EI_TIER_AVX512VNNI
static void fill_avx512vnni(ei_kernels *kernels) {
    kernels->conv2d_s8_s8c = ei_conv2d_s8_s8c_avx512vnni;
    kernels->depthwise_conv2d_s8_s8c = ei_depthwise_conv2d_s8_s8c_avx512vnni;
    kernels->fully_connected_s8_s8c = ei_fully_connected_s8_s8c_avx512vnni;
    kernels->batch_matmul_s8_s8 = ei_batch_matmul_s8_s8_avx512vnni;
    kernels->packed_gemm_s8_f4 = ei_packed_gemm_s8_f4_avx512vnni;
    kernels->packed_gemm_s8_s8c = ei_packed_gemm_s8_s8c_avx512vnni;
    kernels->conv2d_f32_f32 = ei_conv2d_f32_f32_avx512vnni;
    kernels->conv2d_f32_f16 = ei_conv2d_f32_f16_avx512vnni;
    kernels->depthwise_conv2d_f32_f32 = ei_depthwise_conv2d_f32_f32_avx512vnni;
    kernels->transpose_conv2d_f32_f32 = ei_transpose_conv2d_f32_f32_avx512vnni;
    kernels->fully_connected_f32_f32 = ei_fully_connected_f32_f32_avx512vnni;
    kernels->fully_connected_f32_f16 = ei_fully_connected_f32_f16_avx512vnni;
    kernels->batch_matmul_f32_f32 = ei_batch_matmul_f32_f32_avx512vnni;
    kernels->add_s16 = ei_add_s16_avx512vnni;
    kernels->unary_f32 = ei_unary_f32_avx512vnni;
    kernels->softmax_f32 = ei_softmax_f32_avx512vnni;
    kernels->layer_norm_f32 = ei_layer_norm_f32_avx512vnni;
    if ((ei_cpu_features() & EI_CPU_AVX512VBMI) != 0) {
        kernels->lut8_b1 = ei_lut8_b1_avx512vnni;
        kernels->packed_gemm_s8_f4 = ei_packed_gemm_s8_f4_vbmi_avx512vnni;
    }
}

static int has_avx512vnni(void) {
    const uint32_t needed = EI_CPU_AVX2 | EI_CPU_X86_FLOATS | EI_CPU_AVX512 | EI_CPU_AVX512VNNI;
    return (ei_cpu_features() & needed) == needed;
}
#endif

#if EI_TIER_NEON
static void fill_neon(ei_kernels *kernels) {
    kernels->conv2d_s8_s8c = ei_conv2d_s8_s8c_neon;
    kernels->depthwise_conv2d_s8_s8c = ei_depthwise_conv2d_s8_s8c_neon;
    kernels->fully_connected_s8_s8c = ei_fully_connected_s8_s8c_neon;
    kernels->batch_matmul_s8_s8 = ei_batch_matmul_s8_s8_neon;
    kernels->add_s8 = ei_add_s8_neon;
    kernels->mul_s8 = ei_mul_s8_neon;
    kernels->avg_pool2d_s8 = ei_avg_pool2d_s8_neon;
    kernels->max_pool2d_s8 = ei_max_pool2d_s8_neon;
    kernels->max_pool2d_u8 = ei_max_pool2d_u8_neon;
    kernels->max_pool2d_s16 = ei_max_pool2d_s16_neon;
    kernels->reduce_sum_s8 = ei_reduce_sum_s8_neon;
    kernels->reduce_sum_u8 = ei_reduce_sum_u8_neon;
    kernels->argmax_s8 = ei_argmax_s8_neon;
    kernels->argmax_u8 = ei_argmax_u8_neon;
    kernels->resize_bilinear_s8 = ei_resize_bilinear_s8_neon;
    kernels->resize_bilinear_u8 = ei_resize_bilinear_u8_neon;
    kernels->copy2d = ei_copy2d_neon;
#if defined(__aarch64__) // 32 bit would flush subnormal numbers to zero
    kernels->conv2d_f32_f32 = ei_conv2d_f32_f32_neon;
    kernels->conv2d_f32_f16 = ei_conv2d_f32_f16_neon;
    kernels->depthwise_conv2d_f32_f32 = ei_depthwise_conv2d_f32_f32_neon;
    kernels->transpose_conv2d_f32_f32 = ei_transpose_conv2d_f32_f32_neon;
    kernels->fully_connected_f32_f32 = ei_fully_connected_f32_f32_neon;
    kernels->fully_connected_f32_f16 = ei_fully_connected_f32_f16_neon;
    kernels->batch_matmul_f32_f32 = ei_batch_matmul_f32_f32_neon;
    kernels->packed_gemm_s8_f4 = ei_packed_gemm_s8_f4_neon;
    kernels->packed_gemm_s8_s8c = ei_packed_gemm_s8_s8c_neon;
#endif
    if (sizeof(void *) == 8) {
        kernels->lut8_b1 = ei_lut8_b1_neon;
    }
    if (sizeof(void *) == 4) { // 64 bit: scalar versions are made of the same vectors
        kernels->accumulate_rows_s8 = ei_accumulate_rows_s8_neon;
        kernels->accumulate_rows_u8 = ei_accumulate_rows_u8_neon;
        kernels->accumulate_rows_s16 = ei_accumulate_rows_s16_neon;
        kernels->add_s16 = ei_add_s16_neon;
        kernels->maximum_s8 = ei_maximum_s8_neon;
        kernels->maximum_u8 = ei_maximum_u8_neon;
        kernels->maximum_s16 = ei_maximum_s16_neon;
        kernels->maximum_s32 = ei_maximum_s32_neon;
        kernels->minimum_s8 = ei_minimum_s8_neon;
        kernels->minimum_u8 = ei_minimum_u8_neon;
        kernels->minimum_s16 = ei_minimum_s16_neon;
        kernels->minimum_s32 = ei_minimum_s32_neon;
        kernels->lut16_s16 = ei_lut16_s16_neon;
    }
}

static int has_neon(void) {
    return (ei_cpu_features() & EI_CPU_NEON) != 0;
}
#endif

#if EI_TIER_DOTPROD
static void fill_dotprod(ei_kernels *kernels) {
    kernels->conv2d_s8_s8c = ei_conv2d_s8_s8c_dotprod;
    kernels->depthwise_conv2d_s8_s8c = ei_depthwise_conv2d_s8_s8c_dotprod;
    kernels->fully_connected_s8_s8c = ei_fully_connected_s8_s8c_dotprod;
    kernels->batch_matmul_s8_s8 = ei_batch_matmul_s8_s8_dotprod;
    kernels->packed_gemm_s8_f4 = ei_packed_gemm_s8_f4_dotprod;
    kernels->packed_gemm_s8_s8c = ei_packed_gemm_s8_s8c_dotprod;
}

static int has_dotprod(void) {
    return (ei_cpu_features() & EI_CPU_DOTPROD) != 0;
}
#endif

#if EI_TIER_I8MM
static void fill_i8mm(ei_kernels *kernels) {
    kernels->conv2d_s8_s8c = ei_conv2d_s8_s8c_i8mm;
    kernels->fully_connected_s8_s8c = ei_fully_connected_s8_s8c_i8mm;
    kernels->batch_matmul_s8_s8 = ei_batch_matmul_s8_s8_i8mm;
    kernels->packed_gemm_s8_f4 = ei_packed_gemm_s8_f4_i8mm;
}

static int has_i8mm(void) {
    const uint32_t needed = EI_CPU_DOTPROD | EI_CPU_I8MM;
    return (ei_cpu_features() & needed) == needed;
}
#endif

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
#if EI_TIER_AVX2
    {"avx2", has_avx2, fill_avx2},
#endif
#if EI_TIER_AVXVNNI
    {"avxvnni", has_avxvnni, fill_avxvnni},
#endif
#if EI_TIER_AVX512VNNI
    {"avx512vnni", has_avx512vnni, fill_avx512vnni},
#endif
#if EI_TIER_NEON
    {"neon", has_neon, fill_neon},
#endif
#if EI_TIER_DOTPROD
    {"dotprod", has_dotprod, fill_dotprod},
#endif
#if EI_TIER_I8MM
    {"i8mm", has_i8mm, fill_i8mm},
#endif
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

// One string, since an array of pointers would have to be relocated whenever the library is loaded.
#define EI_KERNEL(type, name) #name "\0"
static const char entry_names[] =
#include "kernels/kernels.def"
    ;
#undef EI_KERNEL

/// The entries, in order, behind the table's first member.
typedef void (*ei_entry)(void);

#define EI_KERNEL(type, name) +1
enum {
    EI_ENTRY_COUNT = 0
#include "kernels/kernels.def"
};
#undef EI_KERNEL

_Static_assert(sizeof(ei_kernels) == sizeof(const char *) + EI_ENTRY_COUNT * sizeof(ei_entry),
               "nothing but entries follows the name");

const char *ei_kernels_entry(int index) {
    const char *name = entry_names;
    for (int i = 0; i < index && *name != 0; i++) {
        name += strlen(name) + 1;
    }
    return index >= 0 && *name != 0 ? name : NULL;
}

static const uint8_t *entry_of(const ei_kernels *kernels, int index) {
    return (const uint8_t *)kernels + sizeof(const char *) + (size_t)index * sizeof(ei_entry);
}

const char *ei_kernels_entry_tier(const ei_kernels *kernels, int index) {
    if (index < 0 || index >= EI_ENTRY_COUNT) {
        return NULL;
    }
    // The first table that has this version is that of the tier which brought it.
    for (int i = 0; i < EI_TIER_COUNT; i++) {
        if (tables[i].tier != NULL &&
            memcmp(entry_of(&tables[i], index), entry_of(kernels, index), sizeof(ei_entry)) == 0) {
            return tables[i].tier;
        }
    }
    return kernels->tier;
}
