// The reference.
#include "kernels/depthwise_conv2d_f32_f32/depthwise_conv2d_f32_f32_pixels.h"

void ei_depthwise_conv2d_f32_f32_scalar(const ei_depthwise_conv2d_f32_args *args, uint32_t begin,
                                        uint32_t end) {
    ei_depthwise_by_pixels(args, begin, end);
}
