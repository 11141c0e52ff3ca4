#include "isthmus/scoring/scoring.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "check.hpp"
#include "random_data.hpp"

using isthmus::Activation;
using isthmus::CsrView;
using isthmus::ScoreRule;
using testing::index_t;
using testing::Matrix;
using testing::Sparse;

namespace {

constexpr index_t kQueries = 70, kCandidates = 1500, kUnits = 21;

// Two tiles of candidates and three pieces of queries, with every term of the rule.
struct Fixture {
    Matrix queries = testing::random_matrix(kQueries, kUnits, 1);
    Matrix candidates = testing::random_matrix(kCandidates, kUnits, 2);
    Matrix query_terms = testing::random_matrix(2, kQueries, 3);
    Matrix candidate_terms = testing::random_matrix(2, kCandidates, 4);
    Sparse seen = testing::random_sparse(kQueries, kCandidates, 5);
    ScoreRule rule{Activation::tanh,   0.5f,
                   query_terms.row(0), candidate_terms.row(0),
                   query_terms.row(1), candidate_terms.row(1)};

    isthmus::DotScores source() const { return {queries.view(), candidates.view(), rule}; }
    double score(index_t q, index_t c) const {
        double z = double{rule.query_bias[q]} + rule.candidate_bias[c];
        for (index_t j = 0; j < kUnits; ++j) z += double{queries.row(q)[j]} * candidates.row(c)[j];
        return std::tanh(z) / rule.scale + rule.query_offset[q] + rule.candidate_offset[c];
    }
};

struct Lists {
    std::vector<std::int32_t> items;
    std::vector<float> scores;
};

Lists best(const Fixture& f, const CsrView& seen, index_t n, int num_threads) {
    Lists lists{std::vector<std::int32_t>(static_cast<std::size_t>(kQueries * n)),
                std::vector<float>(static_cast<std::size_t>(kQueries * n))};
    top_k(f.source(), seen, n, num_threads, lists.items.data(), lists.scores.data());
    return lists;
}

void pairs_have_their_scores() {
    const Fixture f;
    std::vector<std::int32_t> queries, candidates;
    for (int i = 0; i < 3000; ++i) {
        queries.push_back(i * 7 % static_cast<int>(kQueries));
        candidates.push_back(i * 11 % static_cast<int>(kCandidates));
    }
    std::vector<float> scores(3000);
    score_pairs(f.source(), queries.data(), candidates.data(), 3000, 3, scores.data());
    for (std::size_t i = 0; i < 3000; ++i) {
        CHECK_CLOSE(scores[i], f.score(queries[i], candidates[i]), 1e-5);
    }
}

void the_best_are_found_and_what_was_seen_is_left_out() {
    const Fixture f;
    constexpr index_t n = 20;
    const Lists lists = best(f, f.seen.view(), n, 2);
    for (index_t q = 0; q < kQueries; ++q) {
        std::vector<double> left;
        const auto begin = f.seen.indices.begin() + f.seen.indptr[static_cast<std::size_t>(q)];
        const auto end = f.seen.indices.begin() + f.seen.indptr[static_cast<std::size_t>(q) + 1];
        for (index_t c = 0; c < kCandidates; ++c) {
            if (!std::binary_search(begin, end, c)) left.push_back(f.score(q, c));
        }
        std::sort(left.rbegin(), left.rend());
        for (index_t i = 0; i < n; ++i) {
            const auto at = static_cast<std::size_t>(q * n + i);
            const std::int32_t item = lists.items[at];
            CHECK_CLOSE(lists.scores[at], left[static_cast<std::size_t>(i)], 1e-5);
            CHECK(item >= 0 && !std::binary_search(begin, end, item));
            CHECK_CLOSE(lists.scores[at], f.score(q, item), 1e-5);
        }
    }
}

void weighted_scores_are_sums() {
    const Fixture f;
    const isthmus::DotScores dot(f.queries.view(), f.candidates.view(), f.rule);
    const isthmus::WeightedScores sum({&dot, &dot}, {3.0f, -1.0f}, 0.25f);
    std::vector<std::int32_t> all(static_cast<std::size_t>(kCandidates));
    std::iota(all.begin(), all.end(), 0);
    std::vector<float> listed(all.size());
    Matrix tile(2, kCandidates);
    sum.tile({5, 7}, {0, kCandidates}, tile.view());
    sum.list(6, all.data(), kCandidates, listed.data());
    for (index_t c = 0; c < kCandidates; ++c) {
        const double expected = 0.25 + 2.0 * f.score(6, c);
        CHECK_CLOSE(tile.row(1)[c], expected, 1e-5);
        CHECK_CLOSE(listed[static_cast<std::size_t>(c)], expected, 1e-5);
    }
}

void equal_scores_are_in_order_of_the_candidate() {
    Fixture f;
    f.queries.fill_zero();
    f.rule = {};
    const Lists lists = best(f, {}, 5, 1);
    for (index_t q = 0; q < kQueries; ++q) {
        for (index_t i = 0; i < 5; ++i) {
            CHECK_EQUAL(lists.items[static_cast<std::size_t>(q * 5 + i)], i);
        }
    }
}

void short_lists_end_in_minus_one_and_nan() {
    const Fixture f;
    constexpr index_t n = kCandidates + 3;
    const Lists lists = best(f, {}, n, 2);
    for (index_t q = 0; q < kQueries; ++q) {
        for (index_t i = 0; i < n; ++i) {
            const auto at = static_cast<std::size_t>(q * n + i);
            CHECK_EQUAL(lists.items[at] == -1, i >= kCandidates);
            CHECK_EQUAL(std::isnan(lists.scores[at]), i >= kCandidates);
        }
    }
}

void no_candidates_leave_empty_lists() {
    Fixture f;
    f.candidates = Matrix(0, kUnits);
    f.rule = {};
    const std::vector<std::int64_t> nothing_seen(kQueries + 1);
    CsrView seen;
    seen.rows = kQueries;
    seen.indptr = nothing_seen.data();
    for (const CsrView& out : {CsrView{}, seen}) {
        const Lists lists = best(f, out, 2, 2);
        for (const std::int32_t item : lists.items) CHECK_EQUAL(item, -1);
        for (const float score : lists.scores) CHECK(std::isnan(score));
    }
}

void the_number_of_threads_changes_no_bit() {
    const Fixture f;
    const Lists one = best(f, f.seen.view(), 30, 1), four = best(f, f.seen.view(), 30, 4);
    CHECK(one.items == four.items);
    CHECK(one.scores == four.scores);
}

}  // namespace

int main() {
    pairs_have_their_scores();
    the_best_are_found_and_what_was_seen_is_left_out();
    weighted_scores_are_sums();
    equal_scores_are_in_order_of_the_candidate();
    short_lists_end_in_minus_one_and_nan();
    no_candidates_leave_empty_lists();
    the_number_of_threads_changes_no_bit();
    return check::result();
}
