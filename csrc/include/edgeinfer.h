/// edgeinfer: run quantised and float32 models in memory known beforehand.
///
/// How it goes:
///
///     ei_model *model;
///     ei_session *session;
///     ei_model_open("m.edge", &model);                    // maps the file, checks all of it
///     size_t bytes;
///     ei_session_size(model, 0, NULL, &bytes);            // the number that `edgeinfer convert` printed
///     void *memory = aligned_alloc(64, bytes);            // or a static array: a session takes no other memory
///     ei_session_init(model, 0, NULL, memory, bytes, &session);
///     ei_session_run(session, inputs, outputs);           // allocates nothing
///     ei_session_close(session);                          // ends the threads that options.threads asked for
///     ei_model_close(model);
///
/// Every function that can fail returns an ei_status, EI_OK being 0. On failure its output arguments are untouched and
/// ei_last_error() says what was wrong, where, and what to do.
///
/// Threads: a model is read-only after it is opened, so any number of threads may use one. A session belongs to one
/// thread at a time; make one per thread. ei_last_error() is per thread.
///
/// The floating-point environment must be in its default rounding mode (to nearest, ties to even).
#ifndef EDGEINFER_H
#define EDGEINFER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EI_API __attribute__((visibility("default")))

/// Every status, with the sentence that ei_status_text() gives.
#define EI_STATUS_LIST(X)                                                                          \
    X(EI_OK, 0, "success")                                                                         \
    X(EI_ERROR_ARGUMENT, 1, "an argument is NULL, out of range or misaligned")                     \
    X(EI_ERROR_FILE, 2, "the file cannot be opened, read or mapped")                               \
    X(EI_ERROR_MEMORY, 3, "out of memory, or the memory given is too small")                       \
    X(EI_ERROR_FORMAT, 4, "not an .edge file, or a damaged one")                                   \
    X(EI_ERROR_VERSION, 5, "the file's format version is not one that this library reads")         \
    X(EI_ERROR_CHECKSUM, 6, "a checksum does not match: the file was damaged")                     \
    X(EI_ERROR_OPERATOR, 7, "an operator is unknown or its operands break its contract")           \
    X(EI_ERROR_BUDGET, 8, "the session needs more memory than the budget allows")                  \
    X(EI_ERROR_TIER, 9, "this CPU or this build lacks the kernel tier asked for")                  \
    X(EI_ERROR_DATA, 10, "input data is outside what the model allows, an index out of range say") \
    X(EI_ERROR_UNSUPPORTED, 11, "this version of the library does not do what was asked for")      \
    X(EI_ERROR_CUSTOM, 12, "a custom operator is not registered, or refuses what it was given")

typedef enum ei_status {
#define EI_STATUS_ENUM(name, value, text) name = value,
    EI_STATUS_LIST(EI_STATUS_ENUM)
#undef EI_STATUS_ENUM
} ei_status;

/// Element types of tensors.
typedef enum ei_dtype {
    EI_INT8 = 1,
    EI_UINT8 = 2,
    EI_INT16 = 3,
    EI_INT32 = 4,
    EI_INT64 = 5,
    EI_FLOAT32 = 6,
    EI_BOOL = 7,
    EI_FLOAT16 = 8 // constants only
} ei_dtype;

typedef struct ei_model ei_model;
typedef struct ei_session ei_session;

/// The library's version, "major.minor.patch".
EI_API const char *ei_version(void);
/// One sentence for a status. Never NULL.
EI_API const char *ei_status_text(ei_status status);
/// What the last failing call of this thread found: the object, the value and the rule. "" before any failure.
EI_API const char *ei_last_error(void);

/// Kernel tiers of this build, from slowest ("scalar") to fastest: name of the i-th, or NULL past the end.
EI_API const char *ei_tier_name(int index);
/// 1 when this CPU can run the tier, 0 when it cannot or the name is unknown.
EI_API int ei_tier_supported(const char *name);
/// The tier that a session gets when it asks for none: EDGEINFER_TIER from the environment, else the fastest supported.
/// EI_ERROR_TIER when EDGEINFER_TIER names one that this CPU or this build lacks.
EI_API ei_status ei_tier_default(const char **name);

