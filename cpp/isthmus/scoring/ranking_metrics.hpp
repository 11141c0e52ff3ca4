#pragma once
// Metrics of how well scores rank a query's positives among the candidates: precision, recall, NDCG
// and others, several at several cut-offs in one pass, in blocks of queries.

#include <cstdint>
#include <string>
#include <vector>

#include "isthmus/core/csr.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/scoring/scoring.hpp"

namespace isthmus {

// With r positives, h of them among the first k:
enum class RankingMetric {
    precision,      // h / k
    recall,         // h / r
    recall_capped,  // h / min(k, r)
    ndcg,           // sum over hits of 1 / log2(rank + 1), by its greatest possible value
    map,            // sum over hits of (hits so far / rank), by min(k, r)
    mrr,            // 1 / the rank of the first hit
    hit_rate,       // 1 if h > 0
    auc             // share of (positive, other) pairs in the right order, ties counting half
};

// Throws std::invalid_argument naming the choices.
RankingMetric ranking_metric_from_name(const std::string& name);

// A metric at a cut-off; with k = 0 (mrr and auc alone) on the whole list.
struct RankingColumn {
    RankingMetric metric;
    index_t k;
};

// All are queries x candidates, with ascending indices.
struct RankingTask {
    CsrView positives;
    CsrView seen;   // left out; without rows: nothing. No positive may be among them.
    CsrView lists;  // what is ranked: must hold the positives; without rows: all but the seen
};

// values: queries x columns, NaN for a query without positives (auc: or without others).
// best_rank: per candidate its best place, from 0, in any query's list, which is cut at the
// greatest k or at `coverage`; the greatest int32 if it is in none; null: not wanted. Ties are
// broken by candidate. A score of NaN or -infinity is no score: such a candidate has no place and
// is no hit, and for auc it is below all that have one, and level with the others that have none.
void rank(const ScoreSource& source, const RankingTask& task,
          const std::vector<RankingColumn>& columns, index_t coverage, int num_threads,
          double* values, std::int32_t* best_rank);

}  // namespace isthmus
