#include "isthmus/scoring/ranking_metrics.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "isthmus/core/parallel.hpp"
#include "isthmus/scoring/topk.hpp"

namespace isthmus {

namespace {

constexpr index_t kQueries = 64;                   // a piece of work
constexpr index_t kKeptScores = index_t{4} << 20;  // where whole rows of scores are kept
constexpr index_t kUnranked = -1;                  // the place of what has no score

// The counts from which a query's metrics follow.
struct Outcome {
    index_t positives = 0;
    std::vector<index_t> hits;  // ranks from 0, ascending, of the positives in the list
    index_t first = kUnranked;  // rank of the first positive of all; with `whole` alone
    double auc = 0.0;           // likewise
};

// Orders NaN with what is never ranked, below every number.
float standing(float score) { return score > kNever ? score : kNever; }

double discount(index_t rank) { return 1.0 / std::log2(static_cast<double>(rank) + 2.0); }

double metric_value(const RankingColumn& column, const Outcome& outcome,
                    const std::vector<double>& ideal) {
    if (column.metric == RankingMetric::auc) return outcome.auc;
    if (column.k == 0) {
        return outcome.first == kUnranked ? 0.0 : 1.0 / static_cast<double>(outcome.first + 1);
    }
    const auto end = std::lower_bound(outcome.hits.begin(), outcome.hits.end(), column.k);
    const auto hits = static_cast<double>(end - outcome.hits.begin());
    const index_t capped = std::min(column.k, outcome.positives);
    switch (column.metric) {
        case RankingMetric::precision: return hits / static_cast<double>(column.k);
        case RankingMetric::recall: return hits / static_cast<double>(outcome.positives);
        case RankingMetric::recall_capped: return hits / static_cast<double>(capped);
        case RankingMetric::hit_rate: return hits > 0.0 ? 1.0 : 0.0;
        case RankingMetric::mrr:
            return hits > 0.0 ? 1.0 / static_cast<double>(outcome.hits.front() + 1) : 0.0;
        case RankingMetric::ndcg: {
            double gain = 0.0;
            for (auto hit = outcome.hits.begin(); hit != end; ++hit) gain += discount(*hit);
            return gain / ideal[static_cast<std::size_t>(capped)];
        }
        case RankingMetric::map: {
            double total = 0.0, so_far = 0.0;
            for (auto hit = outcome.hits.begin(); hit != end; ++hit) {
                total += ++so_far / static_cast<double>(*hit + 1);
            }
            return total / static_cast<double>(capped);
        }
        case RankingMetric::auc: break;
    }
    return 0.0;
}

// One thread's share of the work, with its scratch space.
class Ranker {
public:
    Ranker(const ScoreSource& source, const RankingTask& task, index_t most, bool whole)
        : source_(source), task_(task), most_(most), whole_(whole) {}

    // Metrics of queries [begin, end) on all candidates.
    template <class Report>
    void rank_all(index_t begin, index_t end, const Report& report) {
        const index_t count = end - begin;
        const index_t candidates = source_.candidates();
        Matrix tile(count, whole_ ? candidates : kTileCandidates);
        std::vector<Best> best(static_cast<std::size_t>(count));
        std::vector<index_t> seen_at(static_cast<std::size_t>(count));
        for (index_t q = 0; q < count; ++q) {
            best[static_cast<std::size_t>(q)].reset(most_);
            if (task_.seen.rows > 0) {
                seen_at[static_cast<std::size_t>(q)] = task_.seen.indptr[begin + q];
            }
        }
        for (index_t first = 0; first < candidates; first += kTileCandidates) {
            const index_t width = std::min(kTileCandidates, candidates - first);
            MatrixView out = tile.view();
            if (whole_) out.data += first;
            source_.tile({begin, end}, {first, first + width}, out);
            for (index_t q = 0; q < count; ++q) {
                float* row = out.row(q);
                if (task_.seen.rows > 0) {
                    leave_out(task_.seen, begin + q, first, width,
                              seen_at[static_cast<std::size_t>(q)], row);
                }
                if (most_ > 0) best[static_cast<std::size_t>(q)].offer_all(row, first, width);
            }
        }
        for (index_t q = 0; q < count; ++q) {
            list_ = best[static_cast<std::size_t>(q)].sorted();
            gather_hits(begin + q);
            if (whole_ && outcome_.positives > 0) compare(begin + q, tile.row(q), candidates);
            report(begin + q, list_, outcome_);
        }
    }

