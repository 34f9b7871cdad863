// Rows in chunks that a buffer holds; for each, output channels in pieces whose sums another one holds.
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4_rows.h"

#include <string.h>

enum {
    VALUES = 16 * EI_F4_MOST_BLOCKS, // of rows; whole groups of 4 blocks of either scheme
    SUMS = 2048,
};

typedef struct ei_f4_buffer {
    int8_t values[VALUES];
    float sums[SUMS];
} ei_f4_buffer;

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/// Rows at a time: whole register tiles where there are as many.
static size_t rows_at_once(size_t padded, size_t rows) {
    const size_t fit = least(least(VALUES / padded, EI_F4_MOST_ROWS), rows);
    return fit >= 8 ? fit / 8 * 8 : (fit >= 4 ? 4 : fit);
}

/// Values [k, k + count) of `rows` rows, zeros up to a whole block behind them.
static void load_rows(const ei_f4_rows *job, ei_f4_buffer *buffer, size_t first, size_t rows,
                      size_t k, size_t count, size_t step) {
    for (size_t slot = 0; slot < rows; slot++) {
        int8_t *out = buffer->values + slot * step;
        job->load(job, slot, first + slot, k, count, out);
        memset(out + count, 0, step - count);
    }
}

static void start_sums(const ei_f4_rows *job, float *sums, size_t rows, size_t n, size_t channels) {
    for (size_t slot = 0; slot < rows; slot++) {
        if (job->start != NULL) {
            memcpy(sums + slot * channels, job->start + n, channels * sizeof(float));
        } else {
            memset(sums + slot * channels, 0, channels * sizeof(float));
        }
    }
}

/// Rows [first, first + rows), all channels.
static void multiply_chunk(const ei_f4_rows *job, ei_f4_buffer *buffer, size_t first, size_t rows) {
    const size_t block = ei_f4_block(job->scheme);
    const size_t all_blocks = round_up(job->k, block) / block;
    const size_t tile_bytes = ei_f4_bytes(all_blocks, job->scheme);
    const int whole = job->k <= VALUES;
    const size_t pair =
        2 * EI_TILE_CHANNELS; // as tiers like to have them; 64 rows leave room for one
    const size_t piece = SUMS / rows / pair * pair;
    if (whole) {
        load_rows(job, buffer, first, rows, 0, job->k, all_blocks * block);
    }
    for (size_t n = 0; n < job->n; n += piece) {
        const size_t channels = least(piece, round_up(job->n - n, EI_TILE_CHANNELS));
        start_sums(job, buffer->sums, rows, n, channels);
        for (size_t k = 0; k < job->k; k += VALUES) {
            const size_t count = least(VALUES, job->k - k);
            const size_t padded = round_up(count, block);
            if (!whole) {
                load_rows(job, buffer, first, rows, k, count, padded);
            }
            const ei_packed_gemm_s8_f4_args args = {.x = buffer->values,
                                                    .x_step = padded,
                                                    .rows = rows,
                                                    .blocks = padded / block,
                                                    .weights = job->weights +
                                                               n / EI_TILE_CHANNELS * tile_bytes +
                                                               ei_f4_bytes(k / block, job->scheme),
                                                    .tile_bytes = tile_bytes,
                                                    .tiles = channels / EI_TILE_CHANNELS,
                                                    .sums = buffer->sums,
                                                    .sum_step = channels,
                                                    .scheme = job->scheme};
            job->gemm(&args);
        }
        for (size_t slot = 0; slot < rows; slot++) {
            job->store(job, slot, first + slot, n, least(channels, job->n - n),
                       buffer->sums + slot * channels);
        }
    }
}

void ei_multiply_rows_f4(const ei_f4_rows *job) {
    ei_f4_buffer buffer;
    const size_t padded = round_up(job->k, ei_f4_block(job->scheme));
    for (size_t row = 0; row < job->rows;) {
        const size_t rows = padded > VALUES ? 1 : rows_at_once(padded, job->rows - row);
        multiply_chunk(job, &buffer, row, rows);
        row += rows;
    }
}
