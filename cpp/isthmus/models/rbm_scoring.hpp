#pragma once
// Expected ratings of a restricted Boltzmann machine, from rows' codes and columns' weights.

#include <cstdint>
#include <vector>

#include "isthmus/core/types.hpp"
#include "isthmus/scoring/scoring.hpp"

namespace isthmus {

// score(row, column) = sum over k of
//     values_k softmax_k(bias_column,k + weights_column,k . code_row)
class ExpectedRatings final : public ScoreSource {
public:
    // codes: rows x hidden, weights: (columns x levels) x hidden, bias: columns x levels. Queries
    // are rows and candidates columns, or the reverse.
    ExpectedRatings(Matrix codes, Matrix weights, Matrix bias, std::vector<float> values,
                    bool queries_are_rows);

    index_t queries() const override { return queries_are_rows_ ? codes_.rows() : bias_.rows(); }
    index_t candidates() const override { return queries_are_rows_ ? bias_.rows() : codes_.rows(); }
    void tile(Range own, Range some, MatrixView out) const override;
    void list(index_t query, const std::int32_t* candidates, index_t count,
              float* out) const override;

private:
    float score(index_t query, index_t candidate, float* p) const;

    Matrix codes_, weights_, bias_;
    std::vector<float> values_;
    bool queries_are_rows_;
};

}  // namespace isthmus
