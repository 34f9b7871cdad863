// Pixels that follow each other in memory, multiplied one by one: pointwise convolutions at stride 1
// and fully connected layers. Some are brought into form at a time, where they have not got it, and
// multiplied by the weights of a block of output channels, which the L2 cache keeps for the pixels that
// follow.
#include "kernels/packed_gemm/packed_gemm.h"

#include <string.h>

#include "kernels/packed_tile.h"

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/// Copies `count` bytes that begin `offset` bytes after the beginning of row `row` into the patch.
static void copy_rows(const ei_packed_gemm *gemm, uint8_t *out, const ei_rows *x, uint32_t row,
                      size_t offset, size_t count) {
    row += (uint32_t)(offset / x->row_bytes);
    offset %= x->row_bytes;
    while (count > 0) {
        const uint32_t place = row % x->ring;
        const size_t run = smaller(count, (size_t)(x->ring - place) * x->row_bytes - offset);
        gemm->copy(out, (const int8_t *)x->base + (size_t)place * x->row_bytes + offset, run);
        out += run * gemm->value_bytes;
        count -= run;
        row += x->ring - place;
        offset = 0;
    }
}

/// Whole tiles of the largest kind, as many as stay in the cache; but not less than one while there is
/// room, for weights come from farther away.
static size_t pixels_at_a_time(size_t pixels, size_t pixel_step, size_t tile) {
    const size_t few = (EI_PATCH_FEW - EI_PATCH_SLACK) / pixel_step;
    const size_t room = (EI_PATCH_BYTES - EI_PATCH_SLACK) / pixel_step;
    const size_t most = few > tile ? few / tile * tile : smaller(room, tile);
    const size_t chunks = (pixels + most - 1) / most;
    const size_t even = (pixels + chunks - 1) / chunks;
    return smaller(most, (even + tile - 1) / tile * tile);
}

/// Whether rows of x lie one after the other, as a tier can multiply them.
static int multiplies_in_place(const ei_packed_gemm *gemm, const ei_pixel_rows *job, uint32_t row,
                               uint32_t count) {
    return gemm->reads_input && job->k % EI_TILE_K == 0 && count <= job->x.ring - row % job->x.ring;
}

/// Rows that lie one after the other in y.
static void multiply_run(const ei_packed_gemm *gemm, const ei_pixel_rows *job,
                         ei_packed_gemm_args *args, uint8_t *patch, uint32_t row, uint32_t count) {
    const size_t pixels = (size_t)count * job->pixels;
    const size_t chunk = pixels_at_a_time(pixels, args->pixel_step, gemm->tile_pixels);
    int8_t *y = args->y + (size_t)(row % job->y.ring) * job->y.row_bytes;
    ei_packed_gemm_args now = *args;
    const int in_place = multiplies_in_place(gemm, job, row, count);
    const uint8_t *values = in_place ? ei_row(&job->x, row) : patch;
    const size_t used = in_place ? 0 : (chunk * now.pixel_step + EI_PATCH_SLACK + 63) / 64 * 64;
    now.segments = &values;
    now.spare = patch + used;
    now.spare_bytes = EI_PATCH_BYTES - used;
    for (size_t first = 0; first < pixels; first += chunk) {
        now.pixels = smaller(chunk, pixels - first);
        if (!in_place) {
            copy_rows(gemm, patch, &job->x, row, first * job->k, now.pixels * job->k);
            memset(patch + now.pixels * now.pixel_step, 0, EI_PATCH_SLACK); // read, multiplied by 0
        }
        now.y = y + first * now.y_step;
        gemm->multiply(&now);
        now.spare_kept = 1;
        values += in_place ? now.pixels * job->k : 0;
    }
}

size_t ei_block_channels(size_t channels, size_t tile_bytes) {
    const size_t tiles = (channels + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
    const size_t in_cache = EI_BLOCK_BYTES / tile_bytes;
    const size_t most = in_cache < 4 ? 4 : smaller(in_cache, EI_PATCH_CHANNELS / EI_TILE_CHANNELS);
    const size_t blocks = (tiles + most - 1) / most;
    const size_t even = (tiles + blocks - 1) / blocks;
    return smaller((even + 1) / 2 * 2 * EI_TILE_CHANNELS, EI_PATCH_CHANNELS);
}

const ei_packed_gemm *ei_packed_gemm_for(const ei_packed_gemm *gemm, const float *multiplier,
                                         size_t channels) {
    int32_t large = 0;
    for (size_t first = 0; first < channels; first += EI_TILE_CHANNELS) {
        int32_t bits[EI_TILE_CHANNELS];
        memcpy(bits, multiplier + first, sizeof bits);
        for (int i = 0; i < EI_TILE_CHANNELS; i++) { // magnitudes are ordered as their bits are
            large |= (bits[i] & 0x7fffffff) >= 0x3f800000;
        }
    }
    return large && gemm->any_multiplier != NULL ? gemm->any_multiplier : gemm;
}

const ei_packed_gemm *ei_packed_gemm_taking(const ei_packed_gemm *gemm, const int8_t *weights,
                                            size_t bytes, size_t pixels) {
    const size_t few = 4; // who look at weights twice gain nothing
    const int taken = gemm->takes == NULL || (pixels >= few && gemm->takes(weights, bytes));
    return taken ? gemm : gemm->any_weights;
}

int ei_pixel_rows_fit(const ei_packed_gemm *gemm, size_t k) {
    return k <= (EI_PATCH_BYTES - EI_PATCH_SLACK) / gemm->value_bytes;
}

void ei_multiply_pixel_rows(const ei_packed_gemm *gemm, const ei_pixel_rows *job, uint32_t begin,
                            uint32_t end) {
    _Alignas(64) uint8_t patch[EI_PATCH_BYTES];
    _Alignas(64) int32_t bias[EI_PATCH_CHANNELS];
    ei_weights_ahead ahead = {.later = job->later};
    ei_packed_gemm_args args = {.segment_count = 1,
                                .groups = (job->k + EI_TILE_K - 1) / EI_TILE_K,
                                .pixel_step = job->k * gemm->value_bytes,
                                .weights = job->weights,
                                .tile_bytes = ei_segment_bytes(job->k),
                                .bias = bias,
                                .multiplier = job->multiplier,
                                .y = (int8_t *)job->y.base,
                                .y_step = job->y_step,
                                .requant = job->requant,
                                .ahead = &ahead};
    const size_t all_tiles = (job->n + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
    gemm = ei_packed_gemm_taking(gemm, job->weights, all_tiles * args.tile_bytes,
                                 (size_t)(end - begin) * job->pixels);
    ahead.end = job->weights + all_tiles * args.tile_bytes;
    const size_t block = ei_block_channels(job->n, args.tile_bytes);
    for (size_t first = 0; first < job->n; first += block) {
        args.channels = smaller(job->n - first, block);
        const size_t tiles = (args.channels + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
        ahead.next = args.weights + tiles * args.tile_bytes;
        gemm->bias(bias, job->bias + first, args.weights, tiles, args.tile_bytes);
        for (uint32_t row = begin; row < end;) {
            const uint32_t to_wrap = job->y.ring - row % job->y.ring;
            const uint32_t count = end - row < to_wrap ? end - row : to_wrap;
            multiply_run(gemm, job, &args, patch, row, count);
            row += count;
        }
        args.weights += tiles * args.tile_bytes;
        args.multiplier += block;
        args.y += block;
    }
}
