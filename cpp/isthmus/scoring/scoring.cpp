#include "isthmus/scoring/scoring.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "isthmus/core/parallel.hpp"
#include "isthmus/core/simd.hpp"
#include "isthmus/nn/activation_functions.hpp"
#include "isthmus/nn/dense.hpp"
#include "isthmus/scoring/topk.hpp"

namespace isthmus {

namespace {

constexpr index_t kPairs = 1024;   // a piece of work
constexpr index_t kQueries = 128;  // likewise; fewer would not pay for packing the candidates

float at_or_zero(const float* values, index_t i) { return values ? values[i] : 0.0f; }

// a . b for vectors of any alignment and length
float dot_unaligned(const float* a, const float* b, index_t size) {
    Floats sums[4] = {};
    index_t p = 0;
    for (; p + 4 * kLanes <= size; p += 4 * kLanes) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            const index_t at = p + j * kLanes;
            sums[j] = multiply_add(load_unaligned(a + at), load_unaligned(b + at), sums[j]);
        }
    }
    for (; p + kLanes <= size; p += kLanes) {
        sums[0] = multiply_add(load_unaligned(a + p), load_unaligned(b + p), sums[0]);
    }
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

// Weights of a product are summed this many vectors at a time, in registers.
constexpr int kSums = 8;

}  // namespace

void DotScores::tile(Range own, Range some, MatrixView out) const {
    out.cols = some.size();
    multiply_rows_transposed(rows_of(query_, own), rows_of(candidate_, some), 0, own.size(), out);
    for (index_t q = 0; q < own.size(); ++q) {
        finish_scores(rule_, own.begin + q, some.begin, some.size(), out.row(q));
    }
}

void DotScores::list(index_t query, const std::int32_t* candidates, index_t count,
                     float* out) const {
    const float inverse = 1.0f / rule_.scale;
    for (index_t i = 0; i < count; ++i) {
        const index_t c = candidates[i];
        float score = dot_unaligned(query_.row(query), candidate_.row(c), query_.cols) +
                      (at_or_zero(rule_.query_bias, query) + at_or_zero(rule_.candidate_bias, c));
        if (rule_.activation != Activation::identity) {
            score = activate(rule_.activation, broadcast(score))[0];
        }
        out[i] = score * inverse + at_or_zero(rule_.query_offset, query) +
                 at_or_zero(rule_.candidate_offset, c);
    }
}

void ProductScores::tile(Range own, Range some, MatrixView out) const {
    constexpr index_t kChunk = kSums * kLanes;
    const index_t count = some.size();
    // chunk by chunk with the queries inside: the weights' columns of a chunk stay in the cache
    for (index_t offset = 0; offset < count; offset += kChunk) {
        const index_t vectors = std::min<index_t>((count - offset) / kLanes, kSums);
        const index_t rest = offset + vectors * kLanes;  // the last few candidates, one by one
        const index_t end = vectors < kSums ? count : rest;
        for (index_t q = 0; q < own.size(); ++q) {
            const index_t row = own.begin + q;
            Floats sums[kSums] = {};
            float* scores = out.row(q);
            for (index_t c = rest; c < end; ++c) scores[c] = 0.0f;
            for (index_t i = rows_.indptr[row]; i < rows_.indptr[row + 1]; ++i) {
                const float x = rows_.values[i];
                const float* weights = weights_.row(rows_.indices[i]) + some.begin;
                if (vectors == kSums) {
#pragma GCC unroll 8
                    for (int j = 0; j < kSums; ++j) {
                        sums[j] += x * load_unaligned(weights + offset + j * kLanes);
                    }
                } else {
                    for (index_t j = 0; j < vectors; ++j) {
                        sums[j] += x * load_unaligned(weights + offset + j * kLanes);
                    }
                }
                for (index_t c = rest; c < end; ++c) scores[c] += x * weights[c];
            }
            for (index_t j = 0; j < vectors; ++j) store(scores + offset + j * kLanes, sums[j]);
        }
    }
}

