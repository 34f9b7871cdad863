// 4 pixels of 16 channels at a time.
#if defined(__aarch64__)
#define EI_DEPTHWISE_ROWS 4
#include "kernels/depthwise_conv2d_f32_f32/depthwise_conv2d_f32_f32_tile.h"

void ei_depthwise_conv2d_f32_f32_neon(const ei_depthwise_conv2d_f32_args *args, uint32_t begin,
                                      uint32_t end) {
    ei_depthwise_rows(args, begin, end);
}
#else
typedef int ei_depthwise_conv2d_f32_f32_is_not_on_32_bit;
#endif
