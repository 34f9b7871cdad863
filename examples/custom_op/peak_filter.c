/// The operator of peak_filter.py in C, and a program that runs a model with it.
///
///     peak_filter MODEL.edge INPUT.bin OUTPUT.bin
///
/// Build it against an installed library:
///
///     cc peak_filter.c -o peak_filter $(pkg-config --cflags --libs edgeinfer)
///
/// As a shared library it serves Python too, in the place of numba: edgeinfer.register_custom_op.
///
///     cc -shared -fPIC peak_filter.c -o libpeak_filter.so libedgeinfer.so
///
/// with the libedgeinfer.so that Python loads, which `edgeinfer doctor` names.
#include <edgeinfer.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// Says what is wrong, and refuses the node.
static ei_status refuse(const ei_custom_call *call, const char *why) {
    snprintf(call->message, EI_CUSTOM_MESSAGE_BYTES, "%s", why);
    return EI_ERROR_CUSTOM;
}

/// Holds a file, which may come from anybody, to what run relies on.
ei_status peak_filter_check(const ei_custom_call *call) {
    size_t count = 0;
    const ei_custom_tensor *x = &call->inputs[0];
    const ei_custom_tensor *y = &call->outputs[0];
    if (call->input_count != 1 || x->dtype != EI_FLOAT32 || y->dtype != EI_FLOAT32) {
        return refuse(call, "one input and an output of float32 are what it takes");
    }
    if (x->rank != 4 || y->rank != 4 || memcmp(x->shape, y->shape, sizeof x->shape) != 0) {
        return refuse(call, "input and output must have one shape of four axes");
    }
    if (ei_custom_floats(call, "threshold", &count) == NULL || count != 1) {
        return refuse(call, "threshold must be one number");
    }
    const int64_t *radius = ei_custom_ints(call, "radius", &count);
    if (radius == NULL || count != 1 || *radius < 0 || *radius > 1000) {
        return refuse(call, "radius must be a whole number from 0 to 1000");
    }
    return EI_OK;
}

static int64_t at_least(int64_t a, int64_t low) {
    return a < low ? low : a;
}

static int64_t at_most(int64_t a, int64_t high) {
    return a > high ? high : a;
}

ei_status peak_filter_run(const ei_custom_call *call) {
    const ei_custom_tensor *tensor = &call->inputs[0];
    const double threshold = *ei_custom_floats(call, "threshold", NULL);
    const int64_t radius = *ei_custom_ints(call, "radius", NULL);
    const int64_t planes = tensor->shape[0] * tensor->shape[1];
    const int64_t height = tensor->shape[2];
    const int64_t width = tensor->shape[3];
    for (int64_t plane = 0; plane < planes; plane++) {
        const float *x = (const float *)tensor->data + plane * height * width;
        float *y = (float *)call->outputs[0].data + plane * height * width;
        for (int64_t row = 0; row < height; row++) {
            for (int64_t column = 0; column < width; column++) {
                const float value = x[row * width + column];
                int is_peak = (double)value >= threshold;
                for (int64_t i = at_least(row - radius, 0); i < at_most(row + radius + 1, height);
                     i++) {
                    for (int64_t j = at_least(column - radius, 0);
                         j < at_most(column + radius + 1, width); j++) {
                        is_peak = is_peak && x[i * width + j] <= value;
                    }
                }
                y[row * width + column] = is_peak ? value : 0.0f;
            }
        }
    }
    return EI_OK;
}

#ifndef PEAK_FILTER_WITHOUT_MAIN
static _Alignas(64) unsigned char session_memory[4u << 20];

static void stop(const char *what) {
    fprintf(stderr, "peak_filter: %s: %s\n", what, ei_last_error());
    exit(1);
}

static void transfer(const char *path, void *memory, size_t bytes, int write) {
    FILE *file = fopen(path, write ? "wb" : "rb");
    const size_t done = file == NULL ? 0
                        : write      ? fwrite(memory, 1, bytes, file)
                                     : fread(memory, 1, bytes, file);
    if (file == NULL || done != bytes || fclose(file) != 0) {
        fprintf(stderr, "peak_filter: %s: %zu of %zu bytes\n", path, done, bytes);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: peak_filter MODEL.edge INPUT.bin OUTPUT.bin\n");
        return 2;
    }
    const ei_custom_op op = {sizeof op, peak_filter_check, peak_filter_run, NULL};
    if (ei_custom_op_register("PeakFilter", &op) != EI_OK) {
        stop("register");
    }
    ei_model *model = NULL;
    ei_session *session = NULL;
    ei_tensor_info input;
    ei_tensor_info output;
    if (ei_model_open(argv[1], &model) != EI_OK || ei_model_input(model, 0, 0, &input) != EI_OK ||
        ei_model_output(model, 0, 0, &output) != EI_OK ||
        ei_session_init(model, 0, NULL, session_memory, sizeof session_memory, &session) != EI_OK) {
        stop(argv[1]);
    }
    transfer(argv[2], ei_session_input(session, 0), input.bytes, 0);
    if (ei_session_run(session, NULL, NULL) != EI_OK) {
        stop("run");
    }
    transfer(argv[3], (void *)(uintptr_t)ei_session_output(session, 0), output.bytes, 1);
    ei_session_close(session);
    ei_model_close(model);
    return 0;
}
#endif
