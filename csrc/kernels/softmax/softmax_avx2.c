#include "kernels/softmax/softmax_blocks.h"

EI_SOFTMAX(ei_softmax_s8_avx2, largest_s8, int8_t, ei_exponential_s8)
