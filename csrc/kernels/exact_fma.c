#include "kernels/exact_fma.h"

#if !EI_HAS_FMA
#include <stdint.h>
#include <string.h>

// The product of two float32 is exact in float64. Their sum with c is rounded to odd there: a sum that
// was not exact gets an odd last bit, so that the second rounding, to float32, sees on which side of a
// tie the exact sum lies (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008).
float ei_exact_fma(float a, float b, float c) {
    const double product = (double)a * (double)b;
    const double addend = (double)c;
    double sum = product + addend;
    const double rest = sum - product;
    const double error = (product - (sum - rest)) + (addend - rest); // exact; NaN beside infinities
    if (error > 0.0 || error < 0.0) {
        int64_t bits;
        memcpy(&bits, &sum, sizeof bits);
        if ((bits & 1) == 0) {
            bits += (error > 0.0) == (sum > 0.0) ? 1 : -1;
            memcpy(&sum, &bits, sizeof bits);
        }
    }
    return (float)sum;
}
#endif
