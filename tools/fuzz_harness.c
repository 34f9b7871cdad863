// Opens and runs files that it reads from standard input, built with sanitizers: the target of tools/fuzz.py.
//
// Protocol: a little-endian uint32 length and so many bytes, over and over; for each file one byte comes back on standard
// output: the ei_status of the first step that failed (0: the model opened and ran). A finding ends the process.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edgeinfer.h"
#include "scale_op.h"

#define MAX_FILE_BYTES    (64u << 20)
#define MAX_SESSION_BYTES ((size_t)64 << 20) // larger plans are legal, but not worth the time here
#define SECONDS_ALLOWED   20

static int read_exactly(void *target, size_t bytes) {
    return fread(target, 1, bytes, stdin) == bytes;
}

// Fills caller-side inputs with a fixed pattern that holds small and extreme values.
static void fill(uint8_t *target, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        target[i] = (uint8_t)(i * 37u + (i >> 3));
}

static ei_status run_with_caller_memory(const ei_model *model, ei_session *session) {
    ei_status status = EI_ERROR_MEMORY;
    uint32_t inputs = ei_model_input_count(model, 0), outputs = ei_model_output_count(model, 0);
    void **in = calloc(inputs + 1u, sizeof *in), **out = calloc(outputs + 1u, sizeof *out);
    ei_tensor_info info;
    if (!in || !out)
        goto done;
    // Exactly sized blocks, so that a byte too many is seen.
    for (uint32_t i = 0; i < inputs; i++) {
        if (ei_model_input(model, 0, i, &info) != EI_OK || !(in[i] = malloc(info.bytes)))
            goto done;
        fill(in[i], info.bytes);
    }
    for (uint32_t i = 0; i < outputs; i++) {
        if (ei_model_output(model, 0, i, &info) != EI_OK || !(out[i] = malloc(info.bytes)))
            goto done;
    }
    status = ei_session_run(session, (const void *const *)in, out);
done:
    for (uint32_t i = 0; in && i < inputs; i++)
        free(in[i]);
    for (uint32_t i = 0; out && i < outputs; i++)
        free(out[i]);
    free(in);
    free(out);
    return status;
}

/// Gives the inputs by one to three rows at a time, each chunk in a block of its own size.
static ei_status run_by_rows(const ei_model *model, ei_session *session) {
    const uint32_t inputs = ei_model_input_count(model, 0);
    ei_status status = ei_session_begin(session, NULL);
    for (uint32_t turn = 0; status == EI_OK; turn++) {
        const uint32_t input = ei_session_next_input(session);
        ei_input_rows rows;
        if (input >= inputs || ei_model_input_rows(model, 0, input, &rows) != EI_OK)
            break;
        const uint32_t left = ei_session_rows_left(session, input);
        const uint32_t count = left < 1 + turn % 3 ? left : 1 + turn % 3;
        uint8_t *chunk = malloc(count * rows.row_bytes);
        if (!chunk)
            return EI_ERROR_MEMORY;
        fill(chunk, count * rows.row_bytes);
        uint32_t taken = 0;
        status = ei_session_feed(session, input, chunk, count, &taken);
        free(chunk);
        if (status == EI_OK && taken == 0)
            abort(); // the input that is waited for is the one that gave nothing
    }
    return status;
}

static ei_status open_and_run(const uint8_t *data, size_t bytes) {
    size_t model_bytes = 0, session_bytes = 0;
    ei_model *model = NULL;
    ei_session *session = NULL;
    void *model_memory = NULL, *session_memory = NULL;
    ei_status status = ei_model_size(data, bytes, &model_bytes);
    if (status != EI_OK)
        return status;
    if (model_bytes > MAX_SESSION_BYTES || !(model_memory = malloc(model_bytes)))
        return EI_ERROR_MEMORY;
    status = ei_model_init(data, bytes, model_memory, model_bytes, &model);
    if (status != EI_OK)
        goto done;
    status = ei_session_size(model, 0, NULL, &session_bytes);
    if (status != EI_OK)
        goto done;
    if (session_bytes > MAX_SESSION_BYTES || posix_memalign(&session_memory, 64, session_bytes)) {
        status = EI_ERROR_MEMORY; // nothing ran
        goto done;
    }
    status = ei_session_init(model, 0, NULL, session_memory, session_bytes, &session);
    if (status != EI_OK)
        goto done;
    int has_rings = 0;
    for (uint32_t i = 0; i < ei_model_input_count(model, 0); i++) {
        ei_tensor_info info;
        uint8_t *own = ei_session_input(session, i);
        if (own == NULL)
            has_rings = 1; // a run needs arrays
        else if (ei_model_input(model, 0, i, &info) == EI_OK)
            fill(own, info.bytes);
    }
    status = has_rings ? EI_OK : ei_session_run(session, NULL, NULL);
    if (status == EI_OK)
        status = run_with_caller_memory(model, session);
    if (status == EI_OK)
        status = run_by_rows(model, session);
done:
    free(session_memory);
    free(model_memory);
    return status;
}

int main(void) {
    uint32_t bytes;
    if (scale_op_register() != EI_OK)
        return 2;
    while (read_exactly(&bytes, sizeof bytes)) {
        if (bytes > MAX_FILE_BYTES)
            return 2;
        uint8_t *data = NULL;
        // malloc gives 16-byte alignment, and ASan a red zone right behind the last byte.
        if (!(data = malloc(bytes + !bytes)) || !read_exactly(data, bytes))
            return 2;
        alarm(SECONDS_ALLOWED);
        ei_status status = open_and_run(data, bytes);
        alarm(0);
        free(data);
        putchar((int)status);
        fflush(stdout);
    }
    return 0;
}
