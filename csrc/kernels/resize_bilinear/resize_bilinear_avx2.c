// vpmaddwd: left * (one - w) + right * w of interleaved left and right pixels, sixteen channels at a
// time. Where the last sixteen are not whole, they overlap the ones before. Pixels of fewer channels,
// and weights of so many bits that int32 does not hold the sums, are the scalar version's.
#include <immintrin.h>

#include "kernels/resize_bilinear/resize_bilinear.h"
#include "kernels/unroll.h"

#define EI_CHANNELS 16

// |v| + half <= 255 * 2^(2 * 11) + 2^21
#define EI_MAX_NARROW_BITS 11

typedef struct bilinear_constants {
    __m128i flip;  // makes x signed: the mean of x - 128 is the mean of x, less 128
    __m256i pair;  // weights of the left and the right pixel
    __m256i lower; // weight of the bottom row
    __m256i half, away;
    __m256i fraction_bits, shift;
} bilinear_constants;

EI_ALWAYS_INLINE __m256i load(const uint8_t *x, const bilinear_constants *c) {
    return _mm256_cvtepi8_epi16(_mm_xor_si128(_mm_loadu_si128((const __m128i *)x), c->flip));
}

/// Between t and b, to integers: t * (one - w) + b * w is t * one + (b - t) * w. Of negative values,
/// halves go down when one less than a half is added, which is away from zero.
EI_ALWAYS_INLINE __m256i between(__m256i t, __m256i b, const bilinear_constants *c) {
    const __m256i step = _mm256_mullo_epi32(_mm256_sub_epi32(b, t), c->lower);
    const __m256i v = _mm256_add_epi32(_mm256_sllv_epi32(t, c->fraction_bits), step);
    const __m256i less = _mm256_and_si256(_mm256_srai_epi32(v, 31), c->away);
    const __m256i shifted = _mm256_add_epi32(_mm256_add_epi32(v, c->half), less);
    return _mm256_srav_epi32(shifted, c->shift);
}

static void interpolate(const ei_resize_bilinear_args *args, uint8_t flip, int half_away) {
    const int32_t bits = args->fraction_bits;
    const int32_t one = 1 << bits;
    const size_t channels = args->channels;
    bilinear_constants c = {
        .flip = _mm_set1_epi8((char)flip),
        .lower = _mm256_set1_epi32(args->bottom_weight),
        .half = _mm256_set1_epi32(1 << (2 * bits - 1)),
        .away = _mm256_set1_epi32(half_away ? -1 : 0),
        .fraction_bits = _mm256_set1_epi32(bits),
        .shift = _mm256_set1_epi32(2 * bits),
    };
    const uint8_t *top = args->top;
    const uint8_t *bottom = args->bottom;
    for (size_t ox = 0; ox < args->width; ox++) {
        const int32_t *column = args->columns + 3 * ox;
        const size_t left = (size_t)column[0] * channels;
        const size_t right = (size_t)column[1] * channels;
        uint8_t *y = (uint8_t *)args->y + ox * channels;
        c.pair = _mm256_set1_epi32((one - column[2]) | column[2] << 16);
        for (size_t n = 0; n < channels; n += EI_CHANNELS) {
            const size_t at = n + EI_CHANNELS <= channels ? n : channels - EI_CHANNELS;
            const __m256i tl = load(top + left + at, &c);
            const __m256i tr = load(top + right + at, &c);
            const __m256i bl = load(bottom + left + at, &c);
            const __m256i br = load(bottom + right + at, &c);
            const __m256i low =
                between(_mm256_madd_epi16(_mm256_unpacklo_epi16(tl, tr), c.pair),
                        _mm256_madd_epi16(_mm256_unpacklo_epi16(bl, br), c.pair), &c);
            const __m256i high =
                between(_mm256_madd_epi16(_mm256_unpackhi_epi16(tl, tr), c.pair),
                        _mm256_madd_epi16(_mm256_unpackhi_epi16(bl, br), c.pair), &c);
            const __m256i words = _mm256_packs_epi32(low, high);
            const __m128i bytes =
                _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
            _mm_storeu_si128((__m128i *)(y + at), _mm_xor_si128(bytes, c.flip));
        }
    }
}

static int is_narrow(const ei_resize_bilinear_args *args) {
    return args->fraction_bits <= EI_MAX_NARROW_BITS && args->channels >= EI_CHANNELS;
}

void ei_resize_bilinear_s8_avx2(const ei_resize_bilinear_args *args) {
    if (is_narrow(args)) {
        interpolate(args, 0, args->half_away);
    } else {
        ei_resize_bilinear_s8_scalar(args);
    }
}

/// No sum of unsigned bytes is negative, so half_away changes nothing.
void ei_resize_bilinear_u8_avx2(const ei_resize_bilinear_args *args) {
    if (is_narrow(args)) {
        interpolate(args, 0x80, 0);
    } else {
        ei_resize_bilinear_u8_scalar(args);
    }
}