// --- models ---------------------------------------------------------------------------------------------------

/// Maps the file at `path`, checks every byte that the library will ever trust, and returns a handle. The file must not
/// be changed while the model is open: replace it by renaming a new file over it. A file that is shorter than its header
/// says is refused; one that is truncated under an open mapping makes the kernel end the process (SIGBUS).
/// EI_ERROR_FILE, _FORMAT, _VERSION, _CHECKSUM, _OPERATOR, _MEMORY.
EI_API ei_status ei_model_open(const char *path, ei_model **model);
/// Bytes of memory that ei_model_init needs for the file in data[0..bytes).
EI_API ei_status ei_model_size(const void *data, size_t bytes, size_t *memory_bytes);
/// Like ei_model_open, on a file that already lies in memory (16-byte aligned, unchanged for the model's life, as is
/// `memory`, aligned to 8 bytes). Allocates nothing; needs no ei_model_close.
EI_API ei_status ei_model_init(const void *data, size_t bytes, void *memory, size_t memory_bytes,
                               ei_model **model);
/// Unmaps and frees what ei_model_open took. Its sessions must not run afterwards. NULL is allowed.
EI_API void ei_model_close(ei_model *model);

/// A graph input or output. Pointers are into the file: valid as long as the model.
typedef struct ei_tensor_info {
    const char *name;
    ei_dtype dtype;
    int32_t rank;         // 0 to 6
    const int32_t *shape; // rank entries
    size_t bytes;         // of the dense row-major array
    float scale;          // real = scale * (q - zero_point); 0 when not quantised
    int32_t zero_point;
} ei_tensor_info;

EI_API uint32_t ei_model_program_count(const ei_model *model);
/// Name of a program, or NULL past the end.
EI_API const char *ei_model_program_name(const ei_model *model, uint32_t program);
EI_API uint32_t ei_model_input_count(const ei_model *model, uint32_t program);
EI_API uint32_t ei_model_output_count(const ei_model *model, uint32_t program);
EI_API ei_status ei_model_input(const ei_model *model, uint32_t program, uint32_t index,
                                ei_tensor_info *info);
EI_API ei_status ei_model_output(const ei_model *model, uint32_t program, uint32_t index,
                                 ei_tensor_info *info);
/// How a graph input is fed by rows (ei_session_feed). A row is what the file counts as one: a line of an image [N,H,W,C],
/// W * C elements, N * H of them; up to rank 3 the last axis, above rank 3 the last two.
typedef struct ei_input_rows {
    uint32_t rows;      // of the whole input
    uint32_t held_rows; // at a time by a session: fewer where the plan counts on rows
    size_t row_bytes;
} ei_input_rows;
EI_API ei_status ei_model_input_rows(const ei_model *model, uint32_t program, uint32_t index,
                                     ei_input_rows *rows);
/// The metadata section: JSON, not zero-terminated.
EI_API ei_status ei_model_metadata(const ei_model *model, const char **json, size_t *bytes);
/// All bytes of the file as they were checked: the mapping, or what ei_model_init was given. Borrowed, valid as long as
/// the model; the file at the path of ei_model_open may be another one by now.
EI_API ei_status ei_model_data(const ei_model *model, const void **data, size_t *bytes);

/// What a program needs, as planned at conversion.
typedef struct ei_plan_info {
    uint64_t arena_bytes;   // activations, graph inputs and outputs included
    uint64_t state_bytes;   // what outlives a run
    uint64_t session_bytes; // everything a session needs: the above and bookkeeping
    uint64_t weights_bytes; // constants, read in place from the file
    uint32_t step_count;
    uint32_t peak_step;    // where the arena is fullest
    const char *peak_node; // its name in the source model
    const char *peak_operator;
} ei_plan_info;
EI_API ei_status ei_model_plan(const ei_model *model, uint32_t program, ei_plan_info *info);

