#include "isthmus/nn/dense.hpp"

#include <Eigen/Core>
#include <algorithm>

#include "isthmus/core/simd.hpp"
#include "isthmus/nn/activation_functions.hpp"

namespace isthmus {

namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ConstMap = Eigen::Map<const RowMajor, Eigen::Unaligned, Eigen::OuterStride<>>;
using Map = Eigen::Map<RowMajor, Eigen::Unaligned, Eigen::OuterStride<>>;

// Eigen sizes its blocks, and with them the order of its sums, by the caches it finds.
const bool fixed_cache_sizes = [] {
    Eigen::setCpuCacheSizes(32 << 10, 1 << 20, 8 << 20);
    return true;
}();

ConstMap map(ConstMatrixView m) { return {m.data, m.rows, m.cols, Eigen::OuterStride<>(m.stride)}; }
Map map(MatrixView m) { return {m.data, m.rows, m.cols, Eigen::OuterStride<>(m.stride)}; }

// Calls product(rows of a, their rows of out) for rows [begin, end). Eigen multiplies four rows at
// once and sums those that are left over in another order, so these come among four, the others
// zeros: a row's bits do not depend on how many there are.
template <class Product>
void by_fours(ConstMatrixView a, index_t begin, index_t end, MatrixView out,
              const Product& product) {
    constexpr index_t kRows = 4;
    const index_t left = (end - begin) % kRows, whole = end - begin - left;
    if (whole > 0) {
        product({a.row(begin), whole, a.cols, a.stride},
                {out.row(begin), whole, out.cols, out.stride});
    }
    if (left == 0) return;
    Matrix rows(kRows, a.cols), results(kRows, out.cols);
    for (index_t r = 0; r < left; ++r) {
        std::copy_n(a.row(begin + whole + r), a.cols, rows.row(r));
    }
    product(rows.view(), results.view());
    for (index_t r = 0; r < left; ++r) {
        std::copy_n(results.row(r), out.cols, out.row(begin + whole + r));
    }
}

}  // namespace

void multiply_rows(ConstMatrixView a, ConstMatrixView b, index_t begin, index_t end,
                   MatrixView out) {
    by_fours(a, begin, end, out,
             [&](ConstMatrixView rows, MatrixView to) { map(to).noalias() = map(rows) * map(b); });
}

void multiply_rows_transposed(ConstMatrixView a, ConstMatrixView b, index_t begin, index_t end,
                              MatrixView out) {
    by_fours(a, begin, end, out, [&](ConstMatrixView rows, MatrixView to) {
        map(to).noalias() = map(rows) * map(b).transpose();
    });
}

void multiply_columns(ConstMatrixView a, ConstMatrixView b, index_t rows, index_t begin,
                      index_t end, MatrixView out) {
    map(out).middleCols(begin, end - begin).noalias() =
        map(a).topRows(rows).transpose() * map(b).topRows(rows).middleCols(begin, end - begin);
}

void add_columns(ConstMatrixView a, ConstMatrixView b, index_t rows, index_t begin, index_t end,
                 MatrixView out) {
    map(out).middleCols(begin, end - begin).noalias() +=
        map(a).topRows(rows).transpose() * map(b).topRows(rows).middleCols(begin, end - begin);
}

void add_product(ConstMatrixView a, ConstMatrixView b, MatrixView out) {
    map(out).noalias() += map(a) * map(b);
}

void subtract_product_transposed(ConstMatrixView a, ConstMatrixView b, MatrixView out) {
    map(out).noalias() -= map(a) * map(b).transpose();
}

void add_row(const float* row, float* sums, index_t width) {
    for (index_t p = 0; p < width; p += kLanes) store(sums + p, load(sums + p) + load(row + p));
}

void add_scaled_row(float factor, const float* row, float* sums, index_t width) {
    for (index_t p = 0; p < width; p += kLanes) {
        store(sums + p, multiply_add(factor, load(row + p), load(sums + p)));
    }
}

void sum_columns(ConstMatrixView a, index_t rows, float* sums) {
    const index_t width = a.width();
    std::fill_n(sums, width, 0.0f);
    for (index_t r = 0; r < rows; ++r) add_row(a.row(r), sums, width);
}

void sum_rows(const std::vector<Matrix>& parts, index_t r, float* out, index_t width) {
    for (index_t p = 0; p < width; p += kLanes) {
        Floats total = load(parts.front().row(r) + p);
        for (std::size_t s = 1; s < parts.size(); ++s) total += load(parts[s].row(r) + p);
        store(out + p, total);
    }
}

void activate_row(Activation activation, const float* bias, float* z, float* h, index_t cols) {
    const index_t width = round_up(cols, kLineFloats);
    for (index_t p = 0; p < width; p += kLanes) {
        const Floats before = load(z + p) + load(bias + p);
        store(z + p, before);
        store(h + p, activate(activation, before));
    }
    std::fill(h + cols, h + width, 0.0f);
}

void through_activation(Activation activation, const float* z, const float* h, const float* kept,
                        float* error, index_t width) {
    for (index_t p = 0; p < width; p += kLanes) {
        const Floats before = load(z + p);
        Floats after = load(h + p);
        Floats e = load(error + p);
        if (kept) {
            after = activate(activation, before);
            e *= load(kept + p);
        }
        store(error + p, e * derivative(activation, before, after));
    }
}

}  // namespace isthmus
