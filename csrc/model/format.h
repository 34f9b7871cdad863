/// The `.edge` file as it lies on disk: little-endian records of fixed size. docs/format.md is the prose.
#ifndef EI_MODEL_FORMAT_H
#define EI_MODEL_FORMAT_H

#include <stdint.h>

#define EI_FORMAT_MAGIC       "EDGEINF\x1a"
#define EI_FORMAT_MAJOR       1 // readers refuse another major version
#define EI_FORMAT_MINOR       2 // the newest known; readers accept any minor version of their major
#define EI_SECTION_ALIGNMENT  64
#define EI_CONSTANT_ALIGNMENT 64
#define EI_BUFFER_ALIGNMENT   16 // offsets in the arena; the converter places at 64
#define EI_MAX_RANK           6
#define EI_MAX_SECTIONS       64
#define EI_MAX_PROGRAMS       64
#define EI_MAX_BUFFERS        4096 // per program: the overlap check is quadratic
#define EI_MAX_SLOTS          4096 // distinct ranges per buffer that nodes write
#define EI_MAX_TENSOR_BYTES   0x7fffffff
#define EI_NO_TENSOR          0xffffffffu // an absent operand
#define EI_NO_BUFFER          0xffffffffu // a constant tensor

/// What a session needs besides its data, the same on every CPU, so that the converter can promise the sum:
///   session_bytes = up64(EI_SESSION_FIXED_BYTES + nodes * EI_SESSION_NODE_BYTES + operands * EI_SESSION_OPERAND_BYTES)
///                   + up64(scratch_bytes) + up64(arena_bytes) + up64(state_bytes)
/// where up64 rounds up to a multiple of 64, and nodes and operands count those of the program.
#define EI_SESSION_FIXED_BYTES   256
#define EI_SESSION_NODE_BYTES    32
#define EI_SESSION_OPERAND_BYTES 32
#define EI_SESSION_ALIGNMENT     64

/// What each thread of a session beyond the first adds to it: a record, and its stack, of which kernels use up to
/// 72 KiB. The rest is for the C library, which puts its own data of a thread there; on 64-bit ARM glibc starts none
/// with less than 128 KiB, and the number is the same on every CPU.
#ifndef EI_SESSION_THREAD_BYTES // sanitizers keep much of their own there, and are built with more
#define EI_SESSION_THREAD_BYTES (132 * 1024)
#endif
#define EI_MAX_THREADS 32

enum ei_section_type {
    EI_SECTION_PROGRAMS = 1,
    EI_SECTION_BUFFERS = 2,
    EI_SECTION_TENSORS = 3,
    EI_SECTION_NODES = 4,
    EI_SECTION_OPERANDS = 5, // uint32_t tensor indices
    EI_SECTION_STEPS = 6,
    EI_SECTION_PARAMS = 7,       // operator parameters, 4-byte aligned
    EI_SECTION_CONSTANTS = 8,    // weights, each 64-byte aligned
    EI_SECTION_STRINGS = 9,      // UTF-8, each ended by a zero byte; offset 0 is ""
    EI_SECTION_METADATA = 10,    // JSON, UTF-8
    EI_SECTION_OPTIONAL = 0x8000 // types from here on are skipped by readers that do not know them
};

/// Packed constants whose bytes are no elements of the dtype, which is uint8.
enum ei_weights_scheme { EI_WEIGHTS_PLAIN = 0, EI_WEIGHTS_MXFP4 = 1, EI_WEIGHTS_NVFP4 = 2 };

enum ei_region { EI_REGION_ARENA = 0, EI_REGION_STATE = 1 };
enum ei_buffer_flag { EI_BUFFER_INPUT = 1, EI_BUFFER_OUTPUT = 2 };

/// Bytes 0 to 63 of the file; `section_count` section records follow it.
typedef struct ei_header_record {
    uint8_t magic[8];
    uint16_t major, minor;
    uint32_t section_count;
    uint64_t file_bytes;
    uint32_t
        checksum;   // CRC-32 (IEEE) of this header, with this field zero, and the section records
    uint32_t flags; // none defined: 0
    uint8_t reserved[32];
} ei_header_record;

typedef struct ei_section_record {
    uint32_t type;     // ei_section_type
    uint32_t checksum; // CRC-32 (IEEE) of the section's bytes
    uint64_t offset;   // from the start of the file, 64-byte aligned
    uint64_t bytes;
    uint32_t count;        // records, or 0 for sections of bytes
    uint32_t record_bytes; // size of one record, or 0
} ei_section_record;

/// "first" is an index into the file-wide section, "count" how many records from there belong to the program.
typedef struct ei_program_record {
    uint32_t name; // offset in strings
    uint32_t first_buffer, buffer_count;
    uint32_t first_tensor, tensor_count; // its activation tensors; constants may lie anywhere
    uint32_t first_node, node_count;
    uint32_t first_step, step_count;
    uint32_t first_input, input_count;   // in operands: tensor indices
    uint32_t first_output, output_count; // in operands
    uint32_t peak_step;                  // program-relative; for messages
    uint32_t reserved[2];
    uint64_t arena_bytes, state_bytes, scratch_bytes;
    uint64_t
        session_bytes; // bookkeeping + scratch + arena + state; see docs/format.md for the formula
    uint64_t weights_bytes; // constants that this program reads
    uint8_t reserved2[24];
} ei_program_record;

typedef struct ei_buffer_record {
    uint64_t offset, bytes;         // in its region
    uint32_t first_step, last_step; // program-relative, inclusive: when its contents matter
    uint8_t region, flags;          // ei_region, ei_buffer_flag
    uint8_t reserved[6];
} ei_buffer_record;

/// An activation (in a buffer) or a constant. Dense, row-major. A whole tensor has ring_rows == rows.
typedef struct ei_tensor_record {
    uint32_t name;   // offset in strings
    uint32_t buffer; // program-relative to its program's first_buffer, or EI_NO_BUFFER
    uint64_t offset; // in the buffer, or in the constants section
    uint8_t dtype;   // ei_dtype
    uint8_t rank;
    uint16_t flags;            // ei_weights_scheme
    int32_t dims[EI_MAX_RANK]; // 1 and up; unused ones are 1
    uint32_t
        rows; // rank 4: N * H; lower rank: product of all but the last; higher: of all but the last two
    uint32_t ring_rows; // rows held at once; row r lies at (r mod ring_rows) * row_bytes
    uint32_t row_bytes;
    float scale; // per tensor; 0 where not quantised
    int32_t zero_point;
} ei_tensor_record;

typedef struct ei_node_record {
    uint16_t op; // operators.def
    uint16_t input_count, output_count;
    uint16_t reserved;
    uint32_t first_operand; // inputs, then outputs
    uint32_t params_offset, params_bytes;
    uint32_t name; // offset in strings: the source model's node
    uint32_t reserved2[2];
} ei_node_record;

/// Run `node` for rows [row_begin, row_end) of its first output.
typedef struct ei_step_record {
    uint32_t node; // program-relative
    uint32_t row_begin, row_end;
    uint32_t reserved;
} ei_step_record;

_Static_assert(sizeof(ei_header_record) == 64, "on-disk size");
_Static_assert(sizeof(ei_section_record) == 32, "on-disk size");
_Static_assert(sizeof(ei_program_record) == 128, "on-disk size");
_Static_assert(sizeof(ei_buffer_record) == 32, "on-disk size");
_Static_assert(sizeof(ei_tensor_record) == 64, "on-disk size");
_Static_assert(sizeof(ei_node_record) == 32, "on-disk size");
_Static_assert(sizeof(ei_step_record) == 16, "on-disk size");

#endif
