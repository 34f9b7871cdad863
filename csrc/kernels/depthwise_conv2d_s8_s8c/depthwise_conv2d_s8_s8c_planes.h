/// How the tiers of x86 compute a depthwise convolution: planes of four interleaved rows.
///
/// Their multiplications sum neighbouring values, four bytes or two int16. So four input rows a, b,
/// c, d (a *group*: the rows of four taps of a kernel's column) are interleaved:
///
///     a0 b0 c0 d0 | a1 b1 c1 d1 | a2 b2 c2 d2 | a3 b3 c3 d3        a *four*: four flat bytes
///
/// Fours are dealt out to `deal` planes in turn, such that packing the sums of one register of each to
/// bytes brings them back in order. With deal 4, plane q has in 16-byte lane i flat bytes
/// 16 * i + 4 * q + 0 .. 3.
///
/// A tap kx is a distance of so many fours, hence another lane of the same plane or, where pixels are
/// not multiples of 16 bytes, of another one. Planes 0 and 1 are then repeated behind the last one, a
/// lane earlier, so that a tap's registers are always `pitch` bytes apart (`rotated`).
///
/// *Flat bytes* are the columns of a row that a run of output columns reads, channels of one block
/// only, zero points beside the image. Columns are ordered by their remainder modulo the stride (a
/// *span* each): output column ox finds tap kx at flat column ox + offset, whatever the stride.
///
/// A register set of sums covers a *unit* of flat bytes: 64 channels of a pixel, say. Pixels of other
/// sizes follow each other without gaps, and the weights of unit u are those of phase u modulo the
/// number of phases, which is what it takes for units and pixels to meet again. So lanes do not go
/// to waste, and at stride 1 units are plain runs of memory; else they are made of *pieces*.
///
/// Kernels of more than four rows take several groups, four rows apart. Groups start `spacing` rows
/// apart, 1, 2 or 4. An output row between starts uses weights moved down by `shift` rows, so that
/// as many output rows share a group as the rows that the last group has to spare. Groups are kept
/// for later output rows while there is room.
///
/// The geometry is in plain C; three functions of a tier do the work. Weights are interleaved once per
/// call and block, some 200 cycles per 64 channels of a 3x3 kernel.
#ifndef EI_KERNELS_DEPTHWISE_CONV2D_S8_S8C_PLANES_H
#define EI_KERNELS_DEPTHWISE_CONV2D_S8_S8C_PLANES_H

#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c.h"

enum {
    EI_DEPTHWISE_TABLE_BYTES = 16 * 1024, // of weights
    EI_DEPTHWISE_PLANE_BYTES = 28 * 1024, // most of the smallest L1 data cache that is common
    EI_DEPTHWISE_COLUMNS = 32,            // kernel_w
    EI_DEPTHWISE_QUADS = 64,              // kernel_w times kernel_h / 4, rounded up
    EI_DEPTHWISE_SLOTS = 16,              // groups that are kept
    EI_DEPTHWISE_PHASES = 16,
    EI_DEPTHWISE_LANES = 4, // 16 bytes each, in a unit
    EI_DEPTHWISE_UNIT = 64, // largest
    EI_DEPTHWISE_PIECES = 9 // of a unit: pixels are of at least 8 bytes
};

/// Columns of one remainder modulo the stride.
typedef struct ei_depthwise_span {
    size_t from;     // of the first column in the image: bytes from the start of a row
    size_t to;       // and its flat byte, a multiple of a unit
    int64_t columns; // in the image, from there on
    size_t base;     // flat byte of flat column 0, beside the image perhaps
} ei_depthwise_span;

/// A unit's bytes of one pixel. Pixels count from the first one of the unit's period.
typedef struct ei_depthwise_piece {
    uint64_t mask;   // of a unit's bytes
    size_t from, to; // of the period's first pixel: bytes in rows, and in y
    int64_t pixel;
    int32_t at, count; // bytes of the unit
} ei_depthwise_piece;

/// Eight bytes of a unit, as ei_depthwise_piece.
typedef struct ei_depthwise_eight {
    size_t from;
    int64_t pixel;
} ei_depthwise_eight;

/// 16 channels of a unit where output channels share input channels.
typedef struct ei_depthwise_lane {
    int32_t pixel;              // of the unit's
    int32_t in_first, in_count; // input channels, 1 to 16; 0 where there are none
} ei_depthwise_lane;

