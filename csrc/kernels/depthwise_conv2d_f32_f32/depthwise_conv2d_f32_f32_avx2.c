// 4 pixels of 16 channels at a time.
#define EI_DEPTHWISE_ROWS 4
#include "kernels/depthwise_conv2d_f32_f32/depthwise_conv2d_f32_f32_tile.h"

void ei_depthwise_conv2d_f32_f32_avx2(const ei_depthwise_conv2d_f32_args *args, uint32_t begin,
                                      uint32_t end) {
    ei_depthwise_rows(args, begin, end);
}
