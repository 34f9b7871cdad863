"""Fuzz the validator and the kernels with mutated .edge files under AddressSanitizer and UBSan.

Structure-aware: mutations know headers, sections and records, and most mutants get their checksums
repaired, so that they reach the checks behind. The C core is built with sanitizers together with
tools/fuzz_harness.c; every mutant must end in a clear status or a correct run. A mutant that ends
the process, or runs for 20 seconds, is a finding: it is kept in build/fuzz/findings and the exit
code is 1.

    python tools/fuzz.py --mutants 20000
    python tools/fuzz.py --minutes 60 --seed 7
    python tools/fuzz.py --replay build/fuzz/findings/0001.edge
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "fuzz"

_HEADER = 64
_SECTION = struct.Struct("<IIQQII")
_INTERESTING = (
    0, 1, 2, 3, 4, 15, 16, 63, 64, 65, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF,
    0x7F800000, 0xFF800000, 0x7FC00000, 0x00000001,  # inf, -inf, nan, denormal as float bits
)  # fmt: skip

STATUS_NAMES = (
    "ran", "argument", "file", "memory", "format", "version", "checksum", "operator", "budget",
    "tier", "data", "unsupported", "custom",
)  # fmt: skip


# --- mutations ----------------------------------------------------------------------------------


class EdgeFile:
    """Bytes of an .edge file and where its sections lie, as far as the file can be believed."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    @property
    def sections(self) -> list[tuple[int, int, int, int]]:
        """(index, offset, bytes, record bytes) of the sections that lie inside the file."""
        (count,) = struct.unpack_from("<I", self.data, 12)
        found = []
        for i in range(min(count, (len(self.data) - _HEADER) // _SECTION.size, 64)):
            _, _, offset, size, _, record = _SECTION.unpack_from(
                self.data, _HEADER + i * _SECTION.size
            )
            if size and offset + size <= len(self.data):
                found.append((i, offset, size, record))
        return found

    def repair(self) -> None:
        """Make file size and every checksum match again."""
        if len(self.data) < _HEADER:
            return
        struct.pack_into("<Q", self.data, 16, len(self.data))
        for i, offset, size, _ in self.sections:
            crc = zlib.crc32(self.data[offset : offset + size])
            struct.pack_into("<I", self.data, _HEADER + i * _SECTION.size + 4, crc)
        (count,) = struct.unpack_from("<I", self.data, 12)
        end = min(_HEADER + count * _SECTION.size, len(self.data))
        struct.pack_into("<I", self.data, 24, 0)
        struct.pack_into("<I", self.data, 24, zlib.crc32(self.data[:end]))


def mutate_record_word(file: EdgeFile, rng: random.Random) -> None:
    """Set one 32-bit word of a record to something near, interesting, or taken from elsewhere."""
    _, offset, size, _ = rng.choice(_record_sections(file) or file.sections)
    at = offset + 4 * rng.randrange(max(size // 4, 1))
    _set_word(file, at, rng)


def mutate_content_word(file: EdgeFile, rng: random.Random) -> None:
    """Set a word of the parameters, constants, strings or metadata: sections without records."""
    sections = [section for section in file.sections if not section[3]]
    _, offset, size, _ = rng.choice(sections or file.sections)
    _set_word(file, offset + 4 * rng.randrange(max(size // 4, 1)), rng)


def mutate_same_field(file: EdgeFile, rng: random.Random) -> None:
    """Give a record's field the value that the field has in another record."""
    sections = [s for s in _record_sections(file) if s[2] // s[3] > 1]
    if not sections:
        return mutate_record_word(file, rng)
    _, offset, size, record = rng.choice(sections)
    first, second = rng.sample(range(size // record), 2)
    field = 4 * rng.randrange(max(record // 4, 1))
    source = offset + second * record + field
    target = offset + first * record + field
    file.data[target : target + 4] = file.data[source : source + 4]
    return None


def swap_records(file: EdgeFile, rng: random.Random) -> None:
    """Exchange two records of a section."""
    sections = [s for s in _record_sections(file) if s[2] // s[3] > 1]
    if not sections:
        return mutate_record_word(file, rng)
    _, offset, size, record = rng.choice(sections)
    first, second = (offset + i * record for i in rng.sample(range(size // record), 2))
    data = file.data
    data[first : first + record], data[second : second + record] = (
        data[second : second + record],
        data[first : first + record],
    )
    return None


def mutate_section_table(file: EdgeFile, rng: random.Random) -> None:
    """Change a word of the header or of a section's record."""
    (count,) = struct.unpack_from("<I", file.data, 12)
    words = (_HEADER + min(count, 32) * _SECTION.size) // 4
    _set_word(file, 4 * rng.randrange(words), rng)


def flip_bits(file: EdgeFile, rng: random.Random) -> None:
    """Flip up to eight bits anywhere."""
    for _ in range(rng.randint(1, 8)):
        file.data[rng.randrange(len(file.data))] ^= 1 << rng.randrange(8)


def change_bytes(file: EdgeFile, rng: random.Random) -> None:
    """Overwrite a short run inside one section."""
    _, offset, size, _ = rng.choice(file.sections)
    at = offset + rng.randrange(size)
    end = min(at + rng.randint(1, 16), offset + size)
    file.data[at:end] = rng.randbytes(end - at)


def truncate(file: EdgeFile, rng: random.Random) -> None:
    """Cut the end off."""
    del file.data[rng.randrange(len(file.data)) :]


def extend(file: EdgeFile, rng: random.Random) -> None:
    """Put bytes behind the end."""
    file.data += rng.randbytes(rng.randint(1, 256))


def splice_section(file: EdgeFile, rng: random.Random, other: EdgeFile) -> None:
    """Overwrite a section with the start of the same section of another file."""
    ours, theirs = file.sections, other.sections
    index = rng.randrange(min(len(ours), len(theirs)))
    (_, offset, size, _), (_, from_offset, from_size, _) = ours[index], theirs[index]
    length = min(size, from_size)
    file.data[offset : offset + length] = other.data[from_offset : from_offset + length]


def _record_sections(file: EdgeFile) -> list[tuple[int, int, int, int]]:
    return [section for section in file.sections if section[3]]


def _set_word(file: EdgeFile, at: int, rng: random.Random) -> None:
    at = min(at, len(file.data) - 4)
    (value,) = struct.unpack_from("<I", file.data, at)
    choice = rng.randrange(5)
    if choice == 0:
        value = rng.choice(_INTERESTING)
    elif choice == 1:
        value += rng.choice((-64, -16, -4, -2, -1, 1, 2, 4, 16, 64))
    elif choice == 2:
        value = rng.getrandbits(32)
    elif choice == 3:
        value = value * rng.choice((2, 3, 256)) >> rng.choice((0, 1, 2))
    else:
        (value,) = struct.unpack_from("<I", file.data, 4 * rng.randrange(len(file.data) // 4))
    struct.pack_into("<I", file.data, at, value & 0xFFFFFFFF)


_MUTATIONS: tuple[tuple[int, Callable[[EdgeFile, random.Random], None]], ...] = (
    (30, mutate_record_word),
    (40, mutate_content_word),
    (15, mutate_same_field),
    (6, swap_records),
    (8, mutate_section_table),
    (6, flip_bits),
    (12, change_bytes),
    (3, truncate),
    (2, extend),
)
_SPLICE_SHARE = 0.06
_REPAIR_SHARE = 0.93
_MIN_RAN_SHARE = 0.05  # fewer, and the fuzzing reaches the validator only
_ENOUGH_TO_JUDGE = 500  # mutants


def mutants(seeds: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """An endless, repeatable stream of mutated files."""
    rng = random.Random(seed)
    weights = [weight for weight, _ in _MUTATIONS]
    while True:
        file = EdgeFile(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3))):
            if len(file.data) <= _HEADER + 4 or not file.sections:
                break
            if rng.random() < _SPLICE_SHARE:
                splice_section(file, rng, EdgeFile(rng.choice(seeds)))
            else:
                rng.choices(_MUTATIONS, weights)[0][1](file, rng)
        if rng.random() < _REPAIR_SHARE:
            file.repair()
        yield bytes(file.data)


# --- the target ---------------------------------------------------------------------------------


# Float to integer out of range is undefined too, but no part of "undefined".
SANITIZERS = "address,undefined,float-cast-overflow"


def find_compiler() -> str:
    """CC where that is set; else the newest clang that can link its sanitizers; else cc.

    Clang's UBSan checks more than GCC's: calls through pointers of another type, offsets of null.
    """
    if named := os.environ.get("CC"):
        return named
    clangs = {
        int(path.name.removeprefix("clang-")): str(path)
        for folder in map(Path, os.environ.get("PATH", "").split(os.pathsep))
        for path in folder.glob("clang-[0-9]*")
        if path.name.removeprefix("clang-").isdigit()
    }
    found = [clangs[version] for version in sorted(clangs, reverse=True)]
    return next(filter(_has_sanitizers, [*found, "clang"]), "cc")


def _has_sanitizers(compiler: str) -> bool:
    """Whether a program can be linked; the sanitizers' runtime is a package of its own."""
    if shutil.which(compiler) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        words = [compiler, f"-fsanitize={SANITIZERS}", "-x", "c", "-", "-o", f"{folder}/probe"]
        done = subprocess.run(
            words, input="int main(void) { return 0; }", capture_output=True, text=True, check=False
        )
    return done.returncode == 0


def build_harness() -> Path:
    """Build core and harness with sanitizers; quick when nothing changed."""
    compiler = find_compiler()
    core = BUILD / f"core-{Path(compiler).name}"
    cmake = shutil.which("cmake") or "cmake"
    configure = [cmake, "-S", str(ROOT), "-B", str(core), "-DCMAKE_BUILD_TYPE=Release"]
    configure += [f"-DEI_SANITIZE={SANITIZERS.replace(',', ';')}", "-DEI_BUILD_STATIC=ON"]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    chosen = {**os.environ, "CC": compiler}  # read in an empty folder only, kept ever after
    for command in (configure, [cmake, "--build", str(core), "--target", "edgeinfer_static"]):
        done = subprocess.run(command, env=chosen, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    binary = BUILD / "harness"
    new = binary.with_name(f"harness.{os.getpid()}")
    command = [compiler, "-std=gnu11", "-O1", "-g", "-fno-omit-frame-pointer"]
    command += [f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=all"]
    command += [f"-I{ROOT / 'csrc' / 'include'}", str(ROOT / "tools" / "fuzz_harness.c")]
    command += [str(core / "libedgeinfer.a"), "-o", str(new), "-lm", "-lpthread"]
    subprocess.run(command, check=True)
    new.replace(binary)
    return binary


class Harness:
    """The sanitized process; made anew after it ended on a finding."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._start()

    def _start(self) -> None:
        self._log.seek(0)
        self._log.truncate()
        environment = dict(os.environ, ASAN_OPTIONS="allocator_may_return_null=1:detect_leaks=1")
        self._process = subprocess.Popen(
            [self._binary],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )

    def run(self, data: bytes) -> int | None:
        """The status of one file, or None when it ended the process."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(struct.pack("<I", len(data)) + data)
            stdin.flush()
            answer = stdout.read(1)
        except BrokenPipeError:
            answer = b""
        if answer:
            return answer[0]
        self._process.wait()
        return None

    def restart(self) -> str:
        """What the ended process said; a new one takes its place."""
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")
        code = self._process.returncode
        self._start()
        return f"exit code {code}\n{said}"

    def close(self) -> str:
        """End the process in order; says what leaked, or "" when all is well."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait()
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")
        return "" if code == 0 else f"exit code {code}\n{said}"


def load_seeds(folders: Sequence[Path]) -> list[bytes]:
    """Files to mutate: those of the folders; or one per operator, and the shipped example's."""
    if not folders:
        return [*operator_seeds(), *custom_seeds(), *fed_seeds(), *example_seeds()]
    seeds = []
    for folder in folders:
        found = [path.read_bytes() for path in sorted(folder.glob("*.edge"))]
        if not found:
            raise SystemExit(f"no .edge file in {folder}")
        seeds += found
    return seeds


def seeds_that_do_not_run(binary: Path, seeds: Sequence[bytes]) -> list[str]:
    """What came of each unmutated seed that did not run; mutants of it would show little."""
    harness = Harness(binary)
    wrong = []
    for number, data in enumerate(seeds):
        status = harness.run(data)
        if status is None:
            wrong.append(f"seed {number}: {harness.restart()[:3000]}")
        elif status != 0:
            wrong.append(f"seed {number}, {len(data)} bytes: {STATUS_NAMES[status]}")
    leaked = harness.close()
    return [*wrong, f"after all seeds: {leaked[:3000]}"] if leaked else wrong


def operator_seeds() -> list[bytes]:
    """A small file for every operator whose code is the runtime's."""
    return [data for _, data in operator_models()]


def operator_models() -> list[tuple[str, bytes]]:
    """Operators, each with a small file, from the contracts' tests."""
    from edgeinfer.convert.plan import plan_program
    from edgeinfer.convert.program import Program
    from edgeinfer.convert.write import write_model
    from edgeinfer.operators import operators

    sys.path.insert(0, str(ROOT))
    from tests.ops import (
        test_contracts,
        test_conv_family_contracts,
        test_float_contracts,
        test_float_product_contracts,
        test_four_bit_contracts,
        test_plain_contracts,
        test_running_sums_contracts,
    )

    models = []
    good = [
        *test_contracts.GOOD,
        *test_conv_family_contracts.GOOD,
        *test_float_contracts.GOOD,
        *test_float_product_contracts.GOOD,
        *test_four_bit_contracts.GOOD,
        *test_plain_contracts.GOOD,
        *test_running_sums_contracts.GOOD,
    ]
    for make in good:
        operation = make()
        inputs = [v for v in operation.inputs if v is not None and v.data is None]
        program = Program("main", inputs, operation.outputs, [operation])
        data = write_model([(program, plan_program(program))], {})
        models.append((operation.operator, data))
    missing = sorted(set(operators()) - {name for name, _ in models} - {"custom"})
    if missing:
        raise SystemExit(f"no file to start from for operators {missing}")
    return models


def custom_seeds() -> list[bytes]:
    """Files that need the operator of scale_op.h, which the harness registers."""
    sys.path.insert(0, str(ROOT))
    from tests.builders.custom_op import file_of, scale_operation

    return [file_of(scale_operation(shape)) for shape in ((3, 5), (1, 2, 3, 4))]


def fed_seeds() -> list[bytes]:
    """Files whose graph inputs are rings."""
    sys.path.insert(0, str(ROOT))
    from tests.core.fed_programs import pooled, two_inputs

    drafts = [pooled(9), pooled(12, band=3, images=2, spare=1), two_inputs(ahead=2)]
    return [draft.write() for draft in drafts]


def example_seeds() -> list[bytes]:
    """The shipped example, converted for speed and for memory, with rings that overlap."""
    from edgeinfer.convert import convert

    source = ROOT / "examples" / "digits" / "digits_int8.onnx"
    return [convert(source).data, convert(source, optimize="ram").data]


def fuzz(
    binary: Path, stream: Iterator[bytes], count: int | None, minutes: float | None
) -> tuple[collections.Counter[int], int]:
    """Run mutants; returns how often each status came, and the number of findings."""
    statuses: collections.Counter[int] = collections.Counter()
    findings = BUILD / "findings"
    harness = Harness(binary)
    end = time.monotonic() + 60 * minutes if minutes is not None else None
    found = 0
    for number, data in enumerate(stream):
        if (count is not None and number >= count) or (end and time.monotonic() > end):
            break
        status = harness.run(data)
        if status is not None:
            statuses[status] += 1
            continue
        found += 1
        findings.mkdir(parents=True, exist_ok=True)
        (findings / f"{found:04}.edge").write_bytes(data)
        report = harness.restart()
        (findings / f"{found:04}.txt").write_text(report)
        print(f"finding {found}, mutant {number}: {findings / f'{found:04}.edge'}\n{report[:3000]}")
    leaked = harness.close()
    if leaked:
        found += 1
        print(f"at the end: {leaked[:3000]}")
    return statuses, found


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: exit code 0 without findings, 1 with some or when hardly any mutant ran."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutants", type=int, help="how many (default 20000)")
    parser.add_argument("--minutes", type=float, help="for how long instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=Path, nargs="*", default=[], help="folders of .edge files")
    parser.add_argument("--replay", type=Path, help="run one file and print what comes")
    args = parser.parse_args(argv)

    binary = build_harness()
    if args.replay:
        stream: Iterator[bytes] = iter([args.replay.read_bytes()])
    else:
        seeds = load_seeds(args.seeds)
        wrong = seeds_that_do_not_run(binary, seeds)
        if wrong:
            print("seeds must run before they are mutated:", *wrong, sep="\n  ")
            return 1
        stream = mutants(seeds, args.seed)
    count = args.mutants if args.mutants or args.minutes else 20_000
    start = time.monotonic()
    statuses, found = fuzz(binary, stream, count, args.minutes)
    seconds = time.monotonic() - start
    total = statuses.total() + found
    compiler = Path(find_compiler()).name
    print(f"{total:,} mutants in {seconds:.0f} s, {found} findings, compiled with {compiler}")
    for status, times in sorted(statuses.items()):
        print(f"  {STATUS_NAMES[status]:<12} {times:8,}")
    if not args.replay and total >= _ENOUGH_TO_JUDGE and statuses[0] < _MIN_RAN_SHARE * total:
        print(f"only {statuses[0]:,} mutants ran: the kernels were hardly tried")
        return 1
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
