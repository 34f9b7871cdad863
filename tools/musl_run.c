/// Runs models with a library that is loaded while the program runs, as Python does it.
///
///     musl_run LIBRARY TIERS                    prints the tiers that the CPU has, one a line
///     musl_run LIBRARY TIER THREADS < JOBS      runs files
///
/// A line of JOBS is `RUNS MODEL INPUTS OUTPUTS`: the file INPUTS holds the inputs of all runs, dense
/// arrays one after the other; for each run OUTPUTS gets a byte, 1 when the run was refused for its
/// data, and after a 0 the outputs. tools/musl_test.py compiles it for musl and compares the files.
#include <edgeinfer.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    __typeof__(ei_last_error) *last_error;
    __typeof__(ei_tier_name) *tier_name;
    __typeof__(ei_tier_supported) *tier_supported;
    __typeof__(ei_model_open) *model_open;
    __typeof__(ei_model_close) *model_close;
    __typeof__(ei_model_input_count) *input_count;
    __typeof__(ei_model_output_count) *output_count;
    __typeof__(ei_model_input) *input_info;
    __typeof__(ei_model_output) *output_info;
    __typeof__(ei_session_size) *session_size;
    __typeof__(ei_session_init) *session_init;
    __typeof__(ei_session_input) *input;
    __typeof__(ei_session_output) *output;
    __typeof__(ei_session_run) *run;
    __typeof__(ei_session_tier) *tier;
    __typeof__(ei_session_close) *session_close;
} library;

static _Noreturn void stop(const char *what, const char *why) {
    fprintf(stderr, "musl_run: %s: %s\n", what, why);
    exit(1);
}

static void *symbol(void *handle, const char *name) {
    void *found = dlsym(handle, name);
    if (found == NULL) {
        stop(name, dlerror());
    }
    return found;
}

static void load(const char *path) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        stop(path, dlerror());
    }
    library.last_error = symbol(handle, "ei_last_error");
    library.tier_name = symbol(handle, "ei_tier_name");
    library.tier_supported = symbol(handle, "ei_tier_supported");
    library.model_open = symbol(handle, "ei_model_open");
    library.model_close = symbol(handle, "ei_model_close");
    library.input_count = symbol(handle, "ei_model_input_count");
    library.output_count = symbol(handle, "ei_model_output_count");
    library.input_info = symbol(handle, "ei_model_input");
    library.output_info = symbol(handle, "ei_model_output");
    library.session_size = symbol(handle, "ei_session_size");
    library.session_init = symbol(handle, "ei_session_init");
    library.input = symbol(handle, "ei_session_input");
    library.output = symbol(handle, "ei_session_output");
    library.run = symbol(handle, "ei_session_run");
    library.tier = symbol(handle, "ei_session_tier");
    library.session_close = symbol(handle, "ei_session_close");
}

static void run_once(const ei_model *model, ei_session *session, FILE *inputs, FILE *outputs) {
    ei_tensor_info info;
    for (uint32_t i = 0; i < library.input_count(model, 0); i++) {
        library.input_info(model, 0, i, &info);
        if (fread(library.input(session, i), 1, info.bytes, inputs) != info.bytes) {
            stop(info.name, "the file of inputs ends here");
        }
    }
    const ei_status status = library.run(session, NULL, NULL);
    if (status != EI_OK && status != EI_ERROR_DATA) {
        stop("run", library.last_error());
    }
    fputc(status != EI_OK, outputs);
    for (uint32_t i = 0; status == EI_OK && i < library.output_count(model, 0); i++) {
        library.output_info(model, 0, i, &info);
        fwrite(library.output(session, i), 1, info.bytes, outputs);
    }
}

static void run_model(const ei_session_options *options, long runs, const char *path,
                      const char *inputs_path, const char *outputs_path) {
    ei_model *model;
    ei_session *session;
    size_t bytes;
    if (library.model_open(path, &model) != EI_OK ||
        library.session_size(model, 0, options, &bytes) != EI_OK) {
        stop(path, library.last_error());
    }
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    FILE *inputs = fopen(inputs_path, "rb");
    FILE *outputs = fopen(outputs_path, "wb");
    if (memory == NULL || inputs == NULL || outputs == NULL) {
        stop(path, "no memory, or its files cannot be opened");
    }
    if (library.session_init(model, 0, options, memory, bytes, &session) != EI_OK) {
        stop(path, library.last_error());
    }
    if (strcmp(library.tier(session), options->tier) != 0) {
        stop(path, "the session has another tier");
    }
    for (long i = 0; i < runs; i++) {
        run_once(model, session, inputs, outputs);
    }
    library.session_close(session);
    library.model_close(model);
    fclose(inputs);
    if (fclose(outputs) != 0) {
        stop(outputs_path, "not written");
    }
    free(memory);
}

int main(int argc, char **argv) {
    if (argc < 3) {
        stop("usage", "LIBRARY TIERS, or LIBRARY TIER THREADS");
    }
    load(argv[1]);
    if (argc == 3) {
        for (int i = 0; library.tier_name(i) != NULL; i++) {
            if (library.tier_supported(library.tier_name(i))) {
                puts(library.tier_name(i));
            }
        }
        return 0;
    }
    ei_session_options options = {.struct_bytes = sizeof options, .tier = argv[2]};
    options.threads = (uint32_t)strtoul(argv[3], NULL, 10);
    long runs;
    char model[4096];
    char inputs[4096];
    char outputs[4096];
    while (scanf("%ld %4095s %4095s %4095s", &runs, model, inputs, outputs) == 4) {
        run_model(&options, runs, model, inputs, outputs);
    }
    return 0;
}
