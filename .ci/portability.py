"""Check that the core is right C++ for machines that are not here, by the Clang of PyPI's ziglang.

It reads every file of cpp/isthmus for 64-bit ARM Linux, Macs with Apple's processors and Windows,
with those systems' headers: functions that a system lacks, intrinsics, types and warnings. It makes
no code, so it shows neither that the core links nor that it gives the right results there.
Windows' headers are MinGW's, not Microsoft's, and clang-cl's own options are not tried. The wheels'
workflow builds and tests on the systems themselves.
"""

import importlib.util
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LIBC = {  # in the order of search
    "aarch64-linux-gnu": (
        "aarch64-linux-gnu",
        "generic-glibc",
        "aarch64-linux-any",
        "any-linux-any",
    ),
    "arm64-apple-macos11": ("any-darwin-any",),
    "x86_64-windows-gnu": (
        "x86_64-windows-gnu",
        "generic-mingw",
        "x86_64-windows-any",
        "any-windows-any",
    ),
}
# What zig sets for its libc++, as this calls its Clang without zig.
LIBCXX = (
    "ABI_VERSION=1",
    "ABI_NAMESPACE=__1",
    "HAS_THREADS=1",
    "HAS_MONOTONIC_CLOCK=1",
    "HAS_TERMINAL=1",
    "HAS_MUSL_LIBC=0",
    "HAS_VENDOR_AVAILABILITY_ANNOTATIONS=0",
    "HAS_FILESYSTEM=1",
    "HAS_RANDOM_DEVICE=1",
    "HAS_LOCALIZATION=1",
    "HAS_UNICODE=1",
    "HAS_WIDE_CHARACTERS=1",
    "HAS_TIME_ZONE_DATABASE=0",
    "PSTL_BACKEND_SERIAL",
    "HARDENING_MODE=_LIBCPP_HARDENING_MODE_NONE",
    "ASSERTION_SEMANTIC_DEFAULT=_LIBCPP_ASSERTION_SEMANTIC_IGNORE",
)
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Werror")
NAMES = ("VERSION", "ISA_NAME", "COMPILER", "COMPILER_FLAGS", "THREADS_NAME")


def command(target: str, zig: Path, eigen: Path) -> list[str]:
    """Return the call of Clang that checks files for a target."""
    headers = [zig / "libcxx/include", zig / "libcxxabi/include", zig / "include"]
    headers += [zig / "libc/include" / folder for folder in LIBC[target]]
    return [
        *(sys.executable, "-m", "ziglang", "clang", "-x", "c++", "-std=c++17", "-fsyntax-only"),
        *(f"--target={target}", "-nostdinc", "-nostdinc++", *WARNINGS, "-Icpp"),
        *(f"-D_LIBCPP_{setting}" for setting in LIBCXX),
        "-DISTHMUS_THREADS_STD",
        *(f'-DISTHMUS_{name}=""' for name in NAMES),
        *(f"-isystem{folder}" for folder in [eigen, *headers]),
    ]


def main() -> int:
    """Check all files for all targets; return the program's exit status."""
    spec = importlib.util.find_spec("ziglang")
    eigen = Path(sysconfig.get_path("purelib")) / "cmeel.prefix/include/eigen3"
    if spec is None or spec.origin is None or not eigen.exists():
        print(
            "Skipped: `pip install ziglang cmeel-eigen` brings the Clang and the headers it needs."
        )
        return 0
    zig = Path(spec.origin).parent / "lib"
    files = sorted(str(path) for path in Path("cpp/isthmus").glob("*/*.cpp"))
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        checks = pool.map(lambda t: subprocess.run([*command(t, zig, eigen), *files]), LIBC)
        failed = [t for t, check in zip(LIBC, checks, strict=True) if check.returncode != 0]
    seconds = time.monotonic() - start
    print(f"{len(files)} files, {seconds:.0f} s; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