// --- sessions -------------------------------------------------------------------------------------------------

/// Options of a session; NULL stands for all zeros. Set struct_bytes to sizeof(ei_session_options). Later versions may
/// append members: they take a struct of this size, what it lacks being zero, while a larger one than the library knows
/// is refused. So a program runs with the library that it was compiled for and with newer ones.
typedef struct ei_session_options {
    size_t struct_bytes;
    uint64_t
        ram_budget; // bytes; 0: none. A session that needs more is refused, naming the step that peaks
    uint32_t
        threads; // that a run is shared among, the calling one included; up to 32. 0 stands for 1
    const char *tier; // NULL: ei_tier_default()
    // Where the threads run, on Linux. Thread i, counted from 0, runs on cpus[i % cpu_count]; thread 0 is the one that
    // calls ei_session_run, which is the application's: it stays where the application puts it. Read by the call only.
    const uint32_t *cpus;
    uint32_t cpu_count;         // 0: the system places the threads
    uint32_t performance_cores; // 1: on the cores of the fastest kind only. Not together with cpus
} ei_session_options;

/// Exact bytes of memory for a session of this program; the same on every CPU: those of the file, and a fixed number for
/// each thread beyond the first. EI_ERROR_BUDGET when over ram_budget; EI_ERROR_ARGUMENT when a CPU is not available.
EI_API ei_status ei_session_size(const ei_model *model, uint32_t program,
                                 const ei_session_options *options, size_t *bytes);
/// Builds a session in `memory` (64-byte aligned, at least ei_session_size bytes). The session reads and writes these
/// bytes, the caller's inputs and outputs, and nothing else; it borrows the model. With one thread there is nothing to
/// free; with more, the session's own threads run in `memory` until ei_session_close. They share the steps that are long
/// enough, and results have the same bits at any number; where no step is, none is started. Between runs they sleep.
/// EI_ERROR_MEMORY when the system refuses a thread.
EI_API ei_status ei_session_init(const ei_model *model, uint32_t program,
                                 const ei_session_options *options, void *memory, size_t bytes,
                                 ei_session **session);
/// Ends the session's threads. Call it before `memory` is used otherwise and before the library is unloaded. A run that is
/// under way on another thread goes on without them, as do later ones. Does nothing for one thread, and for NULL.
/// After fork() the child has no such threads: its runs use the calling one alone, and closing there ends nothing.
EI_API void ei_session_close(ei_session *session);
/// Threads that a run uses, the calling one included: as many as were asked for, or 1 where no steps are long enough to
/// be shared. 1 for NULL.
EI_API uint32_t ei_session_threads(const ei_session *session);
/// Runs the program. inputs[i] and outputs[i] are dense row-major arrays of the sizes that ei_model_input and
/// ei_model_output tell, aligned to their element. Kernels read and write them directly, so an output must overlap neither
/// an input nor another output, and none may lie in the session's memory (EI_ERROR_ARGUMENT). NULL for the array or an
/// entry means the session's own buffer (ei_session_input, ei_session_output). Allocates nothing. EI_ERROR_DATA when an
/// index in the data is out of range (gather, gather_elements).
///
/// Where the program has custom operators, their run() is called from here: it may fail with any status of its own, it must
/// keep the promise to allocate nothing itself, and its stack comes on top of the library's.
///
/// After a run that failed on data or in a custom operator the contents of the outputs are unspecified.
///
/// Of an input whose plan counts on rows (held_rows of ei_model_input_rows) the session has no buffer for all of it: give an
/// array. A run by rows that is under way is abandoned.
EI_API ei_status ei_session_run(ei_session *session, const void *const *inputs,
                                void *const *outputs);
