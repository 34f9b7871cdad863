#include "kernels/add/add_blocks.h"

EI_ADD_BLOCKS(add_s16, int16_t, int64_t)

void ei_add_s16_avx512vnni(const ei_binary_run *run, const ei_add_args *args) {
    ei_binary_in_blocks(run, sizeof(int16_t), add_s16, args);
}
