// 8 pixels of 16 channels at a time.
#define EI_DEPTHWISE_ROWS 8
#include "kernels/depthwise_conv2d_f32_f32/depthwise_conv2d_f32_f32_tile.h"

void ei_depthwise_conv2d_f32_f32_avx512vnni(const ei_depthwise_conv2d_f32_args *args,
                                            uint32_t begin, uint32_t end) {
    ei_depthwise_rows(args, begin, end);
}
