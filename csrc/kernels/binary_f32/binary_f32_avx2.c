#include "kernels/binary_f32/binary_f32_vectors.h"

EI_BINARY_F32(ei_binary_f32_avx2)