/// The session's own buffer for an input: write it in place, then run with NULL. Its contents do not survive a run. NULL, and
/// ei_last_error() says so, where the session holds only some rows of the input at a time.
EI_API void *ei_session_input(ei_session *session, uint32_t index);
/// The session's own buffer for an output, valid until the next run.
EI_API const void *ei_session_output(ei_session *session, uint32_t index);
// Runs by rows: the input comes in pieces, the lines of a camera say, and each step runs as soon as the rows are there that
// it reads. Results have the bits of ei_session_run. It works with every model; with one whose plan counts on it
// (held_rows < rows), no memory ever holds the whole input.
//
//     ei_session_begin(session, NULL);
//     while (ei_session_rows_left(session, 0) != 0) {
//         size_t lines = camera_read(line_buffer);
//         ei_session_feed(session, 0, line_buffer, lines, &taken);
//     }
//     ... = ei_session_output(session, 0);

/// Begins a run by rows whose results go to `outputs`, arrays as of ei_session_run that stay until the run is complete; NULL
/// for the session's own buffers. What was under way is abandoned, so this is also how to start over. ei_session_feed begins
/// a run by itself, with the session's own buffers, when none is under way.
EI_API ei_status ei_session_begin(ei_session *session, void *const *outputs);
/// Gives the next `row_count` rows of an input, row_count * row_bytes (ei_model_input_rows) dense bytes of any alignment,
/// outside the session's memory. They are copied as far as they are needed, and the steps that have all of their rows run
/// before the call returns. *taken says how many were taken: all of them, unless the next step waits for rows of another
/// input (ei_session_next_input); then give the rest again after those. When the last row of every input has been taken, the
/// outputs are complete, and the next call begins a new run. An input that no step reads takes any rows and waits for none.
/// EI_ERROR_ARGUMENT when the input has fewer rows left; nothing has changed then. When a step fails, as ei_session_run does,
/// the run is abandoned.
EI_API ei_status ei_session_feed(ei_session *session, uint32_t index, const void *rows,
                                 uint32_t row_count, uint32_t *taken);
/// Rows of an input that are still to be taken: all before a run by rows, 0 when it is complete, until the next one begins.
EI_API uint32_t ei_session_rows_left(const ei_session *session, uint32_t index);
/// The input whose rows the next step waits for, or one of those that have rows left; the number of inputs when none has.
EI_API uint32_t ei_session_next_input(const ei_session *session);
/// Name of the kernel tier that the session uses.
EI_API const char *ei_session_tier(const ei_session *session);

// --- profiling ------------------------------------------------------------------------------------------------

/// From now on, runs write the time at their start to ticks[0] and at the end of step i to ticks[i + 1]. `ticks` is the
/// caller's, `count` entries, at least step_count + 1 (ei_model_plan), and is borrowed until it is replaced; NULL turns
/// profiling off. Costs 10 to 20 ns per step while it is on. A tick is one of a constant-rate counter of the CPU: measure
/// how long it lasts by a clock of your own around runs. A step that threads share ends when the last of them is done. A
/// run that fails writes no entries past the step that failed. In a run by rows the time between steps is left out: ticks of
/// a step are its own, and the last entry less the first is what all steps took.
EI_API ei_status ei_session_profile(ei_session *session, uint64_t *ticks, size_t count);
/// Name of the i-th kernel ("conv2d_s8_s8c", "argmax_s32"), or NULL past the end.
EI_API const char *ei_kernel_name(int index);
/// The tier whose version of the i-th kernel sessions of a tier run: the tier itself, or a lower one where it has none of
/// its own. NULL past the end, or when this CPU or build lacks the tier.
EI_API const char *ei_kernel_tier(const char *tier, int index);

// --- custom operators -----------------------------------------------------------------------------------------

