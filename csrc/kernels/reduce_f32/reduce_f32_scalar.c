#include "kernels/reduce_f32/reduce_f32_vectors.h"

EI_REDUCE_F32(ei_reduce_f32_scalar)
