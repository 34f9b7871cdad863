/// Any depthwise convolution, 16 channels of one output pixel at a time: the scalar version, and what tiers
/// do with a depth multiplier, compiled with their fused multiply-add.
#ifndef EI_KERNELS_DEPTHWISE_CONV2D_F32_F32_PIXELS_H
#define EI_KERNELS_DEPTHWISE_CONV2D_F32_F32_PIXELS_H

#include "kernels/depthwise_conv2d_f32_f32/depthwise_conv2d_f32_f32.h"

static inline void ei_depthwise_add_tap(float acc[restrict EI_TILE_CHANNELS], const float *weights,
                                        const float *pixel, int32_t first, int32_t count,
                                        int32_t multiplicity) {
    for (int32_t n = 0; n < count; n++) {
        acc[n] = ei_exact_fma(pixel[(first + n) / multiplicity], weights[n], acc[n]);
    }
}

static inline void ei_depthwise_pixel(const ei_depthwise_conv2d_f32_args *args, float *y,
                                      uint32_t image, int64_t iy, int64_t ix) {
    const ei_window *w = &args->window;
    const float *weights = args->weights;
    for (int32_t o = 0; o < w->out_c; o += EI_TILE_CHANNELS) {
        const int32_t count = ei_tile_channels(o, w->out_c);
        float acc[EI_TILE_CHANNELS];
        ei_tile_start_f32(acc, args->bias + o);
        for (int32_t ky = 0; ky < w->kernel_h; ky++) {
            const float *row = (const float *)(const void *)ei_image_row(
                &args->x, image, iy + (int64_t)ky * w->dilation_h, (uint32_t)w->in_h,
                (const uint8_t *)args->zero);
            for (int32_t kx = 0; kx < w->kernel_w; kx++) {
                const int64_t column = ix + (int64_t)kx * w->dilation_w;
                const int inside = column >= 0 && column < w->in_w;
                const float *pixel = inside ? row + (size_t)column * (size_t)w->in_c : args->zero;
                ei_depthwise_add_tap(acc, weights, pixel, o, count, args->multiplicity);
                weights += EI_TILE_CHANNELS;
            }
        }
        ei_tile_store_f32(y + o, acc, count, args->bounds);
    }
}

static inline void ei_depthwise_by_pixels(const ei_depthwise_conv2d_f32_args *args, uint32_t begin,
                                          uint32_t end) {
    const ei_window *w = &args->window;
    for (uint32_t row = begin; row < end; row++) {
        const uint32_t image = row / (uint32_t)w->out_h;
        const int64_t iy = (int64_t)(row % (uint32_t)w->out_h) * w->stride_h - w->pad_top;
        float *y = (float *)(void *)ei_row(&args->y, row);
        for (int32_t ox = 0; ox < w->out_w; ox++) {
            ei_depthwise_pixel(args, y, image, iy, (int64_t)ox * w->stride_w - w->pad_left);
            y += w->out_c;
        }
    }
}

#endif