void ProductScores::list(index_t query, const std::int32_t* candidates, index_t count,
                         float* out) const {
    std::fill_n(out, count, 0.0f);
    for (index_t i = rows_.indptr[query]; i < rows_.indptr[query + 1]; ++i) {
        const float x = rows_.values[i];
        const float* weights = weights_.row(rows_.indices[i]);
        for (index_t c = 0; c < count; ++c) out[c] += x * weights[candidates[c]];
    }
}

WeightedScores::WeightedScores(std::vector<const ScoreSource*> sources, std::vector<float> weights,
                               float constant)
    : sources_(std::move(sources)), weights_(std::move(weights)), constant_(constant) {
    if (sources_.empty() || sources_.size() != weights_.size()) {
        throw std::invalid_argument("there must be a weight for each of at least one source");
    }
    for (const ScoreSource* source : sources_) {
        if (source->queries() != queries() || source->candidates() != candidates()) {
            throw std::invalid_argument("sources must have as many queries and candidates each");
        }
    }
}

void WeightedScores::tile(Range own, Range some, MatrixView out) const {
    Matrix part(own.size(), some.size());
    for (index_t q = 0; q < own.size(); ++q) std::fill_n(out.row(q), some.size(), constant_);
    for (std::size_t m = 0; m < sources_.size(); ++m) {
        sources_[m]->tile(own, some, part.view());
        for (index_t q = 0; q < own.size(); ++q) {
            const float* scores = part.row(q);
            float* sums = out.row(q);
            for (index_t c = 0; c < some.size(); ++c) sums[c] += weights_[m] * scores[c];
        }
    }
}

void WeightedScores::list(index_t query, const std::int32_t* candidates, index_t count,
                          float* out) const {
    std::vector<float> part(static_cast<std::size_t>(count));
    std::fill_n(out, count, constant_);
    for (std::size_t m = 0; m < sources_.size(); ++m) {
        sources_[m]->list(query, candidates, count, part.data());
        for (index_t i = 0; i < count; ++i) {
            out[i] += weights_[m] * part[static_cast<std::size_t>(i)];
        }
    }
}

void score_pairs(const ScoreSource& source, const std::int32_t* queries,
                 const std::int32_t* candidates, index_t count, int num_threads, float* out) {
    parallel_ranges(count, kPairs, num_threads, [&](index_t begin, index_t end) {
        while (begin < end) {
            index_t next = begin + 1;
            while (next < end && queries[next] == queries[begin]) ++next;
            source.list(queries[begin], candidates + begin, next - begin, out + begin);
            begin = next;
        }
    });
}

void top_k(const ScoreSource& source, const CsrView& seen, index_t n, int num_threads,
           std::int32_t* items, float* scores) {
    const index_t candidates = source.candidates();
    parallel_ranges(source.queries(), kQueries, num_threads, [&](index_t begin, index_t end) {
        const index_t count = end - begin;
        Matrix tile(count, kTileCandidates);
        std::vector<Best> best(static_cast<std::size_t>(count));
        std::vector<index_t> seen_at(static_cast<std::size_t>(count));
        for (index_t q = 0; q < count; ++q) {
            best[static_cast<std::size_t>(q)].reset(std::min(n, candidates));
            if (seen.rows > 0) seen_at[static_cast<std::size_t>(q)] = seen.indptr[begin + q];
        }
        for (index_t first = 0; first < candidates; first += kTileCandidates) {
            const index_t width = std::min(kTileCandidates, candidates - first);
            source.tile({begin, end}, {first, first + width}, tile.view());
            for (index_t q = 0; q < count; ++q) {
                float* row = tile.row(q);
                if (seen.rows > 0) {
                    leave_out(seen, begin + q, first, width, seen_at[static_cast<std::size_t>(q)],
                              row);
                }
                best[static_cast<std::size_t>(q)].offer_all(row, first, width);
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
