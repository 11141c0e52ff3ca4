#pragma once
// Scalars, indices and matrices of the core: row-major float32, cache-line aligned, padded.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <vector>

namespace isthmus {

using index_t = std::int64_t;

// A cache line holds 16 floats; rows start on one and are padded with zeros to whole ones, so that
// kernels of every instruction set may run over full vectors and never need a scalar tail.
constexpr index_t kLineFloats = 16;

constexpr index_t round_up(index_t value, index_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

// Rows an odd number of cache lines apart fall into different cache sets; rows a power of two
// apart (k = 512) would all compete for the same few.
constexpr index_t padded_stride(index_t cols) {
    return (round_up(cols < 1 ? 1 : cols, kLineFloats) / kLineFloats | 1) * kLineFloats;
}

// Rows, columns or blocks [begin, end).
struct Range {
    index_t begin = 0;
    index_t end = 0;
    index_t size() const { return end - begin; }
};

struct MatrixView {
    float* data = nullptr;
    index_t rows = 0;
    index_t cols = 0;    // what the matrix is about
    index_t stride = 0;  // floats from one row to the next

    float* row(index_t i) const { return data + i * stride; }
    // Columns rounded up to whole cache lines: what kernels run over.
    index_t width() const { return round_up(cols, kLineFloats); }
};

struct ConstMatrixView {
    const float* data = nullptr;
    index_t rows = 0;
    index_t cols = 0;
    index_t stride = 0;

    ConstMatrixView() = default;
    ConstMatrixView(const float* data_, index_t rows_, index_t cols_, index_t stride_)
        : data(data_), rows(rows_), cols(cols_), stride(stride_) {}
    ConstMatrixView(const MatrixView& m)  // NOLINT(google-explicit-constructor): a view is a view
        : data(m.data), rows(m.rows), cols(m.cols), stride(m.stride) {}

    const float* row(index_t i) const { return data + i * stride; }
    index_t width() const { return round_up(cols, kLineFloats); }
};

inline MatrixView rows_of(MatrixView m, Range rows) {
    return {m.row(rows.begin), rows.size(), m.cols, m.stride};
}
inline ConstMatrixView rows_of(ConstMatrixView m, Range rows) {
    return {m.row(rows.begin), rows.size(), m.cols, m.stride};
}

struct AlignedDelete {
    void operator()(float* p) const noexcept;
};
using AlignedFloats = std::unique_ptr<float[], AlignedDelete>;

// Tells how much memory was asked for.
class OutOfMemory : public std::bad_alloc {
public:
    OutOfMemory(index_t rows, index_t cols, index_t memory);
    const char* what() const noexcept override { return message_.what(); }

private:
    std::runtime_error message_;  // whose copies cannot fail
};

// Owns rows x cols floats, zeroed at first; the padding stays zero for the matrix's whole life.
// They begin on a cache line, on huge pages where the system offers them and they would be full.
class Matrix {
public:
    Matrix() = default;
    // Throws OutOfMemory if there is too little memory.
    Matrix(index_t rows, index_t cols);

    index_t rows() const { return rows_; }
    index_t cols() const { return cols_; }
    index_t stride() const { return stride_; }
    index_t width() const { return round_up(cols_, kLineFloats); }
    index_t size() const { return rows_ * stride_; }
    bool empty() const { return rows_ == 0; }

    float* data() { return data_.get(); }
    const float* data() const { return data_.get(); }
    float* row(index_t i) { return data_.get() + i * stride_; }
    const float* row(index_t i) const { return data_.get() + i * stride_; }

    MatrixView view() { return {data_.get(), rows_, cols_, stride_}; }
    ConstMatrixView view() const { return {data_.get(), rows_, cols_, stride_}; }

    Matrix copy() const;
    void fill_zero();

private:
    AlignedFloats data_;
    index_t rows_ = 0;
    index_t cols_ = 0;
    index_t stride_ = 0;
};

}  // namespace isthmus
