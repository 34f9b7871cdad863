/// Runs a model from C, in memory that is set aside before the program starts.
///
///     embed MODEL.edge [INPUT.bin] [OUTPUT.bin]
///
/// Without INPUT.bin it prints what the model needs. With it, it runs once: INPUT.bin holds the
/// inputs one after the other, each as a dense row-major array; the outputs are written to OUTPUT.bin
/// in the same way, or are only timed.
///
/// Build it against an installed library:
///
///     cc embed.c -o embed $(pkg-config --cflags --libs edgeinfer)
#include <edgeinfer.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/// All the memory that running takes. `edgeinfer convert` prints how much a model needs.
#ifndef SESSION_BYTES
#define SESSION_BYTES (4u << 20)
#endif
static _Alignas(64) unsigned char session_memory[SESSION_BYTES];

static void stop(const char *what) {
    fprintf(stderr, "embed: %s: %s\n", what, ei_last_error());
    exit(1);
}

static void print_tensor(const char *kind, const ei_tensor_info *info) {
    printf("%s %s: [", kind, info->name);
    for (int32_t i = 0; i < info->rank; i++) {
        printf("%s%" PRId32, i == 0 ? "" : ", ", info->shape[i]);
    }
    printf("], %zu bytes, scale %g, zero point %" PRId32 "\n", info->bytes, (double)info->scale,
           info->zero_point);
}

static void print_model(const ei_model *model) {
    ei_plan_info plan;
    ei_tensor_info info;
    if (ei_model_plan(model, 0, &plan) != EI_OK) {
        stop("plan");
    }
    printf("session: %" PRIu64 " bytes, the same on every CPU\n", plan.session_bytes);
    printf("arena:   %" PRIu64 " bytes, fullest in step %" PRIu32 " of %" PRIu32 ", %s (%s)\n",
           plan.arena_bytes, plan.peak_step, plan.step_count, plan.peak_node, plan.peak_operator);
    printf("weights: %" PRIu64 " bytes, read in place from the file\n", plan.weights_bytes);
    for (uint32_t i = 0; ei_model_input(model, 0, i, &info) == EI_OK; i++) {
        print_tensor("input  ", &info);
    }
    for (uint32_t i = 0; ei_model_output(model, 0, i, &info) == EI_OK; i++) {
        print_tensor("output ", &info);
    }
}

/// Fills the session's own input buffers.
static void read_inputs(const ei_model *model, ei_session *session, const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    for (uint32_t i = 0; i < ei_model_input_count(model, 0); i++) {
        ei_tensor_info info;
        if (ei_model_input(model, 0, i, &info) != EI_OK) {
            stop("input");
        }
        void *input = ei_session_input(session, i);
        if (input == NULL) {
            stop("input buffer"); // the session holds a few rows of it: ei_session_feed takes them
        }
        if (fread(input, 1, info.bytes, file) != info.bytes) {
            fprintf(stderr, "embed: %s: too short for input %s, %zu bytes\n", path, info.name,
                    info.bytes);
            exit(1);
        }
    }
    fclose(file);
}

static void write_outputs(const ei_model *model, ei_session *session, const char *path) {
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    for (uint32_t i = 0; i < ei_model_output_count(model, 0); i++) {
        ei_tensor_info info;
        if (ei_model_output(model, 0, i, &info) != EI_OK) {
            stop("output");
        }
        fwrite(ei_session_output(session, i), 1, info.bytes, file);
    }
    if (fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static double milliseconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

int main(int argc, char **argv) {
    ei_model *model;
    ei_session *session;
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: embed MODEL.edge [INPUT.bin] [OUTPUT.bin]\n");
        return 2;
    }
    if (ei_model_open(argv[1], &model) != EI_OK) {
        stop("open");
    }
    print_model(model);
    if (argc > 2) {
        if (ei_session_init(model, 0, NULL, session_memory, sizeof session_memory, &session) !=
            EI_OK) {
            stop("init");
        }
        read_inputs(model, session, argv[2]);
        const double start = milliseconds();
        if (ei_session_run(session, NULL, NULL) != EI_OK) {
            stop("run");
        }
        printf("ran in %.3f ms on tier %s\n", milliseconds() - start, ei_session_tier(session));
        if (argc > 3) {
            write_outputs(model, session, argv[3]);
        }
    }
    ei_model_close(model);
    return 0;
}
