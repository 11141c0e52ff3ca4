#include "isthmus/scoring/ranking_metrics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "random_data.hpp"

using isthmus::CsrView;
using isthmus::DotScores;
using isthmus::RankingColumn;
using isthmus::RankingMetric;
using isthmus::RankingTask;
using testing::index_t;
using testing::Matrix;
using testing::Sparse;

namespace {

constexpr std::int32_t kNowhere = std::numeric_limits<std::int32_t>::max();

const std::vector<RankingColumn> kColumns = {
    {RankingMetric::precision, 3}, {RankingMetric::recall, 3}, {RankingMetric::recall_capped, 3},
    {RankingMetric::ndcg, 3},      {RankingMetric::map, 3},    {RankingMetric::mrr, 3},
    {RankingMetric::hit_rate, 1},  {RankingMetric::mrr, 0},    {RankingMetric::auc, 0},
};

// Scores as they are given: a query's vector is its scores, a candidate's is a unit vector.
struct Scores {
    Matrix queries, candidates;

    explicit Scores(const std::vector<std::vector<float>>& rows)
        : queries(static_cast<index_t>(rows.size()), static_cast<index_t>(rows[0].size())),
          candidates(queries.cols(), queries.cols()) {
        for (index_t q = 0; q < queries.rows(); ++q) {
            std::copy(rows[static_cast<std::size_t>(q)].begin(),
                      rows[static_cast<std::size_t>(q)].end(), queries.row(q));
        }
        for (index_t c = 0; c < candidates.rows(); ++c) candidates.row(c)[c] = 1.0f;
    }
    DotScores source() const { return {queries.view(), candidates.view(), {}}; }
};

Sparse pattern(index_t cols, const std::vector<std::set<std::int32_t>>& rows) {
    Sparse sparse;
    sparse.cols = cols;
    for (const auto& row : rows) {
        sparse.indices.insert(sparse.indices.end(), row.begin(), row.end());
        sparse.indptr.push_back(static_cast<std::int64_t>(sparse.indices.size()));
    }
    sparse.values.assign(sparse.indices.size(), 1.0f);
    return sparse;
}

struct Outcome {
    std::vector<double> values;
    std::vector<std::int32_t> places;
};

Outcome ranked(const DotScores& source, const RankingTask& task, index_t coverage,
               int num_threads) {
    Outcome outcome{
        std::vector<double>(static_cast<std::size_t>(source.queries()) * kColumns.size()),
        std::vector<std::int32_t>(static_cast<std::size_t>(source.candidates()))};
    isthmus::rank(source, task, kColumns, coverage, num_threads, outcome.values.data(),
                  outcome.places.data());
    return outcome;
}

void check_values(const Outcome& outcome, std::size_t query, const std::vector<double>& expected) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CHECK_CLOSE(outcome.values[query * kColumns.size() + i], expected[i], 1e-12);
    }
}

void metrics_are_those_worked_out_by_hand() {
    // in order: 3, 1, 4, 0, 2; the positives 1 and 0 are second and fourth
    const Scores scores({{2, 8, 1, 9, 5}, {2, 8, 1, 9, 5}});
    const Sparse positives = pattern(5, {{0, 1}, {}});
    const DotScores source = scores.source();
    const Outcome all = ranked(source, {positives.view(), {}, {}}, 2, 1);
    const double second = 1.0 / std::log2(3.0);
    check_values(all, 0,
                 {1.0 / 3.0, 0.5, 0.5, second / (1.0 + second), 0.25, 0.5, 0.0, 0.5, 3.0 / 6.0});
    for (std::size_t i = 0; i < kColumns.size(); ++i) {
        CHECK(std::isnan(all.values[kColumns.size() + i]));  // nothing to find
    }
    const std::vector<std::int32_t> places = {kNowhere, 1, kNowhere, 0, 2};  // the list is of 3
    CHECK(all.places == places);

    // without 3 and 4, which were seen: 1, 0, 2
    const Sparse seen = pattern(5, {{3, 4}, {}});
    const Outcome unseen = ranked(source, {positives.view(), seen.view(), {}}, 2, 1);
    check_values(unseen, 0, {2.0 / 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0});

    // among 0, 1, 2 and 3 alone: 3, 1, 0, 2
    const Sparse lists = pattern(5, {{0, 1, 2, 3}, {2}});
    const Outcome listed = ranked(source, {positives.view(), {}, lists.view()}, 2, 1);
    const double ndcg = (second + 0.5) / (1.0 + second);
    check_values(listed, 0,
                 {2.0 / 3.0, 1.0, 1.0, ndcg, (0.5 + 2.0 / 3.0) / 2.0, 0.5, 0.0, 0.5, 2.0 / 4.0});
    CHECK_EQUAL(listed.places[2], 0);  // the second query's list

    // and without 3
    const Sparse third = pattern(5, {{3}, {}});
    const Outcome both = ranked(source, {positives.view(), third.view(), lists.view()}, 2, 1);
    check_values(both, 0, {2.0 / 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0});
}

void equal_scores_are_ranked_by_candidate_and_count_half() {
    const Scores scores({{1, 1, 1, 1}});
    const Sparse positives = pattern(4, {{2}});
    const Outcome outcome = ranked(scores.source(), {positives.view(), {}, {}}, 1, 1);
    check_values(outcome, 0, {1.0 / 3.0, 1.0, 1.0, 0.5, 1.0 / 3.0, 1.0 / 3.0, 0.0, 1.0 / 3.0, 0.5});
    CHECK_EQUAL(outcome.places[0], 0);
}

void a_query_without_others_has_no_auc() {
    const Scores scores({{1, 2}});
    const Sparse positives = pattern(2, {{0, 1}});
    const Outcome outcome = ranked(scores.source(), {positives.view(), {}, {}}, 1, 1);
    CHECK(std::isnan(outcome.values[8]));
    CHECK_EQUAL(outcome.values[1], 1.0);
}

