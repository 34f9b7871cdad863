#include "kernels/layer_norm_f32/layer_norm_f32_vectors.h"

EI_LAYER_NORM_F32(ei_layer_norm_f32_avx2)
