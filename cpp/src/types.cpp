#include "isthmus/types.hpp"

#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace isthmus {

namespace {

constexpr std::size_t kLineBytes = kLineFloats * sizeof(float);
constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

void AlignedDelete::operator()(float* p) const noexcept { std::free(p); }

AlignedFloats allocate_floats(index_t count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
    const bool huge = bytes >= kHugePage / 4;
    const std::size_t alignment = huge ? kHugePage : kLineBytes;
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    auto* memory =
        static_cast<float*>(std::aligned_alloc(alignment, rounded ? rounded : alignment));
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (huge) madvise(memory, rounded, MADV_HUGEPAGE);  // advice only: fewer TLB misses
#endif
    std::memset(memory, 0, bytes);
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
