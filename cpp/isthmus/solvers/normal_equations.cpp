#include "isthmus/solvers/normal_equations.hpp"

#include <algorithm>
#include <cmath>

#include "isthmus/core/chunks.hpp"
#include "isthmus/core/simd.hpp"

namespace isthmus {

namespace {

constexpr index_t kStripFloats = 6144;  // half of a first-level cache
constexpr int kPanel = 8;               // pivots eliminated at once

// A tile of the Gram matrix: as many sums as fit the registers beside the operands.
#if defined(__AVX512F__)
constexpr int kTileRows = 8;
#else
constexpr int kTileRows = 4;
#endif
constexpr int kTileVectors = 3;

// gram[i : i + kTileRows, j : j + V vectors] += strip^T strip
template <int V>
void add_tile(const Matrix& strip, index_t rows, index_t i, index_t j, Matrix& gram) {
    Floats sums[kTileRows][V] = {};
    const float* row = strip.data();
    for (index_t r = 0; r < rows; ++r, row += strip.stride()) {
        Floats right[V];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) right[v] = load(row + j + v * kLanes);
#pragma GCC unroll 8
        for (int t = 0; t < kTileRows; ++t) {
            const float left = row[i + t];
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) sums[t][v] = multiply_add(left, right[v], sums[t][v]);
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTileRows; ++t) {
        float* out = gram.row(i + t) + j;
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) store(out + v * kLanes, load(out + v * kLanes) + sums[t][v]);
    }
}

// row -= the sum over P of factors[p] x pivots[p], from column `begin` (a multiple of a vector) on
template <int P>
ISTHMUS_INLINE void eliminate(const float* const (&pivots)[P], const float (&factors)[P],
                              index_t begin, index_t width, float* row) {
    for (index_t j = begin; j < width; j += kLanes) {
        Floats sum = load(row + j);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) sum = multiply_add(-factors[p], load(pivots[p] + j), sum);
        store(row + j, sum);
    }
}

constexpr index_t vector_start(index_t column) { return column / kLanes * kLanes; }

}  // namespace

NormalEquations::NormalEquations(index_t unknowns)
    : unknowns_(unknowns),
      strip_rows_(std::clamp<index_t>(kStripFloats / padded_stride(unknowns + 1), 16, 128)),
      strip_(strip_rows_, unknowns + 1),
      gram_(round_up(unknowns + 1, kLineFloats), unknowns + 1),
      diagonal_(1, unknowns) {}

void NormalEquations::clear() {
    rows_ = 0;
    gram_.fill_zero();
}

void NormalEquations::start(ConstMatrixView gram, float scale) {
    clear();
    for (index_t i = 0; i < unknowns_; ++i) {
        for (index_t j = i; j < unknowns_; ++j) gram_.row(i)[j] = scale * gram.row(i)[j];
    }
}

void NormalEquations::add_strip() {
    const index_t width = gram_.width();
    constexpr index_t step = kTileVectors * kLanes;
    for (index_t i = 0; i <= unknowns_; i += kTileRows) {
        index_t j = vector_start(i);
        for (; j + step <= width; j += step) add_tile<kTileVectors>(strip_, rows_, i, j, gram_);
        if (j + 2 * kLanes <= width) {
            add_tile<2>(strip_, rows_, i, j, gram_);
        } else if (j < width) {
            add_tile<1>(strip_, rows_, i, j, gram_);
        }
    }
    rows_ = 0;
}

// Cholesky's U^T U in place of the upper triangle, a panel of pivots at a time; the target's
// column becomes U^-T Z^T t along the way. False at a pivot that is rounding error.
bool NormalEquations::factorize() {
    const index_t width = gram_.width();
    for (index_t panel = 0; panel < unknowns_; panel += kPanel) {
        const index_t end = std::min(panel + kPanel, unknowns_);
        for (index_t p = panel; p < end; ++p) {
            float* pivot = gram_.row(p);
            if (!(pivot[p] > 1e-6f * diagonal_.row(0)[p])) return false;
            const float inverse = 1.0f / std::sqrt(pivot[p]);
            for (index_t j = vector_start(p); j < width; j += kLanes) {
                store(pivot + j, load(pivot + j) * inverse);
            }
            for (index_t i = p + 1; i < end; ++i) {
                const float* const pivots[1] = {pivot};
                eliminate(pivots, {pivot[i]}, vector_start(i), width, gram_.row(i));
            }
        }
        if (end - panel < kPanel) break;  // the last unknowns: only the target's row is left
        const float* pivots[kPanel];
        for (int p = 0; p < kPanel; ++p) pivots[p] = gram_.row(panel + p);
        for (index_t i = end; i < unknowns_; ++i) {
            float factors[kPanel];
            for (int p = 0; p < kPanel; ++p) factors[p] = pivots[p][i];
            eliminate(pivots, factors, vector_start(i), width, gram_.row(i));
        }
    }
    return true;
}

bool NormalEquations::solve(const float* penalty, const float* prior, float* w,
                            double& squared_error) {
    if (rows_ > 0) add_strip();
    double squared_targets = gram_.row(unknowns_)[unknowns_];
    for (index_t j = 0; j < unknowns_; ++j) {
        if (prior) {
            gram_.row(j)[unknowns_] += penalty[j] * prior[j];
            squared_targets += double{penalty[j]} * prior[j] * prior[j];
        }
        gram_.row(j)[j] += penalty[j];
        diagonal_.row(0)[j] = gram_.row(j)[j];
    }
    if (!factorize()) return false;

    // The objective at its minimum is |t|^2 - |U^-T Z^T t|^2; a prior is one more observation
    // an unknown.
    double objective = squared_targets;
    for (index_t j = 0; j < unknowns_; ++j) {
        const double y = gram_.row(j)[unknowns_];
        objective -= y * y;
    }
    // U w = y from the last unknown upwards, as products of rows with what is already known
    float* known = diagonal_.row(0);
    std::fill_n(known, diagonal_.width(), 0.0f);
    double penalized = 0.0;
    for (index_t j = unknowns_; j-- > 0;) {
        const float* row = gram_.row(j);
        const index_t c = vector_start(j);
        known[j] = (row[unknowns_] - dot(row + c, known + c, diagonal_.width() - c)) / row[j];
        const double distance = double{known[j]} - (prior ? double{prior[j]} : 0.0);
        penalized += double{penalty[j]} * distance * distance;
    }
    std::copy_n(known, unknowns_, w);
    squared_error = std::max(0.0, objective - penalized);
    return true;
}

}  // namespace isthmus
