#include "kernels/softmax_f32/softmax_f32_vectors.h"

EI_SOFTMAX_F32(ei_softmax_f32_avx512vnni)
