// sdot: four products at once, of neighbouring bytes. So rows are interleaved by four (a *group*):
//
//     a0 b0 c0 d0 | a1 b1 c1 d1 | ...        16 bytes are four channels of four rows
//
// Where each byte of a unit is one of the image's pixel they are read where they are, and columns beside
// the image written once per band. Else they are copied first.
//
// Kernels of more than four rows take several groups. Groups start `spacing` rows apart, 1, 2 or 4: the
// rows that the last one has to spare let as many rows of output read the same groups, with weights moved
// down by `shift` rows.
#define EI_SPREAD 4
#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c_units.h"

enum { QUAD_BYTES = 4 * UNIT };

static int32_t fours_of(const dw_block *block) {
    return (block->args->window.kernel_h + 3) / 4;
}

static int reads_in_place(const dw_block *block) {
    return !block->flat && block->args->multiplicity == 1 && block->args->window.out_c >= UNIT;
}

static int plan_lines(dw_block *block) {
    const ei_window *w = &block->args->window;
    const int32_t fours = fours_of(block);
    const int32_t spare = 4 * fours - w->kernel_h;
    const int64_t quads = (int64_t)fours * w->kernel_w;
    if (quads * 4 > MAX_TAPS) {
        return 0;
    }
    block->lines = reads_in_place(block) ? 0 : 4 * fours;
    block->beside = 4 * fours;
    block->spacing = w->dilation_h > 1 || spare == 0 ? 1 : (spare == 3 ? 4 : 2);
    if (w->stride_h % block->spacing == 0) { // no row but the first would share a group
        block->spacing = 1;
    }
    block->shift_bytes = (size_t)quads * QUAD_BYTES;
    block->phase_bytes = (size_t)block->spacing * block->shift_bytes;
    if (block->phases * block->phase_bytes > WEIGHT_BYTES) {
        block->phase_bytes /= (size_t)block->spacing;
        block->spacing = 1;
    }
    return block->phases * block->phase_bytes <= WEIGHT_BYTES;
}

static void prepare(dw_block *block) {
    const ei_window *w = &block->args->window;
    const int32_t fours = fours_of(block);
    int8_t *taps = block->rows; // before there are rows
    block->places = 0;
    for (int32_t four = 0; four < fours; four++) {
        for (int32_t kx = 0; kx < w->kernel_w; kx++) {
            const size_t offset = (size_t)kx * (size_t)w->dilation_w * block->width * EI_SPREAD;
            block->at[block->places++] = (dw_place){(uint32_t)four, (uint32_t)offset};
        }
    }
    for (size_t phase = 0; phase < block->phases; phase++) {
        int8_t *out = block->weights + phase * block->phase_bytes;
        gather(block, phase, (size_t)w->kernel_h * (size_t)w->kernel_w, taps);
        for (int32_t shift = 0; shift < block->spacing; shift++) {
            for (size_t quad = 0; quad < block->places; quad++) {
                const int32_t top = 4 * (int32_t)block->at[quad].line - shift;
                const int32_t kx = (int32_t)quad % w->kernel_w;
                int8x16x4_t rows;
                EI_UNROLL
                for (int i = 0; i < 4; i++) {
                    const int32_t ky = top + i;
                    const int exists = ky >= 0 && ky < w->kernel_h;
                    rows.val[i] =
                        exists ? vld1q_s8(taps + (ky * w->kernel_w + kx) * UNIT) : vdupq_n_s8(0);
                }
                vst4q_s8(out, rows);
                out += QUAD_BYTES;
            }
        }
    }
}

/// Groups lie behind the rows. Each may write a little of the next one, which comes later.
static int8_t *group_of(dw_block *block, size_t four) {
    return block->rows + ((size_t)block->slots + EI_SPREAD * four) * block->slot_bytes;
}

static void interleave(const dw_block *block, int8_t *to, const int8_t *const rows[4]) {
    const size_t bytes = block->x_columns * block->width;
    const int8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    for (const int8_t *end = a + bytes; a < end; a += UNIT, b += UNIT, c += UNIT, d += UNIT) {
        const int8x16x4_t abcd = {{vld1q_s8(a), vld1q_s8(b), vld1q_s8(c), vld1q_s8(d)}};
        vst4q_s8(to, abcd);
        to += QUAD_BYTES;
    }
}

/// As interleave(), from where rows are in the image: the columns inside it.
static void interleave_inside(const dw_block *block, int8_t *to, const int8_t *const rows[4]) {
    const size_t step = (size_t)block->args->window.in_c;
    const size_t end = block->from + block->inside * step;
    to += block->left * QUAD_BYTES;
    const int8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    size_t at = block->from;
    for (; at + step < end; at += 2 * step) {
        const int8x16x4_t first = {
            {vld1q_s8(a + at), vld1q_s8(b + at), vld1q_s8(c + at), vld1q_s8(d + at)}};
        vst4q_s8(to, first);
        to += QUAD_BYTES;
        const size_t next = at + step;
        const int8x16x4_t second = {
            {vld1q_s8(a + next), vld1q_s8(b + next), vld1q_s8(c + next), vld1q_s8(d + next)}};
        vst4q_s8(to, second);
        to += QUAD_BYTES;
    }
    if (at < end) {
        const int8x16x4_t abcd = {
            {vld1q_s8(a + at), vld1q_s8(b + at), vld1q_s8(c + at), vld1q_s8(d + at)}};
        vst4q_s8(to, abcd);
    }
}

