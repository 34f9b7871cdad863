#include "kernels/math_f64.h"

#include <string.h>

#define EI_PI       0x1.921fb54442d18p+1
#define EI_INFINITY __builtin_inf()
#define EI_NAN      __builtin_nan("")

static int64_t bits_of(double x) {
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static double from_bits(int64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static double magnitude(double x) {
    return from_bits(bits_of(x) & INT64_MAX);
}
static double with_sign(double x, double sign) {
    return from_bits(bits_of(x) | (bits_of(sign) & INT64_MIN));
}
/// The nearest integer, |x| < 2^51.
static double nearest(double x) {
    return (x + 0x1.8p52) - 0x1.8p52;
}

/// c[0] x^(n - 1) + ... + c[n - 1]
static double polynomial(const double *c, int n, double x) {
    double p = c[0];
    for (int i = 1; i < n; i++) {
        p = p * x + c[i];
    }
    return p;
}

// x = n ln 2 + r. Taylor's series of r, of which what is left out is below 2^-47.
double ei_exp_f64(double x) {
    static const double taylor[] = {1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                    1.0 / 5040,     1.0 / 720,     1.0 / 120,    1.0 / 24,
                                    1.0 / 6,        1.0 / 2,       1.0,          1.0};
    if (!(magnitude(x) < 700.0)) { // far beyond float32
        return x != x ? x : (x > 0.0 ? EI_INFINITY : 0.0);
    }
    const double n = nearest(x * 0x1.71547652b82fep+0);
    const double r = (x - n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33;
    return polynomial(taylor, 12, r) * from_bits(((int64_t)n + 1023) << 52);
}

// x = m * 2^e with m from sqrt(1/2) to sqrt(2); with s = (m - 1) / (m + 1), log(m) = 2 (s + s^3/3 + ...).
double ei_log_f64(double x) {
    static const double taylor[] = {2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13, 2.0 / 11,
                                    2.0 / 9,  2.0 / 7,  2.0 / 5,  2.0 / 3,  2.0};
    if (!(x > 0.0) || x == EI_INFINITY) {
        return x == 0.0 ? -EI_INFINITY : (x > 0.0 ? x : EI_NAN);
    }
    const int64_t bits = bits_of(x) - bits_of(0x1.6a09e667f3bcdp-1);
    const double e = (double)(bits >> 52);
    const double m = from_bits((bits & 0xfffffffffffff) + bits_of(0x1.6a09e667f3bcdp-1));
    const double s = (m - 1.0) / (m + 1.0);
    return s * polynomial(taylor, 10, s * s) + e * 0x1.62e42fefa39efp-1;
}

/// sin(r) and cos(r), |r| <= pi / 4.
static double sine(double r) {
    static const double taylor[] = {
        -1.0 / 1307674368000, 1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880,
        -1.0 / 5040,          1.0 / 120,        -1.0 / 6,        1.0};
    return r * polynomial(taylor, 8, r * r);
}
static double cosine(double r) {
    static const double taylor[] = {1.0 / 20922789888000,
                                    -1.0 / 87178291200,
                                    1.0 / 479001600,
                                    -1.0 / 3628800,
                                    1.0 / 40320,
                                    -1.0 / 720,
                                    1.0 / 24,
                                    -1.0 / 2,
                                    1.0};
    return polynomial(taylor, 9, r * r);
}

// 2 / pi, 32 bits each; the first ones stand before the point.
static const uint32_t two_over_pi[] = {0,          0xa2f9836e, 0x4e441529, 0xfc2757d1,
                                       0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab};

/// x = quadrant * pi / 2 + the result, which is at most pi / 4 in magnitude. x is finite, a float32.
static double reduce_angle(double x, int *quadrant) {
    if (magnitude(x) < 0x1p20) {
        const double n = nearest(x * 0x1.45f306dc9c883p-1);
        *quadrant = (int)((int64_t)n & 3);
        return ((x - n * 0x1.921fb54400000p+0) - n * 0x1.0b4611a600000p-34) -
               n * 0x1.3198a2e037073p-69;
    }
    // Payne and Hanek: x = mantissa * 2^exponent times those 96 bits of 2 / pi that neither make
    // multiples of 4 nor are too small to matter.
    const int64_t bits = bits_of(x);
    const int exponent = (int)(bits >> 52 & 2047) - 1023 - 23; // -3 to 104
    const uint64_t mantissa = (uint64_t)((bits & 0xfffffffffffff) | INT64_C(1) << 52) >> 29;
    const int first = exponent + 30;
    uint64_t words[3];
    for (int i = 0; i < 3; i++) {
        const uint32_t *word = two_over_pi + first / 32 + i;
        words[i] = ((uint64_t)word[0] << 32 | word[1]) << (first % 32) >> 32;
    }
    const uint64_t low = words[2] * mantissa;
    const uint64_t middle = words[1] * mantissa + (low >> 32);
    const uint64_t high = words[0] * mantissa + (middle >> 32);
    const uint64_t turns = high << 32 | (middle & 0xffffffff);       // in units of 2^-62, modulo 4
    const double fraction = (double)(int64_t)(turns << 2) * 0x1p-64; // from -1/2 to 1/2
    const int whole = (int)((turns >> 62) + (turns >> 61 & 1));
    *quadrant = (bits < 0 ? -whole : whole) & 3;
    return (bits < 0 ? -fraction : fraction) * (EI_PI / 2);
}

/// sin(x + shift * pi / 2)
static double sine_of(double x, int shift) {
    if (x - x != 0.0) {
        return EI_NAN;
    }
    int quadrant;
    const double r = reduce_angle(x, &quadrant);
    quadrant += shift;
    const double y = (quadrant & 1) != 0 ? cosine(r) : sine(r);
    return (quadrant & 2) != 0 ? -y : y;
}

// atan(x) = atan(c) + atan((x - c) / (1 + x c)), c = k / 8 near x in [0, 1]; above 1 by the inverse.
static double arc_tangent(double x) {
    static const double tangents[] = {0.0,
                                      0x1.fd5ba9aac2f6ep-4,
                                      0x1.f5b75f92c80ddp-3,
                                      0x1.6f61941e4def1p-2,
                                      0x1.dac670561bb4fp-2,
                                      0x1.1e00babdefeb4p-1,
                                      0x1.4978fa3269ee1p-1,
                                      0x1.700a7c5784634p-1,
                                      0x1.921fb54442d18p-1};
    const double t = magnitude(x);
    const double within = t > 1.0 ? 1.0 / t : t;
    const int k = within == within ? (int)(within * 8.0 + 0.5) : 0;
    const double c = k * 0.125;
    const double r = (within - c) / (1.0 + within * c);
    const double z = r * r;
    static const double taylor[] = {1.0 / 13, -1.0 / 11, 1.0 / 9, -1.0 / 7, 1.0 / 5, -1.0 / 3, 1.0};
    const double angle = tangents[k] + r * polynomial(taylor, 7, z);
    return with_sign(t > 1.0 ? EI_PI / 2 - angle : angle, x);
}

static double square_root(double x) {
    return __builtin_sqrt(x);
}

static double arc_sine(double x) {
    const double rest = (1.0 - x) * (1.0 + x);
    return rest == 0.0 ? with_sign(EI_PI / 2, x) : arc_tangent(x / square_root(rest));
}

/// log(1 + e^x)
static double softplus(double x) {
    const double e = ei_exp_f64(x);
    if (x < -12.0) {
        return e - e * e * 0.5;
    }
    return x > 40.0 ? x : ei_log_f64(1.0 + e);
}

/// The result that float32 is rounded to; small arguments whose cancellation would show are left to
/// what the function is there, x.
static double apply(int32_t kind, double x) {
    const double t = magnitude(x);
    switch (kind) {
    case EI_F64_SIN: return t < 0x1p-14 ? x : sine_of(x, 0);
    case EI_F64_COS: return sine_of(x, 1);
    case EI_F64_TAN: return t < 0x1p-14 ? x : sine_of(x, 0) / sine_of(x, 1);
    case EI_F64_ASIN: return t < 0x1p-14 ? x : arc_sine(x);
    case EI_F64_ACOS: return EI_PI / 2 - arc_sine(x);
    case EI_F64_ATAN: return arc_tangent(x);
    case EI_F64_SINH: return t < 0x1p-14 ? x : (ei_exp_f64(x) - ei_exp_f64(-x)) * 0.5;
    case EI_F64_COSH: return (ei_exp_f64(x) + ei_exp_f64(-x)) * 0.5;
    case EI_F64_ASINH:
        return t < 0x1p-14 ? x : with_sign(ei_log_f64(t + square_root(x * x + 1.0)), x);
    case EI_F64_ACOSH: return x < 1.0 ? EI_NAN : ei_log_f64(x + square_root((x - 1.0) * (x + 1.0)));
    case EI_F64_ATANH:
        return t < 0x1p-14 ? x : with_sign(0.5 * ei_log_f64((1.0 + t) / (1.0 - t)), x);
    default: return softplus(x);
    }
}

/// The clamp, and a NaN made canonical.
static float finish(double value, float low, float high) {
    const float y = (float)value;
    const float raised = y < low ? low : y;
    const float lowered = raised > high ? high : raised;
    return lowered != lowered ? __builtin_nanf("") : lowered;
}

void ei_unary_f64(const float *x, float *y, size_t count, const ei_unary_f32_args *args) {
    for (size_t i = 0; i < count; i++) {
        y[i] = finish(apply(args->kind, (double)x[i]), args->clamp_min, args->clamp_max);
    }
}

static int is_integer(double x) {
    return magnitude(x) >= 0x1p52 || (double)(int64_t)x == x;
}
static int is_odd(double x) {
    return magnitude(x) < 0x1p53 && ((int64_t)x & 1) != 0;
}

/// IEEE 754's pow.
static double power(double a, double b) {
    if (b == 0.0 || a == 1.0) {
        return 1.0;
    }
    if (a != a || b != b) {
        return EI_NAN;
    }
    const double t = magnitude(a);
    if (t == 1.0 && magnitude(b) == EI_INFINITY) {
        return 1.0;
    }
    // Infinities and zeros come out right by themselves, but for signs: 0 has log -inf, and b is not 0.
    const double y = ei_exp_f64(b * ei_log_f64(t));
    if (bits_of(a) >= 0) {
        return y;
    }
    if (!is_integer(b)) {
        return t == 0.0 || t == EI_INFINITY ? y : EI_NAN;
    }
    return is_odd(b) ? -y : y;
}

/// a - trunc(a / b) * b, exactly: long division, 24 bits of the quotient at a time at most.
static double remainder_of(double a, double b) {
    double rest = magnitude(a);
    const double divisor = magnitude(b);
    if (rest - rest != 0.0 || divisor == 0.0 || b != b) {
        return EI_NAN;
    }
    while (rest >= divisor && divisor != EI_INFINITY) {
        double part = divisor;
        // Its exponent that of rest, or one less.
        const int64_t steps = (bits_of(rest) >> 52) - (bits_of(divisor) >> 52);
        part = from_bits(bits_of(part) + (steps << 52));
        part = part > rest ? from_bits(bits_of(part) - (INT64_C(1) << 52)) : part;
        rest -=
            part; // exact: both have at most 24 bits on a common grid, and part <= rest < 2 part
    }
    return with_sign(rest, a);
}

static double modulo(double a, double b) {
    const double rest = remainder_of(a, b);
    if (rest == 0.0) {
        return with_sign(0.0, b);
    }
    return (rest < 0.0) != (b < 0.0) ? rest + b : rest;
}

static double angle_of(double y, double x) {
    if (x != x || y != y) {
        return EI_NAN;
    }
    const double up = magnitude(y);
    const double right = magnitude(x);
    double angle = 0.0;
    if (up == right && up == EI_INFINITY) {
        angle = EI_PI / 4;
    } else if (up != 0.0) {
        angle = arc_tangent(up / right);
    }
    angle = bits_of(x) < 0 ? EI_PI - angle : angle;
    return with_sign(angle, y);
}

void ei_binary_f64(const ei_binary_run *run, const ei_binary_f32_args *args) {
    const float *a = run->a;
    const float *b = run->b;
    float *y = run->y;
    for (size_t i = 0; i < run->count; i++, a += run->a_step, b += run->b_step) {
        const double p = (double)*a;
        const double q = (double)*b;
        double value;
        switch (args->kind) {
        case EI_F32_POW: value = power(p, q); break;
        case EI_F32_FMOD: value = remainder_of(p, q); break;
        case EI_F32_MOD: value = modulo(p, q); break;
        default: value = angle_of(p, q); break;
        }
        y[i] = finish(value, args->clamp_min, args->clamp_max);
    }
}
