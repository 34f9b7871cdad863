#include "ops/packed.h"

#include <inttypes.h>
#include <string.h>

#include "ops/check.h"

enum { TILE_CHANNELS = 16, TILE_K = 4, TILE_BYTES = TILE_CHANNELS * TILE_K };

static int64_t divide_up(int64_t value, int64_t divisor) {
    return (value + divisor - 1) / divisor;
}

static int has_nonzero(const int8_t *bytes, int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) {
        if (bytes[i] != 0) {
            return 1;
        }
    }
    return 0;
}

/// Whether the channels beyond the last one of a group, or the values beyond a segment's end, have a
/// weight. Looks at no other bytes: the rest of the weights need no check.
static int padding_is_zero(const int8_t *weights, const ei_packed_shape *shape) {
    const int64_t tiles = divide_up(shape->channels, TILE_CHANNELS);
    const int64_t blocks = divide_up(shape->length, TILE_K);
    const int64_t last_channels = shape->channels - (tiles - 1) * TILE_CHANNELS;
    const int64_t last_values = shape->length - (blocks - 1) * TILE_K;
    for (int64_t tile = 0; tile < shape->groups * tiles; tile++) {
        const int ends_group = tile % tiles == tiles - 1;
        for (int64_t segment = 0; segment < shape->segments; segment++) {
            const int8_t *first =
                weights + (tile * shape->segments + segment) * blocks * TILE_BYTES;
            if (ends_group && last_channels < TILE_CHANNELS) {
                for (int64_t block = 0; block < blocks; block++) {
                    if (has_nonzero(first + block * TILE_BYTES, last_channels * TILE_K,
                                    TILE_BYTES)) {
                        return 0;
                    }
                }
            }
            const int8_t *last = first + (blocks - 1) * TILE_BYTES;
            for (int64_t n = 0; n < TILE_CHANNELS && last_values < TILE_K; n++) {
                if (has_nonzero(last, n * TILE_K + last_values, (n + 1) * TILE_K)) {
                    return 0;
                }
            }
        }
    }
    return 1;
}

ei_status ei_check_packed(const ei_node *node, const ei_packed_shape *shape) {
    const ei_tensor_record *weights = ei_node_input(node, 1);
    const ei_tensor_record *bias = ei_node_input(node, 2);
    const ei_tensor_record *multiplier = ei_node_input(node, 3);
    const uint32_t bias_dtype = ei_node_input(node, 0)->dtype == EI_INT8 ? EI_INT32 : EI_INT64;

    // channels is below 2^36 and k below 2^56; their product is formed when both fit 31 bits.
    const int64_t channels =
        shape->groups * divide_up(shape->channels, TILE_CHANNELS) * TILE_CHANNELS;
    const int64_t k = shape->segments * divide_up(shape->length, TILE_K) * TILE_K;
    EI_TRY(ei_check_constant_elements(bias, "bias", bias_dtype, (uint64_t)channels));
    EI_TRY(ei_check_constant_elements(multiplier, "multiplier", EI_FLOAT32, (uint64_t)channels));
    if (k > EI_MAX_TENSOR_BYTES) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "weights: %" PRId64 " per output channel, must be at most %d", k,
                       EI_MAX_TENSOR_BYTES);
    }
    EI_TRY(ei_check_constant_elements(weights, "weights", EI_INT8, (uint64_t)(channels * k)));
    if (!padding_is_zero(ei_node_constant(node, weights), shape)) {
        return ei_fail(EI_ERROR_OPERATOR, "weights: padding of the packed layout is not zero");
    }
    return ei_check_finite_array(ei_node_constant(node, multiplier), (size_t)channels,
                                 "multiplier");
}

ei_status ei_check_zero_row(const ei_node *node, uint32_t input, uint32_t x_dtype,
                            uint64_t elements) {
    const ei_tensor_record *zero = ei_node_input(node, input);
    if (zero == NULL) {
        return EI_OK;
    }
    EI_TRY(ei_check_constant_elements(zero, "zero", x_dtype, elements));
    const uint8_t *bytes = ei_node_constant(node, zero);
    const size_t size = ei_dtype_bytes(x_dtype);
    // All are alike when each is like the one before it: one comparison of the row with itself.
    if (elements < 2 || memcmp(bytes, bytes + size, (size_t)(elements - 1) * size) == 0) {
        return EI_OK;
    }
    uint64_t i = 1;
    while (memcmp(bytes, bytes + i * size, size) == 0) {
        i++;
    }
    return ei_fail(EI_ERROR_OPERATOR, "zero: entry %" PRIu64 " differs from the first", i);
}

