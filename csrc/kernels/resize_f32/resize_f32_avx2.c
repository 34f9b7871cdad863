#include "kernels/resize_f32/resize_f32_vectors.h"

EI_RESIZE_F32(ei_resize_f32_avx2)