    // Metrics of one query on its own list.
    template <class Report>
    void rank_list(index_t query, const Report& report) {
        const CsrView& lists = task_.lists;
        const index_t count = lists.row_nnz(query);
        const std::int32_t* items = lists.indices + lists.indptr[query];
        scores_.resize(static_cast<std::size_t>(count));
        source_.list(query, items, count, scores_.data());
        all_.clear();
        index_t seen = task_.seen.rows > 0 ? task_.seen.indptr[query] : 0;
        const index_t seen_end = task_.seen.rows > 0 ? task_.seen.indptr[query + 1] : 0;
        for (index_t i = 0; i < count; ++i) {
            while (seen < seen_end && task_.seen.indices[seen] < items[i]) ++seen;
            if (seen < seen_end && task_.seen.indices[seen] == items[i]) continue;
            all_.push_back({standing(scores_[static_cast<std::size_t>(i)]), items[i]});
        }
        std::sort(all_.begin(), all_.end(), better);
        list_.assign(all_.begin(), std::find_if(all_.begin(), all_.end(), [](const Scored& one) {
                         return one.score == kNever;
                     }));
        gather_hits(query);
        if (whole_ && outcome_.positives > 0) compare_list(query);
        if (list_.size() > static_cast<std::size_t>(most_))
            list_.resize(static_cast<std::size_t>(most_));
        report(query, list_, outcome_);
    }

private:
    bool positive(index_t query, std::int32_t item) const {
        const std::int32_t* indices = task_.positives.indices;
        return std::binary_search(indices + task_.positives.indptr[query],
                                  indices + task_.positives.indptr[query + 1], item);
    }

    void gather_hits(index_t query) {
        outcome_.positives = task_.positives.row_nnz(query);
        outcome_.hits.clear();
        for (std::size_t r = 0; r < list_.size(); ++r) {
            if (positive(query, list_[r].item)) outcome_.hits.push_back(static_cast<index_t>(r));
        }
    }

    // The first positive's rank and the AUC from a whole row of scores.
    void compare(index_t query, const float* scores, index_t count) {
        const CsrView& positives = task_.positives;
        index_t next = positives.indptr[query];
        const index_t end = positives.indptr[query + 1];
        const CsrView& out = task_.seen;
        index_t seen = out.rows > 0 ? out.indptr[query] : 0;
        const index_t seen_end = out.rows > 0 ? out.indptr[query + 1] : 0;
        start_comparison();
        Scored top{kNever, std::numeric_limits<std::int32_t>::max()};
        for (index_t i = next; i < end; ++i) {
            const Scored one{standing(scores[positives.indices[i]]), positives.indices[i]};
            if (better(one, top)) top = one;
            ranked_.push_back(one.score);
        }
        std::sort(ranked_.begin(), ranked_.end());
        index_t ahead = 0;
        for (index_t c = 0; c < count; ++c) {
            if (next < end && positives.indices[next] == c) {
                ++next;
                continue;
            }
            if (seen < seen_end && out.indices[seen] == c) {
                ++seen;
                continue;
            }
            const float score = standing(scores[c]);
            if (better({score, static_cast<std::int32_t>(c)}, top)) ++ahead;
            compare_other(score);
        }
        if (top.score > kNever) outcome_.first = ahead;
        finish_comparison();
    }

    void compare_list(index_t query) {
        start_comparison();
        if (!outcome_.hits.empty()) outcome_.first = outcome_.hits.front();
        for (const Scored& one : all_) {
            if (positive(query, one.item)) ranked_.push_back(one.score);
        }
        std::sort(ranked_.begin(), ranked_.end());
        for (const Scored& one : all_) {
            if (!positive(query, one.item)) compare_other(one.score);
        }
        finish_comparison();
    }

    void start_comparison() {
        outcome_.first = kUnranked;
        ranked_.clear();
        others_ = 0;
        twice_won_ = 0;
    }

