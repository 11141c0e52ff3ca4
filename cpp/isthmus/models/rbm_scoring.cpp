#include "isthmus/models/rbm_scoring.hpp"

#include <stdexcept>
#include <utility>

#include "isthmus/models/rbm.hpp"
#include "isthmus/models/softmax.hpp"

namespace isthmus {

ExpectedRatings::ExpectedRatings(Matrix codes, Matrix weights, Matrix bias,
                                 std::vector<float> values, bool queries_are_rows)
    : codes_(std::move(codes)),
      weights_(std::move(weights)),
      bias_(std::move(bias)),
      values_(std::move(values)),
      queries_are_rows_(queries_are_rows) {
    const auto levels = static_cast<index_t>(values_.size());
    if (levels < 1 || levels > kMaxLevels || bias_.cols() != levels) {
        throw std::invalid_argument("bias and values must have the same levels");
    }
    if (weights_.rows() != bias_.rows() * levels) {
        throw std::invalid_argument("weights must have a row per column and level");
    }
    if (weights_.cols() != codes_.cols()) {
        throw std::invalid_argument("codes and weights must have the same number of columns");
    }
}

// p: scratch, with room for the levels in whole vectors
float ExpectedRatings::score(index_t query, index_t candidate, float* p) const {
    const index_t row = queries_are_rows_ ? query : candidate;
    const index_t column = queries_are_rows_ ? candidate : query;
    const auto levels = static_cast<index_t>(values_.size());
    level_probabilities(weights_.view(), column * levels, bias_.row(column), levels,
                        codes_.row(row), p);
    return expected_value(p, values_.data(), levels);
}

void ExpectedRatings::tile(Range own, Range some, MatrixView out) const {
    Matrix p(1, static_cast<index_t>(values_.size()));
    for (index_t c = 0; c < some.size(); ++c) {
        for (index_t q = 0; q < own.size(); ++q) {
            out.row(q)[c] = score(own.begin + q, some.begin + c, p.data());
        }
    }
}

void ExpectedRatings::list(index_t query, const std::int32_t* candidates, index_t count,
                           float* out) const {
    Matrix p(1, static_cast<index_t>(values_.size()));
    for (index_t i = 0; i < count; ++i) out[i] = score(query, candidates[i], p.data());
}

}  // namespace isthmus