/// Writes the columns beside the image, which interleave_inside() leaves as they are.
static void fill_beside(dw_block *block) {
    const size_t right = block->x_columns - block->left - block->inside;
    if (block->left + right == 0) {
        return;
    }
    const int8x16_t zeros = vdupq_n_s8(block->args->zero[0]);
    for (int32_t four = 0; four < fours_of(block); four++) {
        int8_t *group = group_of(block, (size_t)four);
        fill(group, zeros, block->left * QUAD_BYTES);
        fill(group + (block->left + block->inside) * QUAD_BYTES, zeros, right * QUAD_BYTES);
    }
}

static void find_values(dw_block *block, uint32_t image, int64_t top,
                        const int8_t *values[MAX_TAPS]) {
    const ei_window *w = &block->args->window;
    const int64_t start = top & -(int64_t)block->spacing;
    block->shift = (int32_t)(top - start);
    const int in_place = block->lines == 0;
    if (block->held_group < 0) { // the band's first: groups stay where they are
        for (size_t i = 0; i < block->places; i++) {
            values[i] = group_of(block, block->at[i].line) + block->at[i].offset;
        }
        if (in_place) {
            fill_beside(block);
        }
    }
    if (block->held_group != start) {
        block->held_group = start;
        for (int32_t four = 0; four < fours_of(block); four++) {
            const int8_t *rows[4];
            for (int32_t i = 0; i < 4; i++) {
                const int32_t line = 4 * four + i;
                const int64_t row = start + (int64_t)line * w->dilation_h;
                // Weights of rows that are none of the band's are 0.
                const int64_t above = row < block->high ? row : block->high;
                const int64_t near = above > block->low ? above : block->low;
                rows[i] =
                    in_place ? image_row(block, image, near) : fetch_line(block, image, near, line);
            }
            if (in_place) {
                interleave_inside(block, group_of(block, (size_t)four), rows);
            } else {
                interleave(block, group_of(block, (size_t)four), rows);
            }
        }
    }
}

/// As below, for kernels of three columns side by side: a column of the image is loaded once for all
/// units that read it.
EI_ALWAYS_INLINE void add_three_columns(const dw_block *block, dw_sums *acc,
                                        const int8_t *const *values, const int8_t *w, size_t x,
                                        const int STRIDE, const int COUNT) {
    for (size_t quad = 0; quad < block->places; quad += 3) {
        const int8_t *from = values[quad] + x;
        EI_UNROLL
        for (int half = 0; half < 4; half += 2) { // a pair of registers: a load of both
            int8x16_t weights[3][2];
            EI_UNROLL
            for (int kx = 0; kx < 3; kx++) {
                weights[kx][0] = vld1q_s8(w + kx * QUAD_BYTES + half * UNIT);
                weights[kx][1] = vld1q_s8(w + kx * QUAD_BYTES + half * UNIT + UNIT);
            }
            EI_UNROLL
            for (int column = 0; column < (COUNT - 1) * STRIDE + 3; column++) {
                const int8_t *at = from + column * QUAD_BYTES + half * UNIT;
                const int8x16_t first = vld1q_s8(at), second = vld1q_s8(at + UNIT);
                EI_UNROLL
                for (int u = 0; u < COUNT; u++) {
                    const int kx = column - u * STRIDE;
                    if (kx >= 0 && kx < 3) {
                        int32x4_t *sums = acc[u].of + half;
                        sums[0] = vdotq_s32(sums[0], first, weights[kx][0]);
                        sums[1] = vdotq_s32(sums[1], second, weights[kx][1]);
                    }
                }
            }
        }
        w += 3 * QUAD_BYTES;
    }
}

EI_ALWAYS_INLINE void add_products(const dw_block *block, dw_sums *acc, const int8_t *const *values,
                                   const int8_t *w, size_t x, size_t x_step, const int COUNT) {
    if (block->nearby == 2 && COUNT > 1) {
        add_three_columns(block, acc, values, w, x, 2, COUNT);
        return;
    }
    if (block->nearby != 0) {
        add_three_columns(block, acc, values, w, x, 1, COUNT);
        return;
    }
    for (size_t quad = 0; quad < block->places; quad++) {
        const int8_t *from = values[quad] + x;
        EI_UNROLL
        for (int u = 0; u < COUNT; u++) {
            EI_UNROLL
            for (int i = 0; i < 4; i++) {
                acc[u].of[i] =
                    vdotq_s32(acc[u].of[i], vld1q_s8(from + i * UNIT), vld1q_s8(w + i * UNIT));
            }
            from += x_step;
        }
        w += QUAD_BYTES;
    }
}

void ei_depthwise_conv2d_s8_s8c_dotprod(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin,
                                        uint32_t end) {
    convolve(args, begin, end);
}
