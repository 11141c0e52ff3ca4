#include "convert.hpp"
#include "isthmus/scoring.hpp"
#include "pybind.hpp"

namespace isthmus {

namespace {

using FloatArray = py::array_t<float>;
using IndexArray = Array<std::int32_t>;

// Vectors of queries and candidates and how their scores are made; holds the arrays.
struct Scorer {
    FloatArray query_array, candidate_array;
    OptionalArray<float> query_bias, candidate_bias, query_offset, candidate_offset;
    ConstMatrixView queries, candidates;
    ScoreRule rule;

    Scorer(FloatArray queries_, FloatArray candidates_, const std::string& activation, float scale,
           OptionalArray<float> query_bias_, OptionalArray<float> candidate_bias_,
           OptionalArray<float> query_offset_, OptionalArray<float> candidate_offset_)
        : query_array(std::move(queries_)),
          candidate_array(std::move(candidates_)),
          query_bias(std::move(query_bias_)),
          candidate_bias(std::move(candidate_bias_)),
          query_offset(std::move(query_offset_)),
          candidate_offset(std::move(candidate_offset_)),
          queries(matrix_view(query_array, "queries")),
          candidates(matrix_view(candidate_array, "candidates")) {
        require(queries.cols == candidates.cols,
                "queries and candidates must have the same number of columns");
        rule.activation = activation_from_name(activation);
        rule.scale = scale;
        rule.query_bias = data_or_null(query_bias, queries.rows, "query_bias");
        rule.candidate_bias = data_or_null(candidate_bias, candidates.rows, "candidate_bias");
        rule.query_offset = data_or_null(query_offset, queries.rows, "query_offset");
        rule.candidate_offset = data_or_null(candidate_offset, candidates.rows, "candidate_offset");
    }
};

bool within(const IndexArray& indices, index_t size) {
    bool inside = true;
    for (index_t i = 0; i < indices.size(); ++i) {
        inside = inside && indices.data()[i] >= 0 && indices.data()[i] < size;
    }
    return inside;
}

FloatArray bind_score_pairs(const Scorer& scorer, const IndexArray& queries,
                            const IndexArray& candidates, int num_threads) {
    require(queries.size() == candidates.size(), "queries and candidates must pair up");
    require(within(queries, scorer.queries.rows) && within(candidates, scorer.candidates.rows),
            "queries and candidates must lie within the scorer's");
    FloatArray out(queries.size());
    float* scores = out.mutable_data();
    {
        const py::gil_scoped_release release;
        score_pairs(scorer.queries, scorer.candidates, scorer.rule, queries.data(),
                    candidates.data(), queries.size(), num_threads, scores);
    }
    return out;
}

// The cells to leave out: CSR with ascending indices in each row.
CsrView seen_view(const Scorer& scorer, const Array<std::int64_t>& indptr,
                  const IndexArray& indices) {
    CsrView seen;
    seen.rows = scorer.queries.rows;
    seen.cols = scorer.candidates.rows;
    seen.indptr = indptr.data();
    seen.indices = indices.data();
    require(indptr.size() == seen.rows + 1, "seen_indptr must have a position per query, and one");
    bool ascends = true;
    for (index_t r = 0; r < seen.rows; ++r)
        ascends = ascends && seen.indptr[r] <= seen.indptr[r + 1];
    require(ascends, "seen_indptr must not decrease");
    require(seen.indptr[0] >= 0 && seen.indptr[seen.rows] <= indices.size(),
            "seen_indptr points outside of seen_indices");
    for (index_t r = 0; r < seen.rows; ++r) {
        std::int64_t last = -1;
        for (index_t i = seen.indptr[r]; i < seen.indptr[r + 1]; ++i) {
            ascends = ascends && last < seen.indices[i] && seen.indices[i] < seen.cols;
            last = seen.indices[i];
        }
    }
    require(ascends, "seen_indices must ascend within the candidates");
    return seen;
}

py::tuple bind_top_k(const Scorer& scorer, index_t n,
                     const OptionalArray<std::int64_t>& seen_indptr,
                     const OptionalArray<std::int32_t>& seen_indices, int num_threads) {
    require(n >= 1, "n must be at least 1");
    const CsrView seen =
        seen_indptr && seen_indices ? seen_view(scorer, *seen_indptr, *seen_indices) : CsrView{};
    IndexArray items({scorer.queries.rows, n});
    FloatArray scores({scorer.queries.rows, n});
    std::int32_t* items_out = items.mutable_data();
    float* scores_out = scores.mutable_data();
    {
        const py::gil_scoped_release release;
        top_k(scorer.queries, scorer.candidates, scorer.rule, seen, n, num_threads, items_out,
              scores_out);
    }
    return py::make_tuple(items, scores);
}

}  // namespace

void register_scoring(py::module_& module) {
    py::class_<Scorer>(module, "Scorer", py::module_local(),
                       "score(q, c) = activation(query_q . candidate_c + query_bias_q + "
                       "candidate_bias_c) / scale + query_offset_q + candidate_offset_c. The "
                       "arrays are not copied if they are float32 with contiguous rows.")
        .def(py::init<FloatArray, FloatArray, const std::string&, float, OptionalArray<float>,
                      OptionalArray<float>, OptionalArray<float>, OptionalArray<float>>(),
             py::arg("queries"), py::arg("candidates"), py::kw_only(),
             py::arg("activation") = "identity", py::arg("scale") = 1.0f,
             py::arg("query_bias") = py::none(), py::arg("candidate_bias") = py::none(),
             py::arg("query_offset") = py::none(), py::arg("candidate_offset") = py::none())
        .def("score_pairs", &bind_score_pairs, py::arg("queries"), py::arg("candidates"),
             py::kw_only(), py::arg("num_threads"),
             "The score of each (queries[i], candidates[i]).")
        .def("top_k", &bind_top_k, py::arg("n"), py::kw_only(), py::arg("seen_indptr") = py::none(),
             py::arg("seen_indices") = py::none(), py::arg("num_threads"),
             "The n best candidates of each query and their scores, best first, equal ones by "
             "candidate; stored cells of `seen` are left out, short lists end in -1 and NaN.");
}

}  // namespace isthmus