ei_status ei_check_packed_f32(const ei_node *node, const ei_packed_shape *shape, int half) {
    const ei_tensor_record *weights = ei_node_input(node, 1);
    const ei_tensor_record *bias = ei_node_input(node, 2);
    const int64_t channels =
        shape->groups * divide_up(shape->channels, TILE_CHANNELS) * TILE_CHANNELS;
    const int64_t k = shape->segments * shape->length; // as above: below 2^56
    EI_TRY(ei_check_constant_elements(bias, "bias", EI_FLOAT32, (uint64_t)channels));
    if (k > EI_MAX_TENSOR_BYTES) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "weights: %" PRId64 " per output channel, must be at most %d", k,
                       EI_MAX_TENSOR_BYTES);
    }
    EI_TRY(ei_check_constant(weights, "weights"));
    const uint32_t allowed = half ? EI_DTYPE_BIT(EI_FLOAT16) : 0;
    EI_TRY(ei_check_dtype(weights, "weights", EI_DTYPE_BIT(EI_FLOAT32) | allowed));
    return ei_check_constant_elements(weights, "weights", weights->dtype, (uint64_t)(channels * k));
}

static ei_status check_scales(const uint8_t *weights, const char *what, int64_t tiles,
                              size_t blocks, ei_f4_scheme scheme) {
    const uint8_t least_bad = scheme == EI_MXF4 ? 0xff : 0x7f; // NaN; of E4M3 negative ones too
    const size_t block_bytes = ei_f4_block_pieces(scheme) * EI_F4_PIECE_BYTES;
    for (int64_t tile = 0; tile < tiles; tile++) {
        for (size_t block = 0; block < blocks; block += EI_F4_GROUP) {
            for (size_t i = 0; i < EI_F4_SCALES_BYTES; i++) {
                if (weights[i] >= least_bad) {
                    return ei_fail(EI_ERROR_OPERATOR,
                                   "%s: scale %zu of block %zu of tile %" PRId64
                                   " is 0x%02x, must be below 0x%02x",
                                   what, i % TILE_CHANNELS, block + i / TILE_CHANNELS, tile,
                                   weights[i], least_bad);
                }
            }
            const size_t left = blocks - block;
            weights += EI_F4_SCALES_BYTES + (left < EI_F4_GROUP ? left : EI_F4_GROUP) * block_bytes;
        }
    }
    return EI_OK;
}

ei_status ei_check_packed_f4_values(const ei_node *node, const ei_tensor_record *weights,
                                    const char *what, const ei_tensor_record *multiplier,
                                    const ei_packed_shape *shape) {
    const int64_t tiles = shape->groups * divide_up(shape->channels, TILE_CHANNELS);
    EI_TRY(ei_check_constant_elements(multiplier, "multiplier", EI_FLOAT32,
                                      (uint64_t)tiles * TILE_CHANNELS));
    if (shape->length > EI_MAX_TENSOR_BYTES) {
        return ei_fail(EI_ERROR_OPERATOR, "%s: %" PRId64 " per output channel, must be at most %d",
                       what, shape->length, EI_MAX_TENSOR_BYTES);
    }
    EI_TRY(ei_check_dtype(weights, what, EI_DTYPE_BIT(EI_UINT8)));
    const ei_f4_scheme scheme = ei_weights_scheme(weights);
    if (scheme == EI_S8C) {
        return ei_fail(EI_ERROR_OPERATOR, "%s: are not of four bits in blocks", what);
    }
    const size_t blocks = (size_t)divide_up(shape->length, (int64_t)ei_f4_block(scheme));
    // At most 2^25 tiles, since the multiplier has values for all of them.
    EI_TRY(ei_check_constant_elements(weights, what, EI_UINT8,
                                      (uint64_t)tiles * ei_f4_bytes(blocks, scheme)));
    EI_TRY(check_scales(ei_node_constant(node, weights), what, tiles, blocks, scheme));
    return ei_check_finite_array(ei_node_constant(node, multiplier), (size_t)tiles * TILE_CHANNELS,
                                 "multiplier");
}

