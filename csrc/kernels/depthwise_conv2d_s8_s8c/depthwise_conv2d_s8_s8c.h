/// Depthwise 2-D convolution, int8 activations, int8 weights per output channel. Output channel o
/// reads input channel o / multiplicity, through taps as in conv2d_s8_s8c.h.
///
/// Weights are [out_c/16][T/4][16][4], the T = kernel_h * kernel_w taps in order (ky, kx) being one
/// segment. Sums are taken modulo 2^32; exact while |bias| + 2^14 * T < 2^31.
#ifndef EI_KERNELS_DEPTHWISE_CONV2D_S8_S8C_H
#define EI_KERNELS_DEPTHWISE_CONV2D_S8_S8C_H

#include "kernels/requantize.h"
#include "kernels/rows.h"
#include "kernels/window.h"

typedef struct ei_depthwise_conv2d_s8_s8c_args {
    ei_rows x;               // in_w * in_c int8 each
    ei_rows y;               // out_w * out_c int8 each; shares no byte with x
    const int8_t *weights;   // packed as above
    const int32_t *bias;     // [out_c rounded up to 16], zero point folded in
    const float *multiplier; // as bias, finite
    const int8_t *zero;      // in_w * in_c copies of the zero point; NULL when no tap leaves
    ei_window window;        // out_c == in_c * multiplicity
    int32_t multiplicity;    // output channels per input channel ("depth multiplier")
    ei_requant requant;      // within int8
} ei_depthwise_conv2d_s8_s8c_args;

/// Computes rows [begin, end) of y. The rows of x that they read are in its ring.
typedef void (*ei_depthwise_conv2d_s8_s8c_fn)(const ei_depthwise_conv2d_s8_s8c_args *args,
                                              uint32_t begin, uint32_t end);

void ei_depthwise_conv2d_s8_s8c_scalar(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin,
                                       uint32_t end);
void ei_depthwise_conv2d_s8_s8c_avx2(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin,
                                     uint32_t end);
void ei_depthwise_conv2d_s8_s8c_avxvnni(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin,
                                        uint32_t end);
void ei_depthwise_conv2d_s8_s8c_avx512vnni(const ei_depthwise_conv2d_s8_s8c_args *args,
                                           uint32_t begin, uint32_t end);
void ei_depthwise_conv2d_s8_s8c_neon(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin,
                                     uint32_t end);
void ei_depthwise_conv2d_s8_s8c_dotprod(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin,
                                        uint32_t end);

#endif
