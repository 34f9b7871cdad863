/// The x86 tiers of batch_matmul_s8_s8. Both zero points are taken away before the product, so that
/// it is one of int16, two values of K at a time (vpmaddwd, vpdpwssd). Neither operand is known
/// beforehand: 32 columns of b are brought into a panel on the stack,
///
///     [K/2][32][2]  int16     column 0: k0 k1 | column 1: k0 k1 | ...
///
/// which all rows of a then meet, a few of them at a time, widened as well. An odd K ends in a zero.
/// Sums of 64 rows x 32 columns stay on the stack while K is longer than a panel.
#ifndef EI_KERNELS_BATCH_MATMUL_S8_S8_PANELS_H
#define EI_KERNELS_BATCH_MATMUL_S8_S8_PANELS_H

#include <stddef.h>

#include "kernels/batch_matmul_s8_s8/batch_matmul_s8_s8.h"

#define EI_PANEL_COLUMNS 32
#define EI_PANEL_K       256 // even; 16 KiB of int16
#define EI_PANEL_ROWS    64  // a multiple of the rows of any tile

/// sums[row][column] += a . panel, modulo 2^32, for the tier's number of rows. `columns` of the panel
/// are wanted, 1 to 32; the others may be computed or not. Rows of a are EI_PANEL_K apart.
typedef void (*ei_panel_tile_fn)(const int16_t *a, const int16_t *panel, size_t pairs,
                                 size_t columns, int32_t *sums);

/// The whole product, by tiles of `tile_rows`.
void ei_batch_matmul_s8_s8_panels(const ei_batch_matmul_s8_s8_args *args, ei_panel_tile_fn tile,
                                  size_t tile_rows);

#endif
