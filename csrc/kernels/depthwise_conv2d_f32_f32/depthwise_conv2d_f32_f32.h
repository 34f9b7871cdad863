/// Depthwise 2-D convolution of float32. Output channel o reads input channel o / multiplicity, through
/// taps as in conv2d_f32_f32.h: one chain of fused multiply-adds over (ky, kx), a tap outside the image
/// multiplying +0.
#ifndef EI_KERNELS_DEPTHWISE_CONV2D_F32_F32_H
#define EI_KERNELS_DEPTHWISE_CONV2D_F32_F32_H

#include "kernels/float_tile.h"
#include "kernels/rows.h"
#include "kernels/window.h"

typedef struct ei_depthwise_conv2d_f32_args {
    ei_rows x;            // in_w * in_c floats each
    ei_rows y;            // out_w * out_c floats each; shares no byte with x
    const float *weights; // [out_c / 16][kernel_h * kernel_w][16], finite
    const float *bias;    // [out_c rounded up to 16]
    const float *zero;    // in_w * in_c times +0; NULL when no tap leaves
    ei_window window;     // out_c == in_c * multiplicity
    int32_t multiplicity; // output channels per input channel ("depth multiplier")
    ei_bounds_f32 bounds;
} ei_depthwise_conv2d_f32_args;

/// Computes rows [begin, end) of y. The rows of x that they read are in its ring.
typedef void (*ei_depthwise_conv2d_f32_fn)(const ei_depthwise_conv2d_f32_args *args, uint32_t begin,
                                           uint32_t end);

void ei_depthwise_conv2d_f32_f32_scalar(const ei_depthwise_conv2d_f32_args *args, uint32_t begin,
                                        uint32_t end);
void ei_depthwise_conv2d_f32_f32_avx2(const ei_depthwise_conv2d_f32_args *args, uint32_t begin,
                                      uint32_t end);
void ei_depthwise_conv2d_f32_f32_avx512vnni(const ei_depthwise_conv2d_f32_args *args,
                                            uint32_t begin, uint32_t end);
void ei_depthwise_conv2d_f32_f32_neon(const ei_depthwise_conv2d_f32_args *args, uint32_t begin,
                                      uint32_t end);

#endif
