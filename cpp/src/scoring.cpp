#include "isthmus/scoring.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "isthmus/dense.hpp"
#include "isthmus/parallel.hpp"
#include "isthmus/simd.hpp"

namespace isthmus {

namespace {

constexpr index_t kPairs = 1024;       // a piece of work
constexpr index_t kQueries = 32;       // likewise
constexpr index_t kCandidates = 1024;  // a tile of scores: 128 KiB

struct Scored {
    float score;
    std::int32_t item;
};

bool better(const Scored& a, const Scored& b) {
    return a.score > b.score || (a.score == b.score && a.item < b.item);
}

// The n best of a stream of candidates in ascending order: a heap with the worst kept on top.
class Best {
public:
    void reset(index_t n) {
        size_ = static_cast<std::size_t>(n);
        heap_.clear();
        heap_.reserve(size_);
    }

    // What a score must exceed: a later candidate of equal score is worse.
    float threshold() const {
        return heap_.size() < size_ ? -std::numeric_limits<float>::infinity() : heap_.front().score;
    }

    void offer(float score, std::int32_t item) {
        if (heap_.size() == size_) {
            std::pop_heap(heap_.begin(), heap_.end(), better);
            heap_.back() = {score, item};
        } else {
            heap_.push_back({score, item});
        }
        std::push_heap(heap_.begin(), heap_.end(), better);
    }

    const std::vector<Scored>& sorted() {
        std::sort_heap(heap_.begin(), heap_.end(), better);
        return heap_;
    }

private:
    std::size_t size_ = 0;
    std::vector<Scored> heap_;
};

float at_or_zero(const float* values, index_t i) { return values ? values[i] : 0.0f; }

// a . b for vectors of any alignment and length
float dot(const float* a, const float* b, index_t size) {
    Floats sums[4] = {};
    index_t p = 0;
    for (; p + 4 * kLanes <= size; p += 4 * kLanes) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            sums[j] += load_unaligned(a + p + j * kLanes) * load_unaligned(b + p + j * kLanes);
        }
    }
    for (; p + kLanes <= size; p += kLanes)
        sums[0] += load_unaligned(a + p) * load_unaligned(b + p);
    float rest = 0.0f;
    for (; p < size; ++p) rest += a[p] * b[p];
    return sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
}

// Scores of one query for a tile of candidates, from their dot products.
void finish_scores(const ScoreRule& rule, index_t query, index_t first, index_t count,
                   float* scores) {
    const float query_bias = at_or_zero(rule.query_bias, query);
    const float query_offset = at_or_zero(rule.query_offset, query);
    const float inverse = 1.0f / rule.scale;
    if (rule.candidate_bias) {
        for (index_t c = 0; c < count; ++c)
            scores[c] += query_bias + rule.candidate_bias[first + c];
    } else if (rule.query_bias) {
        for (index_t c = 0; c < count; ++c) scores[c] += query_bias;
    }
    if (rule.activation != Activation::identity) {
        for (index_t p = 0; p < count; p += kLanes) {  // the tile is padded to whole vectors
            store_unaligned(scores + p, activate(rule.activation, load_unaligned(scores + p)));
        }
    }
    if (rule.candidate_offset) {
        const float* offsets = rule.candidate_offset + first;
        for (index_t c = 0; c < count; ++c) {
            scores[c] = scores[c] * inverse + query_offset + offsets[c];
        }
    } else {
        for (index_t c = 0; c < count; ++c) scores[c] = scores[c] * inverse + query_offset;
    }
}

void select(const float* scores, index_t first, index_t count, Best& best) {
    constexpr index_t kStride = 16;
    float threshold = best.threshold();
    for (index_t begin = 0; begin < count; begin += kStride) {
        const index_t end = std::min(begin + kStride, count);
        float top = scores[begin];
        for (index_t c = begin + 1; c < end; ++c) top = scores[c] > top ? scores[c] : top;
        if (!(top > threshold)) continue;
        for (index_t c = begin; c < end; ++c) {
            if (scores[c] > threshold) {
                best.offer(scores[c], static_cast<std::int32_t>(first + c));
                threshold = best.threshold();
            }
        }
    }
}

}  // namespace

void score_pairs(ConstMatrixView query, ConstMatrixView candidate, const ScoreRule& rule,
                 const std::int32_t* queries, const std::int32_t* candidates, index_t count,
                 int num_threads, float* out) {
    const float inverse = 1.0f / rule.scale;
    parallel_ranges(count, kPairs, num_threads, [&](index_t begin, index_t end) {
        for (index_t i = begin; i < end; ++i) {
            const index_t q = queries[i];
            const index_t c = candidates[i];
            float score = dot(query.row(q), candidate.row(c), query.cols) +
                          (at_or_zero(rule.query_bias, q) + at_or_zero(rule.candidate_bias, c));
            if (rule.activation != Activation::identity) {
                score = activate(rule.activation, broadcast(score))[0];
            }
            out[i] = score * inverse + at_or_zero(rule.query_offset, q) +
                     at_or_zero(rule.candidate_offset, c);
        }
    });
}

void top_k(ConstMatrixView queries, ConstMatrixView candidates, const ScoreRule& rule,
           const CsrView& seen, index_t n, int num_threads, std::int32_t* items, float* scores) {
    constexpr float kNever = -std::numeric_limits<float>::infinity();
    parallel_ranges(queries.rows, kQueries, num_threads, [&](index_t begin, index_t end) {
        const index_t count = end - begin;
        Matrix tile(count, kCandidates);
        std::vector<Best> best(static_cast<std::size_t>(count));
        std::vector<index_t> seen_at(static_cast<std::size_t>(count));
        for (index_t q = 0; q < count; ++q) {
            best[static_cast<std::size_t>(q)].reset(n);
            if (seen.rows > 0) seen_at[static_cast<std::size_t>(q)] = seen.indptr[begin + q];
        }
        const ConstMatrixView own{queries.row(begin), count, queries.cols, queries.stride};
        for (index_t first = 0; first < candidates.rows; first += kCandidates) {
            const index_t width = std::min(kCandidates, candidates.rows - first);
            const ConstMatrixView some{candidates.row(first), width, candidates.cols,
                                       candidates.stride};
            MatrixView out = tile.view();
            out.cols = width;
            multiply_rows_transposed(own, some, 0, count, out);
            for (index_t q = 0; q < count; ++q) {
                float* row = tile.row(q);
                finish_scores(rule, begin + q, first, width, row);
                if (seen.rows > 0) {
                    index_t& at = seen_at[static_cast<std::size_t>(q)];
                    for (; at < seen.indptr[begin + q + 1] && seen.indices[at] < first + width;
                         ++at) {
                        row[seen.indices[at] - first] = kNever;
                    }
                }
                select(row, first, width, best[static_cast<std::size_t>(q)]);
            }
        }
        for (index_t q = 0; q < count; ++q) {
            const auto& kept = best[static_cast<std::size_t>(q)].sorted();
            for (index_t i = 0; i < n; ++i) {
                const bool filled = static_cast<std::size_t>(i) < kept.size();
                const index_t at = (begin + q) * n + i;
                items[at] = filled ? kept[static_cast<std::size_t>(i)].item : -1;
                scores[at] = filled ? kept[static_cast<std::size_t>(i)].score
                                    : std::numeric_limits<float>::quiet_NaN();
            }
        }
    });
}

}  // namespace isthmus
