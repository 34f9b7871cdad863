/// Transposed copies by unpacking. Sixteen bytes at a time although the tier has 32: an unpacking
/// stays within halves of 16, so longer vectors would only move the work to loads and stores.
///
/// A block has V lines of E = 16 / element_bytes elements (V <= E, both powers of two) in V vectors.
/// Unpacking vector i with vector i + V / 2, for each i, turns the bits of an element's number
/// around by one:
///
///     number of an element = (line v_1 v_0 | position e_2 e_1 e_0)  ->  (v_0 e_2 | e_1 e_0 v_1)
///
/// so that log2(V) such steps leave the lines interleaved, element by element, and log2(E) steps
/// undo that. Lengths that blocks do not divide end in a block that overlaps the one before.
#include <immintrin.h>

#include "kernels/move/move.h"
#include "kernels/move/run.h"
#include "kernels/unroll.h"

typedef __m128i (*ei_unpack)(__m128i a, __m128i b);

EI_ALWAYS_INLINE __m128i low1(__m128i a, __m128i b) {
    return _mm_unpacklo_epi8(a, b);
}
EI_ALWAYS_INLINE __m128i high1(__m128i a, __m128i b) {
    return _mm_unpackhi_epi8(a, b);
}
EI_ALWAYS_INLINE __m128i low2(__m128i a, __m128i b) {
    return _mm_unpacklo_epi16(a, b);
}
EI_ALWAYS_INLINE __m128i high2(__m128i a, __m128i b) {
    return _mm_unpackhi_epi16(a, b);
}
EI_ALWAYS_INLINE __m128i low4(__m128i a, __m128i b) {
    return _mm_unpacklo_epi32(a, b);
}
EI_ALWAYS_INLINE __m128i high4(__m128i a, __m128i b) {
    return _mm_unpackhi_epi32(a, b);
}

EI_ALWAYS_INLINE void turn(__m128i *v, int count, int steps, ei_unpack low, ei_unpack high) {
    EI_UNROLL
    for (int step = 0; step < steps; step++) {
        __m128i next[16];
        EI_UNROLL
        for (int i = 0; i < count / 2; i++) {
            next[2 * i] = low(v[i], v[i + count / 2]);
            next[2 * i + 1] = high(v[i], v[i + count / 2]);
        }
        EI_UNROLL
        for (int i = 0; i < count; i++) {
            v[i] = next[i];
        }
    }
}

EI_ALWAYS_INLINE __m128i load(const uint8_t *x) {
    return _mm_loadu_si128((const __m128i *)(const void *)x);
}
EI_ALWAYS_INLINE void store(uint8_t *y, __m128i v) {
    _mm_storeu_si128((__m128i *)(void *)y, v);
}

/// Sixteen bytes that lie in pieces of 4, 8 or 16, `step` bytes from one to the next.
EI_ALWAYS_INLINE __m128i load_pieces(const uint8_t *x, ptrdiff_t step, int piece) {
    if (piece == 16) {
        return load(x);
    }
    if (piece == 8) {
        return _mm_unpacklo_epi64(_mm_loadu_si64(x), _mm_loadu_si64(x + step));
    }
    const __m128i front = _mm_unpacklo_epi32(_mm_loadu_si32(x), _mm_loadu_si32(x + step));
    const __m128i back =
        _mm_unpacklo_epi32(_mm_loadu_si32(x + 2 * step), _mm_loadu_si32(x + 3 * step));
    return _mm_unpacklo_epi64(front, back);
}

EI_ALWAYS_INLINE void store_pieces(uint8_t *y, ptrdiff_t step, int piece, __m128i v) {
    if (piece == 16) {
        store(y, v);
    } else if (piece == 8) {
        _mm_storeu_si64(y, v);
        _mm_storeu_si64(y + step, _mm_unpackhi_epi64(v, v));
    } else {
        _mm_storeu_si32(y, v);
        _mm_storeu_si32(y + step, _mm_shuffle_epi32(v, 1));
        _mm_storeu_si32(y + 2 * step, _mm_shuffle_epi32(v, 2));
        _mm_storeu_si32(y + 3 * step, _mm_shuffle_epi32(v, 3));
    }
}

/// Lines of x become columns of y, or columns of x lines of y. Steps are in bytes: from one line of x
/// along which elements are contiguous to the next, and the same of y.
typedef void (*ei_block_fn)(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step);

