#pragma once

// Random matrices for tests, the same at every run.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "isthmus/batches/column_layout.hpp"
#include "isthmus/core/bfloat16.hpp"
#include "isthmus/core/csr.hpp"
#include "isthmus/core/types.hpp"

namespace testing {

using isthmus::ColumnLayout;
using isthmus::ConstMatrixView;
using isthmus::CsrView;
using isthmus::index_t;
using isthmus::Matrix;

struct Sparse {
    index_t cols = 0;
    std::vector<std::int64_t> indptr{0};
    std::vector<std::int32_t> indices;
    std::vector<float> values;

    index_t rows() const { return static_cast<index_t>(indptr.size()) - 1; }
    CsrView view() const { return {rows(), cols, indptr.data(), indices.data(), values.data()}; }
    CsrView pattern() const { return {rows(), cols, indptr.data(), indices.data(), nullptr}; }
    std::vector<std::int64_t> popularity() const {
        std::vector<std::int64_t> counts(static_cast<std::size_t>(cols));
        for (const std::int32_t c : indices) ++counts[static_cast<std::size_t>(c)];
        return counts;
    }
    // For batches of `batch_rows`.
    ColumnLayout layout(index_t batch_rows = 60) const {
        return {popularity(), rows(), batch_rows};
    }
};

// Ratings from 0 to 5. Columns grow rarer; every fifth row is empty, the next one is nearly full.
inline Sparse random_sparse(index_t rows, index_t cols, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform;
    Sparse sparse;
    sparse.cols = cols;
    for (index_t r = 0; r < rows; ++r) {
        const double fullness = r % 5 == 3 ? 0.0 : r % 5 == 4 ? 0.9 : 0.2;
        for (index_t c = 0; c < cols; ++c) {
            const double rarity = 1.0 - static_cast<double>(c) / static_cast<double>(cols);
            if (uniform(random) >= fullness * rarity) continue;
            sparse.indices.push_back(static_cast<std::int32_t>(c));
            sparse.values.push_back(static_cast<float>(random() % 6));
        }
        sparse.indptr.push_back(static_cast<std::int64_t>(sparse.indices.size()));
    }
    return sparse;
}

// Rows of ones, scaled to length 1.
inline Sparse unit_rows(index_t rows, index_t cols, unsigned seed) {
    Sparse sparse = random_sparse(rows, cols, seed);
    for (std::size_t r = 0; r + 1 < sparse.indptr.size(); ++r) {
        const auto count = static_cast<float>(sparse.indptr[r + 1] - sparse.indptr[r]);
        for (auto i = sparse.indptr[r]; i < sparse.indptr[r + 1]; ++i) {
            sparse.values[static_cast<std::size_t>(i)] = 1.0f / std::sqrt(count);
        }
    }
    return sparse;
}

inline Matrix random_matrix(index_t rows, index_t cols, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    Matrix matrix(rows, cols);
    for (index_t r = 0; r < rows; ++r) {
        for (index_t c = 0; c < cols; ++c) matrix.row(r)[c] = uniform(random);
    }
    return matrix;
}

// Of numbers that bfloat16 holds.
inline Matrix random_halves(index_t rows, index_t cols, unsigned seed) {
    Matrix m = random_matrix(rows, cols, seed);
    for (index_t r = 0; r < rows; ++r) {
        for (index_t c = 0; c < m.width(); c += isthmus::kLanes) {
            const isthmus::Words words = isthmus::split(isthmus::load(m.row(r) + c)) & 0xFFFF0000u;
            isthmus::store(m.row(r) + c, (isthmus::Floats)words);
        }
    }
    return m;
}

inline std::vector<std::int32_t> first_integers(index_t count) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
}

// rows x cols doubles, zero at first: what naive loops compute with.
struct Doubles {
    index_t cols;
    std::vector<double> numbers;

    Doubles(index_t rows, index_t cols_)
        : cols(cols_), numbers(static_cast<std::size_t>(rows * cols_)) {}
    explicit Doubles(ConstMatrixView m) : Doubles(m.rows, m.cols) {
        for (index_t r = 0; r < m.rows; ++r) std::copy_n(m.row(r), cols, row(r));
    }
    double* row(index_t r) { return numbers.data() + r * cols; }
    const double* row(index_t r) const { return numbers.data() + r * cols; }
};

// The largest difference between the two.
inline double difference(ConstMatrixView actual, const Doubles& expected) {
    double worst = 0.0;
    for (index_t r = 0; r < actual.rows; ++r) {
        for (index_t c = 0; c < actual.cols; ++c) {
            const double d = std::abs(double{actual.row(r)[c]} - expected.row(r)[c]);
            worst = d <= worst ? worst : d;  // NaN is a difference too
        }
    }
    return worst;
}

// Whether all the numbers beyond the columns are zero.
inline bool padding_is_zero(ConstMatrixView m) {
    for (index_t r = 0; r < m.rows; ++r) {
        for (index_t c = m.cols; c < m.stride; ++c) {
            if (m.row(r)[c] != 0.0f) return false;
        }
    }
    return true;
}

inline bool same_bits(const Matrix& a, const Matrix& b) {
    return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data());
}

}  // namespace testing
