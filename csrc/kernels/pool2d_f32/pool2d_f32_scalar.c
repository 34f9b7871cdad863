#include "kernels/pool2d_f32/pool2d_f32_vectors.h"

EI_POOL2D_F32(ei_pool2d_f32_scalar)