#define EI_INTERLEAVE(name, lines, steps, piece, size)                                             \
    static void name(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {           \
        __m128i v[lines];                                                                          \
        EI_UNROLL                                                                                  \
        for (int i = 0; i < (lines); i++) {                                                        \
            v[i] = load(x + i * x_step);                                                           \
        }                                                                                          \
        turn(v, lines, steps, low##size, high##size);                                              \
        EI_UNROLL                                                                                  \
        for (int i = 0; i < (lines); i++) {                                                        \
            store_pieces(y + i * (16 / (piece)) * y_step, y_step, piece, v[i]);                    \
        }                                                                                          \
    }
#define EI_PART(name, lines, steps, piece, size)                                                   \
    static void name(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {           \
        __m128i v[lines];                                                                          \
        EI_UNROLL                                                                                  \
        for (int i = 0; i < (lines); i++) {                                                        \
            v[i] = load_pieces(x + i * (16 / (piece)) * x_step, x_step, piece);                    \
        }                                                                                          \
        turn(v, lines, steps, low##size, high##size);                                              \
        EI_UNROLL                                                                                  \
        for (int i = 0; i < (lines); i++) {                                                        \
            store(y + i * y_step, v[i]);                                                           \
        }                                                                                          \
    }

EI_INTERLEAVE(transpose16_b1, 16, 4, 16, 1)
EI_INTERLEAVE(interleave8_b1, 8, 3, 8, 1)
EI_INTERLEAVE(interleave4_b1, 4, 2, 4, 1)
EI_PART(part8_b1, 8, 4, 8, 1)
EI_PART(part4_b1, 4, 4, 4, 1)
EI_INTERLEAVE(transpose8_b2, 8, 3, 16, 2)
EI_INTERLEAVE(interleave4_b2, 4, 2, 8, 2)
EI_PART(part4_b2, 4, 3, 8, 2)
EI_INTERLEAVE(transpose4_b4, 4, 2, 16, 4)

/// Two lines of 16 bytes, to be 32 bytes one behind another.
static void interleave2_b1(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {
    (void)y_step;
    const __m128i a = load(x);
    const __m128i b = load(x + x_step);
    store(y, _mm_unpacklo_epi8(a, b));
    store(y + 16, _mm_unpackhi_epi8(a, b));
}

/// And back.
static void part2_b1(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {
    (void)x_step;
    const __m128i a = load(x);
    const __m128i b = load(x + 16);
    const __m128i low = _mm_set1_epi16(0xff);
    store(y, _mm_packus_epi16(_mm_and_si128(a, low), _mm_and_si128(b, low)));
    store(y + y_step, _mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8)));
}

/// For each of three vectors made of three, which byte of theirs comes from where, 0x80 where from
/// none: to interleave 16 bytes of three lines, or to part three times 16 bytes.
#define X 0x80
static const uint8_t interleave3_bytes[3][3][16] = {
    {{0, X, X, 1, X, X, 2, X, X, 3, X, X, 4, X, X, 5},
     {X, 0, X, X, 1, X, X, 2, X, X, 3, X, X, 4, X, X},
     {X, X, 0, X, X, 1, X, X, 2, X, X, 3, X, X, 4, X}},
    {{X, X, 6, X, X, 7, X, X, 8, X, X, 9, X, X, 10, X},
     {5, X, X, 6, X, X, 7, X, X, 8, X, X, 9, X, X, 10},
     {X, 5, X, X, 6, X, X, 7, X, X, 8, X, X, 9, X, X}},
    {{X, 11, X, X, 12, X, X, 13, X, X, 14, X, X, 15, X, X},
     {X, X, 11, X, X, 12, X, X, 13, X, X, 14, X, X, 15, X},
     {10, X, X, 11, X, X, 12, X, X, 13, X, X, 14, X, X, 15}},
};
static const uint8_t part3_bytes[3][3][16] = {
    {{0, 3, 6, 9, 12, 15, X, X, X, X, X, X, X, X, X, X},
     {X, X, X, X, X, X, 2, 5, 8, 11, 14, X, X, X, X, X},
     {X, X, X, X, X, X, X, X, X, X, X, 1, 4, 7, 10, 13}},
    {{1, 4, 7, 10, 13, X, X, X, X, X, X, X, X, X, X, X},
     {X, X, X, X, X, 0, 3, 6, 9, 12, 15, X, X, X, X, X},
     {X, X, X, X, X, X, X, X, X, X, X, 2, 5, 8, 11, 14}},
    {{2, 5, 8, 11, 14, X, X, X, X, X, X, X, X, X, X, X},
     {X, X, X, X, X, 1, 4, 7, 10, 13, X, X, X, X, X, X},
     {X, X, X, X, X, X, X, X, X, X, 0, 3, 6, 9, 12, 15}},
};
#undef X

/// The same of elements of 4 bytes: of the n-th one, and of none.
#define E(n) (0x03020100 + 0x04040404u * (n))
#define X    0x80808080u
static const uint32_t interleave3_words[3][3][4] = {
    {{E(0), X, X, E(1)}, {X, E(0), X, X}, {X, X, E(0), X}},
    {{X, X, E(2), X}, {E(1), X, X, E(2)}, {X, E(1), X, X}},
    {{X, E(3), X, X}, {X, X, E(3), X}, {E(2), X, X, E(3)}},
};
static const uint32_t part3_words[3][3][4] = {
    {{E(0), E(3), X, X}, {X, X, E(2), X}, {X, X, X, E(1)}},
    {{E(1), X, X, X}, {X, E(0), E(3), X}, {X, X, X, E(2)}},
    {{E(2), X, X, X}, {X, E(1), X, X}, {X, X, E(0), E(3)}},
};
#undef X
#undef E

/// Three vectors made of three. Here 32 bytes do pay: twice 16 of them, `half` bytes apart.
EI_ALWAYS_INLINE void shuffle3(const uint8_t *from, const uint8_t *x, ptrdiff_t x_step,
                               ptrdiff_t x_half, uint8_t *y, ptrdiff_t y_step, ptrdiff_t y_half) {
    __m256i v[3];
    EI_UNROLL
    for (int i = 0; i < 3; i++) {
        const uint8_t *at = x + i * x_step;
        v[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load(at)), load(at + x_half), 1);
    }
    EI_UNROLL
    for (int i = 0; i < 3; i++) {
        __m256i all = _mm256_setzero_si256();
        EI_UNROLL
        for (int j = 0; j < 3; j++) {
            const __m256i bytes = _mm256_broadcastsi128_si256(load(from + (i * 3 + j) * 16));
            all = _mm256_or_si256(all, _mm256_shuffle_epi8(v[j], bytes));
        }
        store(y + i * y_step, _mm256_castsi256_si128(all));
        store(y + i * y_step + y_half, _mm256_extracti128_si256(all, 1));
    }
}

/// Three lines of 32 bytes, to be 96 bytes one behind another; and back.
#define EI_INTERLEAVE3(name, from)                                                                 \
    static void name(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {           \
        (void)y_step;                                                                              \
        shuffle3((const uint8_t *)(from), x, x_step, 16, y, 16, 48);                               \
    }
#define EI_PART3(name, from)                                                                       \
    static void name(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {           \
        (void)x_step;                                                                              \
        shuffle3((const uint8_t *)(from), x, 16, 48, y, y_step, 16);                               \
    }

EI_INTERLEAVE3(interleave3_b1, interleave3_bytes)
EI_INTERLEAVE3(interleave3_b4, interleave3_words)
EI_PART3(part3_b1, part3_bytes)
EI_PART3(part3_b4, part3_words)

/// Covers the array with blocks. In x, where rows are contiguous, whole cache lines at a time.
static void copy_blocks(const ei_copy2d_args *args, ei_block_fn block, size_t block_rows,
                        size_t block_columns) {
    const ptrdiff_t size = (ptrdiff_t)args->element_bytes;
    const uint8_t *x = args->x;
    uint8_t *y = args->y;
    const ptrdiff_t x_step = args->x_column_step * size;
    const ptrdiff_t y_step = args->y_row_step * size;
    const size_t last_row = args->rows - block_rows;
    const size_t last_column = args->columns - block_columns;
    const size_t line = 64 / args->element_bytes;
    for (size_t top = 0; top < args->rows; top += line) {
        const size_t bottom = args->rows - top < line ? args->rows : top + line;
        for (size_t column = 0; column < args->columns; column += block_columns) {
            const size_t j = column < last_column ? column : last_column;
            for (size_t row = top; row < bottom; row += block_rows) {
                const size_t i = row < last_row ? row : last_row;
                block(x + (ptrdiff_t)i * size + (ptrdiff_t)j * x_step, x_step,
                      y + (ptrdiff_t)i * y_step + (ptrdiff_t)j * size, y_step);
            }
        }
    }
}

/// A kind of block, and the arrays that it suits: at least as large; where it has two or three rows
/// or columns, with just as many, side by side.
typedef struct ei_block {
    uint32_t element_bytes, rows, columns;
    ei_block_fn copy;
} ei_block;

/// The first that suits is taken.
static const ei_block blocks[] = {
    {1, 16, 16, transpose16_b1}, {1, 32, 3, interleave3_b1}, {1, 3, 32, part3_b1},
    {1, 16, 2, interleave2_b1},  {1, 2, 16, part2_b1},       {1, 16, 8, interleave8_b1},
    {1, 8, 16, part8_b1},        {1, 16, 4, interleave4_b1}, {1, 4, 16, part4_b1},
    {2, 8, 8, transpose8_b2},    {2, 8, 4, interleave4_b2},  {2, 4, 8, part4_b2},
    {4, 4, 4, transpose4_b4},    {4, 8, 3, interleave3_b4},  {4, 3, 8, part3_b4},
};

static int suits(const ei_block *block, const ei_copy2d_args *args) {
    if (block->element_bytes != args->element_bytes || block->rows > args->rows ||
        block->columns > args->columns) {
        return 0;
    }
    if (block->columns < 4) {
        return block->columns == args->columns && args->y_row_step == (ptrdiff_t)args->columns;
    }
    return block->rows >= 4 ||
           (block->rows == args->rows && args->x_column_step == (ptrdiff_t)args->rows);
}

void ei_copy2d_avx2(const ei_copy2d_args *args) {
    if (args->x_row_step == 1 && args->x_column_step != 1) {
        for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
            if (suits(&blocks[i], args)) {
                copy_blocks(args, blocks[i].copy, blocks[i].rows, blocks[i].columns);
                return;
            }
        }
    }
    ei_copy2d_scalar(args);
}
