#include "kernels/unary_f32/unary_f32_vectors.h"

EI_UNARY_F32(ei_unary_f32_scalar)
