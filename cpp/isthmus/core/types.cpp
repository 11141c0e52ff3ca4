#include "isthmus/core/types.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(_WIN32)
#include <malloc.h>
#endif

namespace isthmus {

namespace {

constexpr index_t kFloatBytes = sizeof(float);
constexpr index_t kLineBytes = kLineFloats * kFloatBytes;
constexpr index_t kHugePage = index_t{2} << 20;

// Returns the memory of the machine, or of the container, in bytes.
index_t read_physical_memory() {
    index_t memory = std::numeric_limits<index_t>::max();
#if defined(_SC_PHYS_PAGES) && defined(_SC_PAGESIZE)
    const index_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) memory = pages * page;
#endif
#if defined(__linux__)
    for (const char* limit :
         {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
        index_t bytes = 0;
        if (std::ifstream(limit) >> bytes && bytes > 0) memory = std::min(memory, bytes);
    }
#endif
    return memory;
}

std::string describe(index_t rows, index_t cols, index_t memory) {
    constexpr double gib = 1 << 30;
    const double needed = static_cast<double>(rows) * static_cast<double>(cols) * kFloatBytes;
    std::ostringstream text;
    text.precision(4);
    text << "a matrix of " << rows << " x " << cols << " numbers needs " << needed / gib
         << " GiB, and this machine has " << static_cast<double>(memory) / gib << " GiB of memory.";
    return text.str();
}

// Checked before allocating: a system that promises more memory than it has would end the process
// later.
void require_memory(index_t rows, index_t cols) {
    static const index_t memory = read_physical_memory();
    if (rows < 0 || cols < 0) throw std::length_error("a matrix has at least 0 rows and columns");
    const index_t most = memory / kFloatBytes;
    if (cols > most || (rows > 0 && padded_stride(cols) > most / rows))
        throw OutOfMemory(rows, cols, memory);
}

// `bytes` is a multiple of `alignment`. Windows has no std::aligned_alloc, as its free() could not
// release such memory.
void* allocate_aligned(index_t alignment, index_t bytes) {
    const auto size = static_cast<std::size_t>(bytes), step = static_cast<std::size_t>(alignment);
#if defined(_WIN32)
    return _aligned_malloc(size, step);
#else
    return std::aligned_alloc(step, size);
#endif
}

AlignedFloats allocate(index_t rows, index_t cols) {
    require_memory(rows, cols);
    const index_t bytes = rows * padded_stride(cols) * kFloatBytes;
    // A huge page is resident as a whole: the last one is taken only if half of it is needed.
    const index_t huge = (bytes + kHugePage / 2) / kHugePage * kHugePage;
    const index_t alignment = huge > 0 ? kHugePage : kLineBytes;
    const index_t rounded = round_up(std::max<index_t>(bytes, 1), alignment);
    auto* memory = static_cast<float*>(allocate_aligned(alignment, rounded));
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    // advice only: fewer TLB misses
    if (huge > 0) madvise(memory, static_cast<std::size_t>(huge), MADV_HUGEPAGE);
#endif
    std::memset(memory, 0, static_cast<std::size_t>(bytes));
    return AlignedFloats(memory);
}

}  // namespace

void AlignedDelete::operator()(float* p) const noexcept {
#if defined(_WIN32)
    _aligned_free(p);
#else
    std::free(p);
#endif
}

OutOfMemory::OutOfMemory(index_t rows, index_t cols, index_t memory)
    : message_(describe(rows, cols, memory)) {}

Matrix::Matrix(index_t rows, index_t cols)
    : data_(allocate(rows, cols)), rows_(rows), cols_(cols), stride_(padded_stride(cols)) {}

Matrix Matrix::copy() const {
    Matrix other(rows_, cols_);
    if (size() > 0)
        std::memcpy(other.data(), data(), static_cast<std::size_t>(size()) * sizeof(float));
    return other;
}

void Matrix::fill_zero() {
    if (size() > 0) std::memset(data(), 0, static_cast<std::size_t>(size()) * sizeof(float));
}

}  // namespace isthmus