/// A file can name operators that the library does not have; their code is the program's own. Register it before a session
/// is made:
///
///     static ei_status check(const ei_custom_call *call);     // once per node, when a session is made
///     static ei_status run(const ei_custom_call *call);       // in every run
///     const ei_custom_op scale = {sizeof scale, check, run, NULL};
///     ei_custom_op_register("Scale", &scale);
///
/// Files come from strangers, and run() is as safe as check() is strict: the library sees to it that operands are there,
/// whole and as large as their shape says, and to nothing else. What check() must look at is how many inputs there are, their
/// dtypes, ranks and shapes, whether the output's shape is the one that run() will fill, attributes, scratch_bytes.
///
/// docs/custom_ops.md has an example, and how a model comes to name such an operator.

#define EI_CUSTOM_MAX_INPUTS    16
#define EI_CUSTOM_MAX_RANK      6
#define EI_CUSTOM_NAME_BYTES    64  // of a name, the zero at its end included
#define EI_CUSTOM_MESSAGE_BYTES 256 // of a message, likewise

/// An operand: dense, row-major. 72 bytes; this layout stays.
typedef struct ei_custom_tensor {
    void *
        data; // aligned to the element; in check() NULL unless a constant. Only outputs may be written
    int64_t shape[6]; // from the outermost axis; entries from rank on are 1
    ei_dtype dtype;
    int32_t rank;
    float scale; // real = scale * (q - zero_point); 0 when not quantised
    int32_t zero_point;
} ei_custom_tensor;

/// What a custom operator is called with; valid during the call.
typedef struct ei_custom_call {
    const ei_custom_tensor *inputs;
    const ei_custom_tensor *outputs;
    uint32_t input_count, output_count; // output_count is 1 in this version
    void *scratch;          // 64-byte aligned memory for the run's own use; NULL in check()
    size_t scratch_bytes;   // as the file says
    const void *attributes; // encoded: ei_custom_ints and its kind read them
    void *user;             // of the ei_custom_op
    const char *node;       // the node's name in the source model, a stranger's text; "" in run()
    char *
        message; // EI_CUSTOM_MESSAGE_BYTES bytes, "" at first: why the call fails, for ei_last_error()
} ei_custom_call;

/// A custom operator. Set struct_bytes to sizeof(ei_custom_op); see ei_session_options for what it is good for.
typedef struct ei_custom_op {
    size_t struct_bytes;
    /// Whether run() can do this node. EI_OK, or a status (EI_ERROR_CUSTOM fits) and call->message, and no session is made.
    ei_status (*check)(const ei_custom_call *call);
    /// Computes the output. EI_OK, or a status (EI_ERROR_DATA fits) that ends the run. Must not allocate where the promise
    /// that runs do not is to hold, and must give results that depend on nothing but the call. It runs on the thread that
    /// called ei_session_run; sessions of several threads call it at the same time.
    ei_status (*run)(const ei_custom_call *call);
    void *user; // passed to both
} ei_custom_op;

/// Registers an operator for the whole process; copies `op` and the name: 1 to 63 printable ASCII characters without a
/// space. May be called by any thread at any time; sessions made afterwards find it. Allocates some hundred bytes, which are
/// never given back. EI_ERROR_ARGUMENT when the name is taken, EI_ERROR_MEMORY.
EI_API ei_status ei_custom_op_register(const char *name, const ei_custom_op *op);
/// Takes the name out of the registry. Sessions that exist go on with the functions they found, so code and `user` must stay
/// until the last of them has run. EI_ERROR_ARGUMENT when it is not registered.
EI_API ei_status ei_custom_op_unregister(const char *name);
/// 1 when an operator of this name is registered.
EI_API int ei_custom_op_registered(const char *name);

/// An attribute of the node as integers, floating-point numbers or zero-terminated text; NULL when the node has none of
/// this name and kind. `count` may be NULL. For check() and run().
EI_API const int64_t *ei_custom_ints(const ei_custom_call *call, const char *name, size_t *count);
EI_API const double *ei_custom_floats(const ei_custom_call *call, const char *name, size_t *count);
EI_API const char *ei_custom_text(const ei_custom_call *call, const char *name);

#ifdef __cplusplus
}
#endif
#endif
