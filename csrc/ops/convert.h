/// Which kernels turn a dtype into real numbers and back, for quantize, dequantize and requantize.
#ifndef EI_OPS_CONVERT_H
#define EI_OPS_CONVERT_H

#include "ops/op.h"

#define EI_DTYPES_DEQUANTIZE                                                                       \
    (EI_DTYPE_BIT(EI_INT8) | EI_DTYPE_BIT(EI_UINT8) | EI_DTYPE_BIT(EI_INT16) |                     \
     EI_DTYPE_BIT(EI_INT32))
#define EI_DTYPES_QUANTIZE (EI_DTYPE_BIT(EI_INT8) | EI_DTYPE_BIT(EI_UINT8) | EI_DTYPE_BIT(EI_INT16))

static inline ei_quantize_fn ei_quantize_kernel(const ei_kernels *kernels, uint32_t dtype) {
    switch (dtype) {
    case EI_INT8: return kernels->quantize_s8;
    case EI_UINT8: return kernels->quantize_u8;
    default: return kernels->quantize_s16;
    }
}

static inline ei_dequantize_fn ei_dequantize_kernel(const ei_kernels *kernels, uint32_t dtype) {
    switch (dtype) {
    case EI_INT8: return kernels->dequantize_s8;
    case EI_UINT8: return kernels->dequantize_u8;
    case EI_INT16: return kernels->dequantize_s16;
    default: return kernels->dequantize_s32;
    }
}

#endif
