#include "isthmus/types.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace isthmus {

namespace {

constexpr index_t kFloatBytes = sizeof(float);
constexpr index_t kLineBytes = kLineFloats * kFloatBytes;
constexpr index_t kHugePage = index_t{2} << 20;

}  // namespace

void AlignedDelete::operator()(float* p) const noexcept { std::free(p); }

AlignedFloats allocate_floats(index_t count) {
    const index_t bytes = count * kFloatBytes;
    // A huge page is resident as a whole: the last one is taken only if half of it is needed.
    const index_t huge = (bytes + kHugePage / 2) / kHugePage * kHugePage;
    const index_t alignment = huge > 0 ? kHugePage : kLineBytes;
    const index_t rounded = round_up(std::max<index_t>(bytes, 1), alignment);
    auto* memory = static_cast<float*>(
        std::aligned_alloc(static_cast<std::size_t>(alignment), static_cast<std::size_t>(rounded)));
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    // advice only: fewer TLB misses
    if (huge > 0) madvise(memory, static_cast<std::size_t>(huge), MADV_HUGEPAGE);
#endif
    std::memset(memory, 0, static_cast<std::size_t>(bytes));
    return AlignedFloats(memory);
}

Matrix::Matrix(index_t rows, index_t cols)
    : data_(allocate_floats(rows * padded_stride(cols))),
      rows_(rows),
      cols_(cols),
      stride_(padded_stride(cols)) {}

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