    // Positives above another candidate win, those level with it win half.
    void compare_other(float score) {
        const auto [level, above] = std::equal_range(ranked_.begin(), ranked_.end(), score);
        twice_won_ += 2 * (ranked_.end() - above) + (above - level);
        ++others_;
    }

    void finish_comparison() {
        const double pairs = static_cast<double>(ranked_.size()) * static_cast<double>(others_);
        outcome_.auc = pairs > 0.0 ? 0.5 * static_cast<double>(twice_won_) / pairs
                                   : std::numeric_limits<double>::quiet_NaN();
    }

    const ScoreSource& source_;
    const RankingTask& task_;
    index_t most_;
    bool whole_;
    std::vector<Scored> list_, all_;
    std::vector<float> scores_, ranked_;
    index_t others_ = 0;
    std::int64_t twice_won_ = 0;
    Outcome outcome_;
};

// Lowers a place atomically.
void lower(std::atomic<std::int32_t>& place, std::int32_t rank) {
    std::int32_t before = place.load(std::memory_order_relaxed);
    while (rank < before && !place.compare_exchange_weak(before, rank, std::memory_order_relaxed)) {
    }
}

}  // namespace

RankingMetric ranking_metric_from_name(const std::string& name) {
    if (name == "precision") return RankingMetric::precision;
    if (name == "recall") return RankingMetric::recall;
    if (name == "recall_capped") return RankingMetric::recall_capped;
    if (name == "ndcg") return RankingMetric::ndcg;
    if (name == "map") return RankingMetric::map;
    if (name == "mrr") return RankingMetric::mrr;
    if (name == "hit_rate") return RankingMetric::hit_rate;
    if (name == "auc") return RankingMetric::auc;
    throw std::invalid_argument("unknown ranking metric '" + name +
                                "': choose precision, recall, recall_capped, ndcg, map, mrr, "
                                "hit_rate or auc");
}

void rank(const ScoreSource& source, const RankingTask& task,
          const std::vector<RankingColumn>& columns, index_t coverage, int num_threads,
          double* values, std::int32_t* best_rank) {
    const index_t queries = source.queries();
    const index_t candidates = source.candidates();
    index_t most = std::min(coverage, candidates);
    bool whole = false;
    for (const RankingColumn& column : columns) {
        most = std::max(most, std::min(column.k, candidates));
        whole = whole || column.k == 0;
    }
    std::vector<double> ideal(static_cast<std::size_t>(most) + 1);
    for (std::size_t r = 1; r < ideal.size(); ++r) {
        ideal[r] = ideal[r - 1] + discount(static_cast<index_t>(r) - 1);
    }
    std::vector<std::atomic<std::int32_t>> places(
        static_cast<std::size_t>(best_rank ? candidates : 0));
    for (auto& place : places) place = std::numeric_limits<std::int32_t>::max();

    const auto report = [&](index_t query, const std::vector<Scored>& list,
                            const Outcome& outcome) {
        double* out = values + query * static_cast<index_t>(columns.size());
        for (std::size_t i = 0; i < columns.size(); ++i) {
            out[i] = outcome.positives > 0 ? metric_value(columns[i], outcome, ideal)
                                           : std::numeric_limits<double>::quiet_NaN();
        }
        if (best_rank) {
            for (std::size_t r = 0; r < list.size(); ++r) {
                lower(places[static_cast<std::size_t>(list[r].item)], static_cast<std::int32_t>(r));
            }
        }
    };
    const bool lists = task.lists.rows > 0;
    const index_t grain =
        whole && !lists
            ? std::clamp<index_t>(kKeptScores / std::max<index_t>(candidates, 1), 1, kQueries)
            : kQueries;
    parallel_ranges(queries, grain, num_threads, [&](index_t begin, index_t end) {
        Ranker ranker(source, task, most, whole);
        if (lists) {
            for (index_t q = begin; q < end; ++q) ranker.rank_list(q, report);
        } else {
            ranker.rank_all(begin, end, report);
        }
    });
    for (std::size_t c = 0; c < places.size(); ++c) best_rank[c] = places[c];
}

}  // namespace isthmus
