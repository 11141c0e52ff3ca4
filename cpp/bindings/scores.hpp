#pragma once
// Score sources with the arrays that they view, held by Python.

#include <string>
#include <utility>
#include <vector>

#include "convert.hpp"
#include "isthmus/scoring/scoring.hpp"
#include "pybind.hpp"

namespace isthmus {

using FloatArray = py::array_t<float>;
using IndexArray = Array<std::int32_t>;

class Scores {
public:
    virtual ~Scores() = default;
    virtual const ScoreSource& source() const = 0;
};

// Vectors of queries and candidates and how their scores are made.
class Scorer final : public Scores {
public:
    Scorer(FloatArray queries, FloatArray candidates, const std::string& activation, float scale,
           OptionalArray<float> query_bias, OptionalArray<float> candidate_bias,
           OptionalArray<float> query_offset, OptionalArray<float> candidate_offset)
        : queries_(std::move(queries)),
          candidates_(std::move(candidates)),
          query_bias_(std::move(query_bias)),
          candidate_bias_(std::move(candidate_bias)),
          query_offset_(std::move(query_offset)),
          candidate_offset_(std::move(candidate_offset)),
          source_(make(activation, scale)) {}

    const ScoreSource& source() const override { return source_; }

private:
    DotScores make(const std::string& activation, float scale) const {
        const ConstMatrixView q = matrix_view(queries_, "queries");
        const ConstMatrixView c = matrix_view(candidates_, "candidates");
        require(q.cols == c.cols, "queries and candidates must have the same number of columns");
        ScoreRule rule;
        rule.activation = activation_from_name(activation);
        rule.scale = scale;
        rule.query_bias = data_or_null(query_bias_, q.rows, "query_bias");
        rule.candidate_bias = data_or_null(candidate_bias_, c.rows, "candidate_bias");
        rule.query_offset = data_or_null(query_offset_, q.rows, "query_offset");
        rule.candidate_offset = data_or_null(candidate_offset_, c.rows, "candidate_offset");
        return {q, c, rule};
    }

    FloatArray queries_, candidates_;
    OptionalArray<float> query_bias_, candidate_bias_, query_offset_, candidate_offset_;
    DotScores source_;
};

// Sparse rows, and the dense matrix that they are multiplied with.
class ProductScorer final : public Scores {
public:
    ProductScorer(Array<std::int64_t> indptr, IndexArray indices, Array<float> values,
                  FloatArray weights)
        : indptr_(std::move(indptr)),
          indices_(std::move(indices)),
          values_(std::move(values)),
          weights_(std::move(weights)),
          source_(
              csr_view(indptr_, indices_, values_, weights_.ndim() == 2 ? weights_.shape(0) : 0),
              matrix_view(weights_, "weights")) {}

    const ScoreSource& source() const override { return source_; }

private:
    Array<std::int64_t> indptr_;
    IndexArray indices_;
    Array<float> values_;
    FloatArray weights_;
    ProductScores source_;
};

// Other sources' scores, weighted and summed.
class WeightedScorer final : public Scores {
public:
    WeightedScorer(py::tuple scores, std::vector<float> weights, float constant)
        : scores_(std::move(scores)), source_(sources(), std::move(weights), constant) {}

    const ScoreSource& source() const override { return source_; }

private:
    std::vector<const ScoreSource*> sources() const {
        std::vector<const ScoreSource*> all;
        for (const py::handle& each : scores_) all.push_back(&each.cast<const Scores&>().source());
        return all;
    }

    py::tuple scores_;
    WeightedScores source_;
};

// Cells of queries x candidates as CSR with ascending indices in each row; without rows if null.
inline CsrView pattern_view(const Scores& scores, const OptionalArray<std::int64_t>& indptr,
                            const OptionalArray<std::int32_t>& indices, const std::string& name) {
    CsrView pattern;
    if (!indptr || !indices) return pattern;
    pattern.rows = scores.source().queries();
    pattern.cols = scores.source().candidates();
    pattern.indptr = indptr->data();
    pattern.indices = indices->data();
    require(indptr->size() == pattern.rows + 1,
            name + "_indptr must have a position per query, and one");
    bool ascends = true;
    for (index_t r = 0; r < pattern.rows; ++r) {
        ascends = ascends && pattern.indptr[r] <= pattern.indptr[r + 1];
    }
    require(ascends, name + "_indptr must not decrease");
    require(pattern.indptr[0] >= 0 && pattern.indptr[pattern.rows] <= indices->size(),
            name + "_indptr points outside of " + name + "_indices");
    for (index_t r = 0; r < pattern.rows; ++r) {
        std::int64_t last = -1;
        for (index_t i = pattern.indptr[r]; i < pattern.indptr[r + 1]; ++i) {
            ascends = ascends && last < pattern.indices[i] && pattern.indices[i] < pattern.cols;
            last = pattern.indices[i];
        }
    }
    require(ascends, name + "_indices must ascend within the candidates");
    return pattern;
}

}  // namespace isthmus