ei_status ei_check_packed_f4(const ei_node *node, const ei_packed_shape *shape) {
    const int64_t tiles = shape->groups * divide_up(shape->channels, TILE_CHANNELS);
    EI_TRY(ei_check_constant_elements(ei_node_input(node, 2), "bias", EI_FLOAT32,
                                      (uint64_t)tiles * TILE_CHANNELS));
    return ei_check_packed_f4_values(node, ei_node_input(node, 1), "weights",
                                     ei_node_input(node, 3), shape);
}

ei_status ei_check_packed_s8c_f32(const ei_node *node, const ei_packed_shape *shape) {
    const int64_t channels = divide_up(shape->channels, TILE_CHANNELS) * TILE_CHANNELS;
    const int64_t k = divide_up(shape->length, TILE_K) * TILE_K;
    EI_TRY(
        ei_check_constant_elements(ei_node_input(node, 2), "bias", EI_FLOAT32, (uint64_t)channels));
    const ei_tensor_record *multiplier = ei_node_input(node, 3);
    EI_TRY(ei_check_constant_elements(multiplier, "multiplier", EI_FLOAT32, (uint64_t)channels));
    if (k > EI_S8C_MOST_K) { // so that sums are exact, and a row fits the buffer
        return ei_fail(EI_ERROR_OPERATOR,
                       "weights: %" PRId64 " per output channel, must be at most %d", k,
                       EI_S8C_MOST_K);
    }
    EI_TRY(ei_check_constant_elements(ei_node_input(node, 1), "weights", EI_INT8,
                                      (uint64_t)(channels * k)));
    return ei_check_finite_array(ei_node_constant(node, multiplier), (size_t)channels,
                                 "multiplier");
}

ei_status ei_check_float_zero_row(const ei_node *node, uint32_t input, uint64_t elements) {
    const ei_tensor_record *zero = ei_node_input(node, input);
    if (zero == NULL) {
        return EI_OK;
    }
    EI_TRY(ei_check_zero_row(node, input, EI_FLOAT32, elements));
    static const float nothing = 0.0f;
    if (memcmp(ei_node_constant(node, zero), &nothing, sizeof nothing) != 0) {
        return ei_fail(EI_ERROR_OPERATOR, "zero: must be +0");
    }
    return EI_OK;
}

uint8_t ei_find_later_weights(const ei_bound_node *node, const ei_bound_node *end) {
    enum { NODES = 3, LEAST_BYTES = 4096 }; // what is smaller is read as fast without
    const ptrdiff_t left = end - node - 1;
    uint32_t largest = LEAST_BYTES - 1;
    uint8_t found = 0;
    for (uint8_t i = 1; i <= (left < NODES ? left : NODES); i++) {
        if (node[i].input_count < 2) {
            continue;
        }
        const ei_view *view = ei_input_view(&node[i], 1);
        if (view->base != NULL && ei_tensor_is_constant(view->tensor)) {
            const uint32_t bytes = ei_tensor_bytes(view->tensor);
            if (bytes > largest) {
                largest = bytes;
                found = i;
            }
        }
    }
    return found;
}

ei_work ei_packed_work(const ei_bound_node *node, uint64_t factor, int by_channels) {
    const ei_tensor_record *x = ei_input_view(node, 0)->tensor;
    const ei_tensor_record *y = ei_output_view(node, 0)->tensor;
    const uint32_t channels = (uint32_t)y->dims[y->rank - 1];
    const uint64_t pixels = ei_tensor_elements(y) / y->rows / channels;
    const uint64_t weights = ei_tensor_bytes(ei_input_view(node, 1)->tensor);
    // int16 activations are multiplied by plain C.
    const uint64_t slowness = factor * (x->dtype == EI_INT16 ? 16 : 1);
    const uint64_t row = pixels * weights; // below 2^62
    return (ei_work){.row = row > UINT64_MAX / slowness ? UINT64_MAX : row * slowness,
                     .channels = by_channels ? channels : 0,
                     .weight_bytes = weights,
                     .input_row_bytes = ei_tensor_bytes(x) / y->rows};
}