void candidates_without_a_number_for_a_score_have_no_place() {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> offsets = {nan, 2, nan, 1};
    const Matrix zeros(4, 1), query(1, 1);
    isthmus::ScoreRule rule;
    rule.candidate_offset = offsets.data();
    const DotScores source(query.view(), zeros.view(), rule);
    const Sparse positives = pattern(4, {{0}}), everything = pattern(4, {{0, 1, 2, 3}});
    for (const CsrView& lists : {CsrView{}, everything.view()}) {
        const Outcome outcome = ranked(source, {positives.view(), {}, lists}, 4, 1);
        check_values(outcome, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0.5 / 3.0});
        const std::vector<std::int32_t> places = {kNowhere, 0, kNowhere, 1};
        CHECK(outcome.places == places);
    }
}

// Quarters, so that products are exact and many scores are equal.
Matrix random_quarters(index_t rows, index_t cols, unsigned seed) {
    Matrix matrix = testing::random_matrix(rows, cols, seed);
    for (index_t r = 0; r < rows; ++r) {
        for (index_t c = 0; c < cols; ++c) {
            matrix.row(r)[c] = std::round(4.0f * matrix.row(r)[c]) / 4.0f;
        }
    }
    return matrix;
}

// More than a tile of candidates and several pieces of queries.
struct Large {
    Matrix queries = random_quarters(150, 9, 1);
    Matrix candidates = random_quarters(2500, 9, 2);
    Sparse seen = testing::random_sparse(150, 2500, 3);
    Sparse positives;

    Large() {
        const Sparse wanted = testing::random_sparse(150, 2500, 4);
        std::vector<std::set<std::int32_t>> rows;
        for (std::size_t q = 0; q < 150; ++q) {
            rows.emplace_back(wanted.indices.begin() + wanted.indptr[q],
                              wanted.indices.begin() + wanted.indptr[q + 1]);
            for (auto i = seen.indptr[q]; i < seen.indptr[q + 1]; ++i) {
                rows.back().erase(seen.indices[static_cast<std::size_t>(i)]);
            }
        }
        positives = pattern(2500, rows);
    }
    DotScores source() const { return {queries.view(), candidates.view(), {}}; }
    RankingTask task() const { return {positives.view(), seen.view(), {}}; }
};

void many_candidates_are_ranked_as_if_they_were_sorted() {
    const Large data;
    const Outcome outcome = ranked(data.source(), data.task(), 10, 3);
    std::vector<std::int32_t> all(2500);
    std::iota(all.begin(), all.end(), 0);
    for (index_t q = 0; q < 150; ++q) {
        const auto at = static_cast<std::size_t>(q);
        const std::set<std::int32_t> good(
            data.positives.indices.begin() + data.positives.indptr[at],
            data.positives.indices.begin() + data.positives.indptr[at + 1]);
        if (good.empty()) continue;
        std::vector<float> score(2500);
        data.source().list(q, all.data(), 2500, score.data());
        std::vector<std::int32_t> order;
        std::set_difference(
            all.begin(), all.end(), data.seen.indices.begin() + data.seen.indptr[at],
            data.seen.indices.begin() + data.seen.indptr[at + 1], std::back_inserter(order));
        std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
            return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
        });
        const auto hit = [&](std::size_t r) { return good.count(order[r]) == 1; };
        const double hits = hit(0) + hit(1) + hit(2);
        std::size_t first = 0;
        while (!hit(first)) ++first;
        const double* value = outcome.values.data() + at * kColumns.size();
        CHECK_CLOSE(value[0], hits / 3.0, 1e-12);
        CHECK_CLOSE(value[1], hits / static_cast<double>(good.size()), 1e-12);
        CHECK_CLOSE(value[7], 1.0 / static_cast<double>(first + 1), 1e-12);
        std::vector<float> others;
        for (std::size_t r = order.size(); r-- > 0;) {  // ascending
            if (!hit(r)) others.push_back(score[static_cast<std::size_t>(order[r])]);
        }
        double won = 0.0;
        for (const std::int32_t item : good) {
            const auto [level, above] = std::equal_range(others.begin(), others.end(),
                                                         score[static_cast<std::size_t>(item)]);
            won += 0.5 * static_cast<double>((level - others.begin()) + (above - others.begin()));
        }
        const auto pairs = static_cast<double>(others.size() * good.size());
        CHECK_CLOSE(value[8], won / pairs, 1e-12);
    }
}

void the_number_of_threads_changes_no_bit() {
    const Large data;
    const Outcome one = ranked(data.source(), data.task(), 10, 1);
    for (const int threads : {2, 3, 8}) {
        const Outcome other = ranked(data.source(), data.task(), 10, threads);
        CHECK(one.places == other.places);
        for (std::size_t i = 0; i < one.values.size(); ++i) {
            const double a = one.values[i], b = other.values[i];
            CHECK(a == b || (std::isnan(a) && std::isnan(b)));
        }
    }
}

void metrics_have_names() {
    CHECK(isthmus::ranking_metric_from_name("recall_capped") == RankingMetric::recall_capped);
    CHECK_THROWS(isthmus::ranking_metric_from_name("recalls"), std::invalid_argument);
}

}  // namespace

int main() {
    metrics_are_those_worked_out_by_hand();
    equal_scores_are_ranked_by_candidate_and_count_half();
    a_query_without_others_has_no_auc();
    candidates_without_a_number_for_a_score_have_no_place();
    many_candidates_are_ranked_as_if_they_were_sorted();
    the_number_of_threads_changes_no_bit();
    metrics_have_names();
    return check::result();
}
