#pragma once
// Scores of queries for candidates by the dot product of their vectors: of given pairs, or the best
// n of all. The latter are scored and selected block by block; no matrix of all scores exists.

#include <cstdint>
#include <functional>

#include "isthmus/activations.hpp"
#include "isthmus/csr_view.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

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

// out[i] = score(queries[i], candidates[i]) for pairs of rows of `query` and `candidate`.
void score_pairs(ConstMatrixView query, ConstMatrixView candidate, const ScoreRule& rule,
                 const std::int32_t* queries, const std::int32_t* candidates, index_t count,
                 int num_threads, float* out);

// For each query its n best candidates, best first; equal scores in order of the candidate. Stored
// cells of `seen` (queries x candidates; without rows: nothing) are left out. Where fewer than n
// are left, the rest is -1 and NaN. items, scores: queries x n.
void top_k(ConstMatrixView queries, ConstMatrixView candidates, const ScoreRule& rule,
           const CsrView& seen, index_t n, int num_threads, std::int32_t* items, float* scores);

// Fills a tile (queries x candidates) with the scores of the queries from `query` on for the
// candidates from `candidate` on.
using TileScorer = std::function<void(index_t query, index_t candidate, MatrixView tile)>;

// The same with scores of any kind.
void top_k(index_t queries, index_t candidates, const TileScorer& score_tile, const CsrView& seen,
           index_t n, int num_threads, std::int32_t* items, float* scores);

}  // namespace isthmus
