// Where the time of a run goes, and which kernels a tier has.
#include <inttypes.h>

#include "base/error.h"
#include "edgeinfer.h"
#include "kernels/table.h"
#include "run/session.h"

ei_status ei_session_profile(ei_session *session, uint64_t *ticks, size_t count) {
    if (session == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "session is NULL");
    }
    const size_t needed = (size_t)session->program->step_count + 1;
    if (ticks != NULL && count < needed) {
        return ei_fail(EI_ERROR_ARGUMENT,
                       "count is %zu, must be %zu: one for the start and one for each step", count,
                       needed);
    }
    session->ticks = ticks;
    return EI_OK;
}

const char *ei_kernel_name(int index) {
    return ei_kernels_entry(index);
}

const char *ei_kernel_tier(const char *tier, int index) {
    const ei_kernels *kernels = tier == NULL ? NULL : ei_kernels_find(tier);
    return kernels == NULL ? NULL : ei_kernels_entry_tier(kernels, index);
}
