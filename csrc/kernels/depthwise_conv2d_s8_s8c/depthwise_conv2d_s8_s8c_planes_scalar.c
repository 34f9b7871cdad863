// Geometry of planes: blocks of channels, runs of columns that fit the buffers, and which group of
// rows is interleaved when. No vectors here: the tiers that multiply planes share it.
#include <string.h>

#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c_planes.h"
#include "kernels/packed_tile.h"

enum { LANE = EI_TILE_CHANNELS }; // bytes

static int64_t between(int64_t low, int64_t value, int64_t high) {
    return value < low ? low : (value > high ? high : value);
}

/// `step` is a power of two.
static size_t round_up(size_t value, size_t step) {
    return (value + step - 1) & ~(step - 1);
}

/// Divisions take as long as a dozen multiplications of vectors, and most strides are 1.
static int64_t divide(int64_t value, int32_t by) {
    return by == 1 ? value : value / by;
}

static int32_t greatest_common_divisor(int32_t a, int32_t b) {
    while (b != 0) {
        const int32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// --- blocks

/// Flat columns that a run of output columns reads, of one span.
static int64_t flat_columns(const ei_window *w, int64_t columns) {
    return columns + divide((int64_t)(w->kernel_w - 1) * w->dilation_w, w->stride_w);
}

/// Flat bytes of a span. Its first column in the image starts a unit.
static size_t span_bytes(const ei_depthwise_block *block, int64_t columns) {
    const size_t unit = block->tier->unit;
    const int64_t flat = flat_columns(&block->args->window, columns);
    return round_up((size_t)flat * (size_t)block->width, unit) + unit;
}

/// Output columns of which `slots` groups fit. A register that begins in the last of them may read
/// another unit.
static int64_t columns_that_fit(const ei_depthwise_block *block) {
    const ei_depthwise_tier *tier = block->tier;
    const uint32_t unit = (uint32_t)tier->unit;
    const uint32_t planes = (block->rotated ? 6 : 4) * (uint32_t)tier->value_bytes; // per flat byte
    const uint32_t flat = EI_DEPTHWISE_PLANE_BYTES / ((uint32_t)block->slots * planes);
    if (flat < 2 * unit) {
        return 0;
    }
    const uint32_t span = (flat - unit) / (uint32_t)block->span_count & ~(unit - 1);
    if (span < 2 * unit) {
        return 0;
    }
    const int64_t columns = (span - unit) / (uint32_t)block->width;
    return columns - flat_columns(&block->args->window, 0);
}

/// Chooses the spacing of groups for so many rows of output.
static void plan_groups(ei_depthwise_block *block, uint32_t rows) {
    const ei_window *w = &block->args->window;
    const int32_t spare = 4 * block->fours - w->kernel_h;
    block->spacing = w->dilation_h > 1 || spare == 0 ? 1 : (spare == 3 ? 4 : 2);
    while ((uint32_t)block->spacing > rows) {
        block->spacing /= 2;
    }
    block->shift_step = greatest_common_divisor(w->stride_h, block->spacing);
    if (block->shift_step == block->spacing) { // shifts would all be 0
        block->spacing = block->shift_step = 1;
    }
    block->shifts = block->spacing / block->shift_step;
    block->slots = block->fours;
    if (w->dilation_h == 1) {
        block->slots += (block->fours - 1) * (4 / block->spacing - 1);
    }
}

/// Whether weights, scratch and at least `least` columns of `width` flat bytes fit the buffers.
static int plan_columns(ei_depthwise_block *block, int32_t width, int64_t least) {
    const ei_window *w = &block->args->window;
    const ei_depthwise_tier *tier = block->tier;
    const int32_t unit = (int32_t)tier->unit;
    block->width = width;
    block->rotated = tier->deal > 2 && width % LANE != 0;
    block->phases = width / greatest_common_divisor(width, unit);
    const size_t taps = (size_t)block->fours * (size_t)w->kernel_w;
    const size_t tables = (size_t)block->phases * (size_t)block->shifts;
    const size_t scratch = (taps + 2) * round_up((size_t)width, LANE) * 4;
    if (block->phases > EI_DEPTHWISE_PHASES || scratch > EI_DEPTHWISE_PLANE_BYTES ||
        tables * taps * 4 * tier->unit * tier->value_bytes > EI_DEPTHWISE_TABLE_BYTES ||
        block->slots > EI_DEPTHWISE_SLOTS) {
        return 0;
    }
    const int64_t columns = columns_that_fit(block);
    if (columns < least) {
        return 0;
    }
    block->columns = w->out_w;
    if (columns < w->out_w) { // runs of about the same length
        const int64_t runs = (w->out_w + columns - 1) / columns;
        block->columns = (int32_t)((w->out_w + runs - 1) / runs);
    }
    return 1;
}

/// As plan_columns(), giving up what saves time until it fits.
static int plan_width(ei_depthwise_block *block, int32_t width, int64_t least, uint32_t rows) {
    plan_groups(block, rows);
    if (plan_columns(block, width, least)) {
        return 1;
    }
    plan_groups(block, 1);
    if (plan_columns(block, width, least)) {
        return 1;
    }
    if (least > 1) { // there is another width to try
        return 0;
    }
    block->slots = block->fours; // groups are not kept
    return plan_columns(block, width, least);
}

/// Spans: what taps' columns leave as remainders.
static void plan_spans(ei_depthwise_block *block) {
    const ei_window *w = &block->args->window;
    block->span_count = 0;
    for (int32_t kx = 0; kx < w->kernel_w; kx++) {
        block->span_of[kx] = 0;
        if (kx == 0 || w->stride_w == 1) {
            block->span_count = 1;
            continue;
        }
        const int32_t remainder = kx * w->dilation_w % w->stride_w;
        int32_t before = 0;
        while (before < kx && before * w->dilation_w % w->stride_w != remainder) {
            before++;
        }
        block->span_of[kx] = before < kx ? block->span_of[before] : block->span_count++;
    }
}

/// What units are made of.
static void plan_pieces(ei_depthwise_block *block) {
    const ei_window *w = &block->args->window;
    const int32_t multiplicity = block->args->multiplicity;
    const int32_t unit = (int32_t)block->tier->unit;
    const size_t step = (size_t)w->stride_w * (size_t)w->in_c;
    const int one_to_one = block->width == block->count && block->width == unit;
    const int contiguous = block->count == w->out_c && block->width == w->out_c;
    block->plain_out = one_to_one || contiguous;
    block->plain_in = multiplicity == 1 && (one_to_one || (contiguous && w->stride_w == 1));
    block->out_step = contiguous ? (size_t)unit : (size_t)w->out_c;
    block->in_step = contiguous && w->stride_w == 1 ? (size_t)unit : step;
    block->period = block->phases * unit / block->width;
    if (block->plain_in && block->plain_out) {
        return;
    }
    for (int32_t phase = 0; phase < block->phases; phase++) {
        int32_t pieces = 0;
        for (int32_t at = 0; at < unit;) {
            const int32_t pixel = (phase * unit + at) / block->width;
            const int32_t channel = phase * unit + at - pixel * block->width;
            const int32_t flat =
                unit - at < block->width - channel ? unit - at : block->width - channel;
            const int32_t count = (int32_t)between(0, block->count - channel, flat);
            if (count > 0) {
                block->pieces[phase][pieces++] = (ei_depthwise_piece){
                    .mask = UINT64_MAX >> (64 - count) << at,
                    .from = (size_t)pixel * step + (size_t)channel,
                    .to = (size_t)pixel * (size_t)w->out_c + (size_t)channel,
                    .pixel = pixel,
                    .at = at,
                    .count = count,
                };
            }
            at += flat;
        }
        block->piece_count[phase] = pieces;
        for (int32_t i = 0; i < unit / 8; i++) {
            const int32_t pixel = (phase * unit + 8 * i) / block->width;
            const int32_t channel = phase * unit + 8 * i - pixel * block->width;
            block->eights[phase][i] = (ei_depthwise_eight){
                .from = (size_t)pixel * step + (size_t)channel,
                .pixel = pixel,
            };
        }
    }
}

/// What input channels units are made of, where output channels share them. Pixels are of one, two
/// or four lanes.
static void plan_lanes(ei_depthwise_block *block) {
    const int32_t multiplicity = block->args->multiplicity;
    const int32_t tiles = block->width / LANE;
    for (int32_t i = 0; i < (int32_t)block->tier->unit / LANE; i++) {
        ei_depthwise_lane *lane = &block->lanes[i];
        const int32_t first = block->first + i % tiles * LANE;
        const int32_t count = (int32_t)between(0, block->first + block->count - first, LANE);
        lane->pixel = i / tiles;
        lane->in_first = first / multiplicity;
        lane->in_count = count == 0 ? 0 : (first + count - 1) / multiplicity - lane->in_first + 1;
        for (int32_t n = 0; n < LANE; n++) {
            const int32_t channel = (first + n) / multiplicity - lane->in_first;
            block->lane_channels[i * LANE + n] = (uint8_t)(n < count ? channel : 0);
        }
    }
}

/// Where the weights of a column's four taps are in a tile.
static void plan_quads(ei_depthwise_block *block) {
    const ei_window *w = &block->args->window;
    ei_depthwise_quad *quad = block->quads;
    for (int32_t four = 0; four < block->fours; four++) {
        for (int32_t kx = 0; kx < w->kernel_w; kx++) {
            for (int32_t i = 0; i < 4; i++) {
                const int exists = 4 * four + i < w->kernel_h;
                const uint32_t tap = (uint32_t)(exists ? (4 * four + i) * w->kernel_w + kx : 0);
                const uint32_t byte = exists ? tap % EI_TILE_K : 0x80;
                quad->from[i] = tap / EI_TILE_K * EI_TILE_BYTES;
                quad->shuffle[i] =
                    (UINT32_C(0x80808080) & ~(UINT32_C(0xff) << 8 * i)) | byte << 8 * i;
            }
            quad++;
        }
    }
}

/// The block that starts at channel `first`: all channels if they fit, or a unit's, or what is left.
/// 0 when it does not fit.
static int plan_block(ei_depthwise_block *block, int32_t first, uint32_t rows) {
    const ei_window *w = &block->args->window;
    const int32_t unit = (int32_t)block->tier->unit;
    const int32_t left = w->out_c - first;
    const int32_t multiplicity = block->args->multiplicity;
    block->first = first;
    if (first == 0 || block->width != unit || left < unit) { // not as the one before
        block->laid_out = 0;
        block->count = left;
        const int64_t halo = flat_columns(w, 0);
        const int64_t few = 2 * halo + 4 < w->out_w ? 2 * halo + 4 : w->out_w;
        int32_t width = (left + 7) / 8 * 8;
        if (multiplicity > 1) {
            width = left > unit / 2 ? unit : (left > LANE ? 2 * LANE : LANE);
        }
        // Pixels of any width pay up to two units of channels; beyond, few units would share a phase.
        const int any =
            multiplicity == 1 && width % unit != 0 && width < (w->stride_w == 1 ? 2 : 1) * unit;
        if (!any || !plan_width(block, width, few, rows)) {
            width = any ? unit : (width < unit ? width : unit);
            block->count = left < width ? left : width;
            if (!plan_width(block, width, 1, rows)) {
                return 0;
            }
        }
        plan_pieces(block);
    }
    if (multiplicity > 1) {
        plan_lanes(block);
    }
    return 1;
}

// --- columns

/// Where the columns are that output columns [ox, ox + columns) read.
static void lay_out_columns(ei_depthwise_block *block, int32_t ox, int64_t columns) {
    const ei_window *w = &block->args->window;
    const ei_depthwise_tier *tier = block->tier;
    const int64_t width = block->width;
    const size_t bytes = span_bytes(block, columns);
    const int64_t flat = flat_columns(w, columns);
    const size_t flat_row = (size_t)block->span_count * bytes + tier->unit;
    block->pitch = flat_row * tier->value_bytes;
    block->group_bytes = (block->rotated ? 6 : 4) * block->pitch;
    for (int32_t kx = 0; kx < w->kernel_w; kx++) {
        const int64_t tap = divide((int64_t)kx * w->dilation_w, w->stride_w);
        const int64_t remainder = (int64_t)kx * w->dilation_w - tap * w->stride_w;
        ei_depthwise_span *span = &block->spans[block->span_of[kx]];
        const int64_t column = (int64_t)ox * w->stride_w - w->pad_left + remainder;
        // Of flat columns: those left of the image, and those before its right end.
        const int64_t reach = column < 0 ? divide(w->stride_w - 1 - column, w->stride_w) : 0;
        const int64_t before = between(0, reach, flat);
        const int64_t right = w->in_w - column + w->stride_w - 1;
        const int64_t end = between(before, right < 0 ? 0 : divide(right, w->stride_w), flat);
        span->columns = end - before;
        span->from = 0;
        if (end > before) {
            span->from = (size_t)(column + before * w->stride_w) * (size_t)w->in_c;
        }
        span->to =
            (size_t)block->span_of[kx] * bytes + round_up((size_t)(before * width), tier->unit);
        span->base = span->to - (size_t)(before * width);
        const size_t four = (span->base + (size_t)(tap * width)) / 4;
        block->offsets[kx] = (four & (tier->deal - 1)) * block->pitch + four / tier->deal * LANE;
    }
}

/// The groups of the window that starts at row `top` of the padded image, of which rows [low, high] are
/// those that the band reads.
static int32_t find_groups(ei_depthwise_block *block, const uint8_t **groups, uint32_t image,
                           int64_t top, int64_t low, int64_t high) {
    const ei_window *w = &block->args->window;
    const int64_t start = top & -(int64_t)block->spacing; // a power of two
    const int keep = block->slots > block->fours;
    if (block->spacing == 1 && !keep) { // and none of the window's
        high = between(low, top + (int64_t)(w->kernel_h - 1) * w->dilation_h, high);
    }
    for (int32_t four = 0; four < block->fours; four++) {
        const int64_t row = start + (int64_t)(4 * four) * w->dilation_h;
        const uint32_t slot =
            keep ? (uint32_t)row / (uint32_t)block->spacing % (uint32_t)block->slots
                 : (uint32_t)four;
        uint8_t *planes = block->planes + (size_t)slot * block->group_bytes;
        groups[four] = planes;
        if (block->held[slot] == row) {
            continue;
        }
        block->held[slot] = row;
        const int8_t *rows[4];
        for (int32_t i = 0; i < 4; i++) { // weights of rows that are none of the band's are 0
            const int64_t y = between(low, row + (int64_t)i * w->dilation_h, high) - w->pad_top;
            rows[i] = (const int8_t *)ei_image_row(&block->args->x, image, y, (uint32_t)w->in_h,
                                                   (const uint8_t *)block->args->zero);
        }
        block->tier->interleave(block, planes, rows);
    }
    return (int32_t)(top - start) >> (block->shift_step - 1); // a step of 1 or 2
}

/// Writes zero points everywhere: groups leave what is beside the image as it is.
static void fill_planes(ei_depthwise_block *block) {
    const size_t bytes = (size_t)block->slots * block->group_bytes;
    const int8_t zero_point = block->args->zero[0];
    const size_t unit = EI_DEPTHWISE_UNIT;
    if (block->tier->value_bytes == 1) {
        memset(block->planes, zero_point ^ 0x80, bytes);
        return;
    }
    for (size_t i = 0; i < unit; i += 2) {
        const int16_t value = zero_point;
        memcpy(block->planes + i, &value, sizeof value);
    }
    for (size_t i = unit; i < bytes; i += unit) {
        memcpy(block->planes + i, block->planes, unit);
    }
}

/// Rows [begin, end) of output columns [ox, ox + columns).
static void convolve_columns(ei_depthwise_block *block, int32_t ox, int64_t columns, uint32_t begin,
                             uint32_t end) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    const ei_window *w = &args->window;
    if (!block->laid_out) {
        lay_out_columns(block, ox, columns);
        block->laid_out = columns == w->out_w; // further blocks find it done
    }
    if (args->zero != NULL) {
        fill_planes(block);
    }
    const size_t y_offset = (size_t)ox * (size_t)w->out_c + (size_t)block->first;
    int64_t low = 0, high = 0;
    uint32_t image = begin / (uint32_t)w->out_h;
    int64_t oy = begin % (uint32_t)w->out_h;
    const int64_t out_h = w->out_h;
    for (uint32_t row = begin; row < end; row++) {
        if (row == begin || ++oy == out_h) {
            image += row != begin;
            oy = row == begin ? oy : 0;
            const int64_t rows = (int64_t)(end - row) < w->out_h - oy ? end - row : w->out_h - oy;
            low = oy * w->stride_h;
            high = low + (rows - 1) * w->stride_h + (int64_t)(w->kernel_h - 1) * w->dilation_h;
            for (int32_t i = 0; i < block->slots; i++) {
                block->held[i] = -1;
            }
        }
        const uint8_t *groups[EI_DEPTHWISE_QUADS];
        const int32_t shift = find_groups(block, groups, image, oy * w->stride_h, low, high);
        block->tier->multiply(block, groups, shift, (int8_t *)ei_row(&args->y, row) + y_offset,
                              columns);
    }
}

void ei_depthwise_conv2d_s8_s8c_by_planes(const ei_depthwise_tier *tier,
                                          const ei_depthwise_conv2d_s8_s8c_args *args,
                                          uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    ei_depthwise_block block;
    block.args = args;
    block.tier = tier;
    block.fours = (w->kernel_h + 3) / 4;
    const uint32_t rows = end - begin;
    const int planned =
        w->kernel_w <= EI_DEPTHWISE_COLUMNS && block.fours * w->kernel_w <= EI_DEPTHWISE_QUADS;
    if (planned) {
        plan_spans(&block);
        plan_quads(&block);
    }
    for (int32_t first = 0; first < w->out_c; first += block.count) {
        // Blocks become narrower, never wider: when one does not fit, it is the first.
        if (!planned || !plan_block(&block, first, rows)) {
            ei_depthwise_conv2d_s8_s8c_scalar(args, begin, end);
            return;
        }
        tier->prepare(&block);
        for (int32_t ox = 0; ox < w->out_w; ox += block.columns) {
            const int32_t rest = w->out_w - ox;
            convolve_columns(&block, ox, rest < block.columns ? rest : block.columns, begin, end);
        }
    }
}
