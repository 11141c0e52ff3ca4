#pragma once
// Scores of queries for candidates: of given pairs, or the best n of all, which are scored and
// selected block by block so that no matrix of all scores exists. A ScoreSource computes them.

#include <cstdint>
#include <vector>

#include "isthmus/core/csr.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/activations.hpp"

namespace isthmus {

// A source of scores, called for hundreds at a time.
class ScoreSource {
public:
    virtual ~ScoreSource() = default;
    virtual index_t queries() const = 0;
    virtual index_t candidates() const = 0;

    // out(q, c) = score of query own.begin + q for candidate some.begin + c. The rows of `out` are
    // aligned, and padded to whole vectors that may be overwritten.
    virtual void tile(Range own, Range some, MatrixView out) const = 0;

    // out[i] = score of one query for candidates[i]
    virtual void list(index_t query, const std::int32_t* candidates, index_t count,
                      float* out) const = 0;

protected:
    ScoreSource() = default;
    ScoreSource(const ScoreSource&) = default;
    ScoreSource& operator=(const ScoreSource&) = default;
};

// score(q, c) = f(query_q . candidate_c + query_bias_q + candidate_bias_c) / scale
//               + query_offset_q + candidate_offset_c;  a null array is all zeros
struct ScoreRule {
    Activation activation = Activation::identity;
    float scale = 1.0f;
    const float* query_bias = nullptr;
    const float* candidate_bias = nullptr;
    const float* query_offset = nullptr;
    const float* candidate_offset = nullptr;
};

// Dot products of vectors: rows of two dense matrices.
class DotScores final : public ScoreSource {
public:
    DotScores(ConstMatrixView query, ConstMatrixView candidate, const ScoreRule& rule)
        : query_(query), candidate_(candidate), rule_(rule) {}

    index_t queries() const override { return query_.rows; }
    index_t candidates() const override { return candidate_.rows; }
    void tile(Range own, Range some, MatrixView out) const override;
    void list(index_t query, const std::int32_t* candidates, index_t count,
              float* out) const override;

private:
    ConstMatrixView query_, candidate_;
    ScoreRule rule_;
};

// Sparse rows times a dense matrix: score(q, c) = sum over the row's cells i of x_qi B_ic.
class ProductScores final : public ScoreSource {
public:
    // rows: queries x m, weights: m x candidates
    ProductScores(const CsrView& rows, ConstMatrixView weights) : rows_(rows), weights_(weights) {}

    index_t queries() const override { return rows_.rows; }
    index_t candidates() const override { return weights_.cols; }
    void tile(Range own, Range some, MatrixView out) const override;
    void list(index_t query, const std::int32_t* candidates, index_t count,
              float* out) const override;

private:
    CsrView rows_;
    ConstMatrixView weights_;
};

// Several sources' scores as one: score(q, c) = constant + sum over m of weight_m score_m(q, c).
class WeightedScores final : public ScoreSource {
public:
    // Takes at least one source, all with the same numbers of queries and candidates, and a weight
    // for each; throws std::invalid_argument otherwise. The sources must outlive this.
    WeightedScores(std::vector<const ScoreSource*> sources, std::vector<float> weights,
                   float constant);

    index_t queries() const override { return sources_.front()->queries(); }
    index_t candidates() const override { return sources_.front()->candidates(); }
    void tile(Range own, Range some, MatrixView out) const override;
    void list(index_t query, const std::int32_t* candidates, index_t count,
              float* out) const override;

private:
    std::vector<const ScoreSource*> sources_;
    std::vector<float> weights_;
    float constant_;
};

// out[i] = score(queries[i], candidates[i])
void score_pairs(const ScoreSource& source, const std::int32_t* queries,
                 const std::int32_t* candidates, index_t count, int num_threads, float* out);

// For each query its n best candidates, best first; equal scores in order of the candidate. Stored
// cells of `seen` (queries x candidates; without rows: nothing) are left out. Where fewer than n
// are left, the rest is -1 and NaN. items, scores: queries x n.
void top_k(const ScoreSource& source, const CsrView& seen, index_t n, int num_threads,
           std::int32_t* items, float* scores);

}  // namespace isthmus
