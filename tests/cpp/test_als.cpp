// Implicit feedback's least squares against the normal equations in double, solved by elimination.

#include "isthmus/solvers/als.hpp"

#include "check.hpp"
#include "random_data.hpp"

using isthmus::Confidence;
using testing::ConstMatrixView;
using testing::Doubles;
using testing::index_t;
using testing::Matrix;
using testing::Sparse;

namespace {

constexpr float kPenalty = 0.6f;

// (other V^T V + (positive - other) sum over the row's cells of v v^T + penalty I) p =
//     positive sum over the row's cells of v + penalty prior
Doubles solve_naively(const Sparse& cells, const Matrix& v, const Confidence& weights,
                      const Matrix& prior) {
    const index_t k = v.cols();
    Doubles solved(cells.rows(), k);
    for (index_t row = 0; row < cells.rows(); ++row) {
        std::vector<bool> stored(static_cast<std::size_t>(cells.cols));
        for (auto i = cells.indptr[static_cast<std::size_t>(row)];
             i < cells.indptr[static_cast<std::size_t>(row) + 1]; ++i) {
            stored[static_cast<std::size_t>(cells.indices[static_cast<std::size_t>(i)])] = true;
        }
        Doubles a(k, k + 1);
        for (index_t c = 0; c < cells.cols; ++c) {
            const bool one = stored[static_cast<std::size_t>(c)];
            const double weight = one ? weights.positive : weights.other;
            for (index_t i = 0; i < k; ++i) {
                for (index_t j = 0; j < k; ++j) {
                    a.row(i)[j] += weight * v.row(c)[i] * v.row(c)[j];
                }
                if (one) a.row(i)[k] += weight * v.row(c)[i];
            }
        }
        for (index_t i = 0; i < k; ++i) {
            a.row(i)[i] += kPenalty;
            if (!prior.empty()) a.row(i)[k] += double{kPenalty} * prior.row(row)[i];
        }
        for (index_t pivot = 0; pivot < k; ++pivot) {
            for (index_t i = 0; i < k; ++i) {
                if (i == pivot) continue;
                const double factor = a.row(i)[pivot] / a.row(pivot)[pivot];
                for (index_t j = pivot; j <= k; ++j) a.row(i)[j] -= factor * a.row(pivot)[j];
            }
        }
        for (index_t i = 0; i < k; ++i) solved.row(row)[i] = a.row(i)[k] / a.row(i)[i];
    }
    return solved;
}

void check_size(index_t k, bool with_prior) {
    const Sparse cells = testing::random_sparse(45, 60, 4);
    const Matrix v = testing::random_matrix(cells.cols, k, 5);
    const Matrix prior = with_prior ? testing::random_matrix(cells.rows(), k, 6) : Matrix();
    const Confidence weights{1.5f, 0.1f};
    Matrix gram(k, k);
    factor_gram(v.view(), 3, gram.view());
    Matrix one(cells.rows(), k), many(cells.rows(), k);
    const auto solve = [&](int num_threads, Matrix& out) {
        const ConstMatrixView mean = with_prior ? prior.view() : ConstMatrixView{};
        return solve_implicit_rows(cells.view(), v.view(), gram.view(), weights, kPenalty, mean,
                                   num_threads, {}, out.view());
    };
    const double error = solve(1, one);
    CHECK_EQUAL(error, solve(5, many));
    CHECK(testing::same_bits(one, many));
    CHECK(testing::difference(one.view(), solve_naively(cells, v, weights, prior)) < 2e-5);
}

}  // namespace

int main() {
    for (const index_t k : {1, 7, 33}) {
        check_size(k, false);
        check_size(k, true);
    }
    return check::result();
}