/// A column's four taps in a tile of packed weights: for each of them the group of four that it is in,
/// in bytes, and which bytes of a channel's four make up its four here (0x80: 0).
typedef struct ei_depthwise_quad {
    uint32_t from[4];
    uint32_t shuffle[4];
} ei_depthwise_quad;

/// Of a phase, as a unit's sums lie in registers.
typedef struct ei_depthwise_constants {
    _Alignas(64) int32_t bias[EI_DEPTHWISE_UNIT];
    _Alignas(64) float multiplier[EI_DEPTHWISE_UNIT];
} ei_depthwise_constants;

typedef struct ei_depthwise_block ei_depthwise_block;

/// A tier.
typedef struct ei_depthwise_tier {
    size_t unit;        // flat bytes
    size_t deal;        // planes that fours are dealt out to
    size_t value_bytes; // of an interleaved value: 1, or 2
    /// Fills table, bias and multiplier.
    void (*prepare)(ei_depthwise_block *block);
    /// Interleaves the image's columns of four rows.
    void (*interleave)(const ei_depthwise_block *block, uint8_t *planes,
                       const int8_t *const rows[4]);
    /// A row's columns [0, columns) from the planes of its groups, with the shift'th weights.
    void (*multiply)(const ei_depthwise_block *block, const uint8_t *const *groups, int32_t shift,
                     int8_t *y, int64_t columns);
} ei_depthwise_tier;

struct ei_depthwise_block {
    const ei_depthwise_conv2d_s8_s8c_args *args;
    const ei_depthwise_tier *tier;
    int32_t first, count;        // output channels
    int32_t width;               // flat bytes of a pixel, a multiple of 8
    int32_t plain_in;            // units are runs of bytes in rows of x ..
    int32_t plain_out;           // .. and in rows of y; if not, pieces
    size_t in_step, out_step;    // bytes from one plain unit to the next
    int32_t phases;              // of weights
    int32_t fours;               // kernel_h / 4, rounded up
    int32_t spacing, shift_step; // shifts are 0, shift_step .. below spacing
    int32_t shifts;              // how many of them
    int32_t slots;               // groups that there is room for
    int32_t span_count;
    int32_t span_of[EI_DEPTHWISE_COLUMNS]; // of tap kx
    int32_t columns;                       // output columns of the longest run
    size_t pitch;                          // bytes of a plane
    size_t group_bytes;                    // of its planes
    int64_t period;                        // pixels until phases begin anew
    int32_t piece_count[EI_DEPTHWISE_PHASES];
    ei_depthwise_piece pieces[EI_DEPTHWISE_PHASES][EI_DEPTHWISE_PIECES];
    ei_depthwise_eight eights[EI_DEPTHWISE_PHASES][EI_DEPTHWISE_UNIT / 8];
    ei_depthwise_lane lanes[EI_DEPTHWISE_LANES]; // multiplicity above 1: units of whole pixels
    ei_depthwise_span spans[EI_DEPTHWISE_COLUMNS];
    int64_t held[EI_DEPTHWISE_SLOTS];            // the row that a slot's group starts at
    int32_t laid_out;                            // spans and offsets are those of all columns
    ei_depthwise_quad quads[EI_DEPTHWISE_QUADS]; // [four][kx]
    int32_t large_multipliers;                   // some sum may scale beyond int32
    int32_t rotated;                             // half of the planes are repeated, see above
    size_t offsets[EI_DEPTHWISE_COLUMNS];        // of tap kx in a group: its first plane
    /// Where a unit's 16 output channels come from in a lane, by input channel.
    _Alignas(64) uint8_t lane_channels[EI_DEPTHWISE_UNIT];
    ei_depthwise_constants constants[EI_DEPTHWISE_PHASES];
    /// [phase][shift][four][kx] units of four taps, as sums lie in registers.
    _Alignas(64) uint8_t table[EI_DEPTHWISE_TABLE_BYTES];
    /// `slots` groups of planes. While weights are prepared: scratch.
    _Alignas(64) uint8_t planes[EI_DEPTHWISE_PLANE_BYTES + EI_DEPTHWISE_UNIT];
};

/// Computes rows [begin, end) of y with a tier, or with the scalar version where kernels are too
/// large for the buffers of a block.
void ei_depthwise_conv2d_s8_s8c_by_planes(const ei_depthwise_tier *tier,
                                          const ei_depthwise_conv2d_s8_s8c_args *args,
                                          uint32_t begin, uint32_t end);

#endif
