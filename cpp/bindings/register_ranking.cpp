#include <algorithm>

#include "isthmus/scoring/ranking_metrics.hpp"
#include "registration.hpp"
#include "scores.hpp"

namespace isthmus {

namespace {

bool subset(const CsrView& part, const CsrView& whole) {
    for (index_t r = 0; r < part.rows; ++r) {
        if (!std::includes(whole.indices + whole.indptr[r], whole.indices + whole.indptr[r + 1],
                           part.indices + part.indptr[r], part.indices + part.indptr[r + 1])) {
            return false;
        }
    }
    return true;
}

py::tuple bind_rank(const Scores& scores,
                    const std::vector<std::pair<std::string, index_t>>& metrics,
                    const OptionalArray<std::int64_t>& positives_indptr,
                    const OptionalArray<std::int32_t>& positives_indices,
                    const OptionalArray<std::int64_t>& seen_indptr,
                    const OptionalArray<std::int32_t>& seen_indices,
                    const OptionalArray<std::int64_t>& lists_indptr,
                    const OptionalArray<std::int32_t>& lists_indices, index_t coverage,
                    int num_threads) {
    std::vector<RankingColumn> columns;
    for (const auto& [name, k] : metrics) {
        const RankingMetric metric = ranking_metric_from_name(name);
        require(
            k >= 1 || (k == 0 && (metric == RankingMetric::mrr || metric == RankingMetric::auc)),
            "k must be at least 1, or 0 for mrr and auc on the whole list");
        columns.push_back({metric, metric == RankingMetric::auc ? 0 : k});
    }
    RankingTask task;
    task.positives = pattern_view(scores, positives_indptr, positives_indices, "positives");
    task.seen = pattern_view(scores, seen_indptr, seen_indices, "seen");
    task.lists = pattern_view(scores, lists_indptr, lists_indices, "lists");
    require(task.lists.rows == 0 || subset(task.positives, task.lists),
            "lists must hold the positives");
    const index_t queries = scores.source().queries();
    py::array_t<double> values({queries, static_cast<index_t>(columns.size())});
    double* out = values.mutable_data();
    IndexArray places(coverage > 0 ? scores.source().candidates() : 0);
    std::int32_t* best = coverage > 0 ? places.mutable_data() : nullptr;
    {
        const py::gil_scoped_release release;
        rank(scores.source(), task, columns, coverage, num_threads, out, best);
    }
    return py::make_tuple(values, places);
}

void register_ranking(py::module_& module) {
    module.def("rank", &bind_rank, py::arg("scores"), py::arg("metrics"),
               py::arg("positives_indptr"), py::arg("positives_indices"), py::kw_only(),
               py::arg("seen_indptr") = py::none(), py::arg("seen_indices") = py::none(),
               py::arg("lists_indptr") = py::none(), py::arg("lists_indices") = py::none(),
               py::arg("coverage") = 0, py::arg("num_threads"),
               "Metrics (queries x metrics, each a name and a cut-off k, 0 for the whole list) of "
               "how candidates are ranked, NaN for a query without positives; and, for coverage, "
               "the best place of each candidate in any list, which is cut at `coverage` or more.");
}

const Registration registration_of_ranking(&register_ranking);

}  // namespace

}  // namespace isthmus
