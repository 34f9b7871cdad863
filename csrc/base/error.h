/// The thread's last error message.
#ifndef EI_BASE_ERROR_H
#define EI_BASE_ERROR_H

#include "edgeinfer.h"

/// Formats the message of this thread's last error and returns `status`, so that a check can `return ei_fail(...)`.
__attribute__((format(printf, 2, 3))) ei_status ei_fail(ei_status status, const char *format, ...);

/// Puts text in front of the message: who noticed it adds where it was. Returns `status`.
__attribute__((format(printf, 2, 3))) ei_status ei_fail_in(ei_status status, const char *format,
                                                           ...);

/// Returns from the calling function when the call fails.
#define EI_TRY(call)                                                                               \
    do {                                                                                           \
        const ei_status ei_try_status = (call);                                                    \
        if (ei_try_status != EI_OK)                                                                \
            return ei_try_status;                                                                  \
    } while (0)

#endif
